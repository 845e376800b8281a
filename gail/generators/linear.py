"""The linear model of a step: what a state and an action say of the state's change and the reward by least squares.

It is the yardstick of models of dynamics, and where they begin: they learn the *innovation*, what it leaves over, in
units in which it is uncorrelated and of unit variance. A near-exact linear relation between columns (a position is the
integral of a velocity) then needs no resolution of theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_FEW = 16
"""A column with at most so many different values is discrete: it has no density."""
_RESOLUTION = 1e-7
"""Float32's at unit scale: the least standard deviation of an innovation."""


@dataclass(frozen=True)
class LinearDynamics:
    """``answer = [input, 1] @ weight + scale @ innovation``, where the innovation has zero mean and unit covariance.

    Inputs are state and action, answers the state's change and the reward, all in units of the columns' spread.
    """

    weight: Tensor
    """``[I + 1, A]`` float64."""
    order: Tensor
    """``[A]`` int64: the answers' order in the innovation: columns with a density first."""
    scale: Tensor
    """``[A, A]`` float64, lower triangular: the Cholesky factor of the residuals' covariance, in that order."""
    whitening: Tensor
    """``[A, A]``: the inverse of ``scale``."""
    scored: int
    """How many answers have a density."""

    @classmethod
    def fit(cls, inputs: Tensor, answers: Tensor, discrete: Tensor) -> LinearDynamics:
        """Least squares with the residuals' full covariance, which is the likelihood's maximum.

        Args:
            inputs: ``[N, I]``.
            answers: ``[N, A]``.
            discrete: ``[A]`` bool: which answers have no density (see :func:`is_discrete`).
        """
        design, targets = _with_one(inputs.double()), answers.double()
        # Singular values below the cut are one-hot columns that sum to one, or columns that never vary.
        weight = torch.linalg.lstsq(design, targets, rcond=1e-10, driver="gelsd").solution
        order = torch.argsort(discrete.int(), stable=True)
        residuals = (targets - design @ weight)[:, order]
        covariance = residuals.T @ residuals / len(residuals)
        floor = _RESOLUTION**2 * torch.eye(len(order), dtype=torch.float64)
        scale = torch.linalg.cholesky(covariance + floor)
        return cls(weight, order, scale, scale.inverse(), int((~discrete).sum()))

    @property
    def log_volume(self) -> Tensor:
        """What a log-density of the scored innovations exceeds that of their answers by, in nats."""
        return self.scale.diagonal()[: self.scored].log().sum()

    def innovations(self, inputs: Tensor, answers: Tensor) -> Tensor:
        """``[..., A]`` float32; the first ``scored`` of them do not depend on the discrete answers."""
        left = answers.double() - _with_one(inputs.double()) @ self.weight
        return (left[..., self.order] @ self.whitening.T).float()

    def answers(self, inputs: Tensor, innovations: Tensor) -> Tensor:
        """The inverse of :meth:`innovations`, ``[..., A]`` float32."""
        left = innovations.double() @ self.scale.T
        return (_with_one(inputs.double()) @ self.weight + left[..., self.order.argsort()]).float()

    def log_prob(self, innovations: Tensor) -> Tensor:
        """Log-density ``[...]`` of the scored answers under this model itself, a Gaussian."""
        scored = innovations[..., : self.scored]
        return (-0.5 * scored.square() - 0.5 * math.log(2.0 * math.pi)).sum(-1) - self.log_volume.float()

    def to_tree(self) -> dict[str, Any]:
        """As tensors and numbers."""
        return {**self.tensors(), "scored": self.scored}

    def tensors(self) -> dict[str, Tensor]:
        """All but the number, by name."""
        return {name: getattr(self, name) for name in ("weight", "order", "scale", "whitening")}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> LinearDynamics:
        """The inverse of :meth:`to_tree`."""
        return cls(tree["weight"], tree["order"], tree["scale"], tree["whitening"], tree["scored"])


@dataclass(frozen=True)
class StepLikelihood:
    """How probable a model finds each recorded step of B windows of L states; densities of the scored answers."""

    model: Tensor
    """``[B, L - 1]`` nats: given all states and actions so far."""
    linear: Tensor
    """``[B, L - 1]`` nats: the linear model's, given the last state and action."""
    played: Tensor
    """``[B, L - 1]`` bool: where a step was played, and not the end of an episode repeated."""


def is_discrete(columns: Tensor) -> Tensor:
    """Which columns of ``[N, D]`` take few values only, ``[D]`` bool."""
    return torch.tensor([len(column.unique()) <= _FEW for column in columns.unbind(1)])


def _with_one(inputs: Tensor) -> Tensor:
    return torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)
