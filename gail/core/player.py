"""A player: a network, its optimizer and its loss. The only place where gradients are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gail.core.losses import Metrics

Loss = Callable[[Any], tuple[Tensor, Metrics]]
"""``batch -> (scalar loss, metrics)``; every metric is a mean over the batch's rows, detached."""


class Player:
    """One network that is trained, whatever it is for: a policy, a discriminator, a generator.

    Args:
        name: how it is called in metrics and checkpoints.
        module: the network, on its device.
        loss: pure with respect to everything but ``module``: no device copies, no read-backs, no draws
            (tests run it on the ``meta`` device).
        learning_rate: of Adam, at the run's start.
        anneal: lower the learning rate linearly to zero over the run.
        max_grad_norm: clip the gradient's global norm to this.
        weight_decay: decoupled (AdamW).
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        loss: Loss,
        *,
        learning_rate: float,
        anneal: bool = False,
        max_grad_norm: float | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        self.name = name
        self.module = module
        self.loss = loss
        self.learning_rate = learning_rate
        self.anneal = anneal
        self.max_grad_norm = max_grad_norm
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        # All weights lie in one vector, the module's parameters are views of it: clipping and Adam are then one
        # kernel each, where on small networks a kernel per parameter costs as much as the gradient itself.
        self.weights = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in self.parameters]))
        parts = self.weights.detach().split([p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)
        device = self.weights.device
        self.optimizer = torch.optim.AdamW(
            [self.weights],
            lr=learning_rate,
            eps=1e-5,  # as in the PPO reference implementation; 1e-8 is too small for clipped gradients
            weight_decay=weight_decay,
            fused=device.type in ("cpu", "cuda"),  # the fused kernels have no meta implementation
        )
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._rows: float | Tensor = 0.0

    def set_progress(self, fraction: float) -> None:
        """Set the learning rate for a run of which ``fraction`` (0 to 1) is done."""
        if self.anneal:
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * max(1.0 - fraction, 0.0)

    def step(self, batch: Any, rows: float | Tensor) -> None:
        """One gradient step on ``batch``, whose metrics weigh ``rows`` in the round's means."""
        loss, metrics = self.loss(batch)
        # Weights that the loss does not use (a critic while cloning) get zeros.
        gradients = torch.autograd.grad(loss, self.parameters, materialize_grads=True)
        gradient = torch.cat([g.reshape(-1) for g in gradients])
        if self.max_grad_norm is not None:
            norm = torch.linalg.vector_norm(gradient)
            gradient.mul_((self.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
            metrics["grad_norm"] = norm
        self.weights.grad = gradient
        self.optimizer.step()
        metrics["loss"] = loss.detach()
        self._accumulate(metrics, rows)

    def _accumulate(self, metrics: Metrics, rows: float | Tensor) -> None:
        values = torch.stack(list(metrics.values())) * rows
        if self._sums is None:
            self._names, self._sums, self._rows = list(metrics), values, rows
        else:
            self._sums = self._sums + values
            self._rows = self._rows + rows

    def read_metrics(self) -> dict[str, float]:
        """Row-weighted means over all steps since the last call, as ``name/metric``: the one read-back."""
        if self._sums is None:
            return {}
        means = (self._sums / self._rows).tolist()
        self._sums, self._rows = None, 0.0
        return {f"{self.name}/{key}": value for key, value in zip(self._names, means, strict=True)}

    def state_dict(self) -> dict[str, Any]:
        """Network and optimizer (its moments are absent before the first step)."""
        return {"module": dict(self.module.state_dict()), "moments": dict(self.optimizer.state[self.weights])}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.module.load_state_dict(state["module"])
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {0: state["moments"]} if state["moments"] else {}
        self.optimizer.load_state_dict(optimizer)
