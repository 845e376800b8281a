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
        device = self.parameters[0].device
        self.optimizer = torch.optim.AdamW(
            self.parameters,
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
        for parameter in self.parameters:
            parameter.grad = None
        loss.backward()
        if self.max_grad_norm is not None:
            metrics["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
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
        """Network and optimizer."""
        optimizer = self.optimizer.state_dict()
        # Checkpoints hold JSON keys, which are strings; the optimizer's are parameter numbers.
        moments = {str(index): state for index, state in optimizer["state"].items()}
        return {"module": dict(self.module.state_dict()), "moments": moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.module.load_state_dict(state["module"])
        optimizer = self.optimizer.state_dict()
        optimizer["state"] = {int(index): moments for index, moments in state["moments"].items()}
        self.optimizer.load_state_dict(optimizer)
