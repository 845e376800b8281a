"""A player: a network, its optimizer and its loss. The only place where gradients are taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        betas: Adam's decay rates of the two moments.
        eps: Adam's; the default is that of the PPO reference implementation, as 1e-8 is too small for clipped
            gradients.
        warmup: steps over which the learning rate rises linearly from zero.
        average: keep an exponential moving average of the weights with this decay (see :meth:`averaged`); over the
            first steps the decay is ``(1 + t) / (10 + t)``, so that the initial weights are soon forgotten.
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
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        warmup: int = 0,
        average: float | None = None,
    ) -> None:
        self.name = name
        self.module = module
        self.loss = loss
        self.learning_rate = learning_rate
        self.anneal = anneal
        self.max_grad_norm = max_grad_norm
        self.warmup = warmup
        self.average = average
        self.steps = 0
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        # All weights lie in one vector, the module's parameters are views of it: clipping and Adam are then one
        # kernel each, where on small networks a kernel per parameter costs as much as the gradient itself.
        self.weights = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in self.parameters]))
        parts = self.weights.detach().split([p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.data = part.view_as(parameter)
        self._average = self.weights.detach().clone() if average is not None else None
        self._scheduled = learning_rate
        device = self.weights.device
        self.optimizer = torch.optim.AdamW(
            [self.weights],
            lr=learning_rate,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=device.type in ("cpu", "cuda"),  # the fused kernels have no meta implementation
        )
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._rows: float | Tensor = 0.0

    def set_progress(self, fraction: float) -> None:
        """Set the learning rate for a run of which ``fraction`` (0 to 1) is done."""
        if self.anneal:
            self._scheduled = self.learning_rate * max(1.0 - fraction, 0.0)
            self._set_rate(self._scheduled)

    def _set_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

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
        if self.steps < self.warmup:
            self._set_rate(self._scheduled * (self.steps + 1) / self.warmup)
        self.optimizer.step()
        self.steps += 1
        if self.average is not None and self._average is not None:
            decay = min(self.average, (1 + self.steps) / (10 + self.steps))
            self._average.lerp_(self.weights.detach(), 1.0 - decay)
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
        """Row-weighted means over all steps since the last call, as ``name/metric``: the one read-back.

        Empty where no row counted: agents may be absent for a whole round.
        """
        if self._sums is None:
            return {}
        means, rows = (self._sums / self._rows).tolist(), float(self._rows)
        self._sums, self._rows = None, 0.0
        if rows == 0.0:
            return {}
        return {f"{self.name}/{key}": value for key, value in zip(self._names, means, strict=True)}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the module has the averaged weights (its own, where none are kept); after, its own again."""
        if self._average is None:
            yield
            return
        own = self.weights.detach().clone()
        self.weights.data.copy_(self._average)
        try:
            yield
        finally:
            self.weights.data.copy_(own)

    def adopt_average(self) -> None:
        """Make the averaged weights (where any are kept) the module's own: the end of a training."""
        if self._average is not None:
            self.weights.data.copy_(self._average)

    def state_dict(self) -> dict[str, Any]:
        """Network, its average, and optimizer (its moments are absent before the first step)."""
        return {
            "module": dict(self.module.state_dict()),
            "moments": dict(self.optimizer.state[self.weights]),
            "steps": self.steps,
            "average": self._average,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.module.load_state_dict(state["module"])
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {0: state["moments"]} if state["moments"] else {}
        self.optimizer.load_state_dict(optimizer)
        self.steps = int(state["steps"])
        if self._average is not None:
            self._average.copy_(state["average"])
