"""Absorbing states: what an episode that ended early is worth to an imitator.

A learned reward is paid per step, so by itself it says how long to live: a positive one rewards survival, a negative
one dying, whatever the demonstrations. The remedy (Kostrikov et al. 2019, section 4.2): a terminated episode goes on
for ever in one absorbing state, which the discriminator judges like any other. If experts never end there, being
there looks unlike an expert, and ending early costs exactly what that is worth; if they end early (Acrobot), it pays.

Here the infinite tail is in closed form. A termination adds ``(1 - gamma^(H - L)) / (1 - gamma)`` discounted
absorbing steps to the occupancy (L the episode's length, H the time limit), which sets how often the discriminator
sees the absorbing state among expert and generated rows; and the last reward of a terminated episode gains
``gamma / (1 - gamma) * r(absorbing)``, the value of staying.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gail.demos.types import Demonstrations


def absorbing_steps(lengths: Tensor, *, gamma: float, time_limit: int | None) -> Tensor:
    """Discounted absorbing steps that follow a termination after ``lengths`` steps (any shape, float result)."""
    if time_limit is None:
        return torch.full_like(lengths, 1.0 / (1.0 - gamma), dtype=torch.float32)
    left = (time_limit - lengths).clamp(min=0).float()
    return (1.0 - gamma**left) / (1.0 - gamma)


def expert_share(demos: Demonstrations, *, gamma: float, time_limit: int | None) -> float:
    """Share of absorbing steps among all steps of the expert; unknown ends count as no termination."""
    lengths = torch.tensor([len(t) for t in demos if t.terminated])
    if lengths.numel() == 0:
        return 0.0
    absorbing = float(absorbing_steps(lengths, gamma=gamma, time_limit=time_limit).sum())
    return absorbing / (absorbing + demos.steps)


class GeneratedShare:
    """Share of absorbing steps among all steps that the policy has played so far.

    It remembers the whole run, as the replay buffer of DAC does: with the last rollout alone, a policy that has
    learned not to end would leave the absorbing state unjudged, and its reward would drift.
    """

    def __init__(self, *, gamma: float, time_limit: int | None, device: torch.device) -> None:
        self.gamma, self.time_limit = gamma, time_limit
        self.counts = torch.zeros(2, dtype=torch.float64, device=device)

    def update(self, finished_lengths: Tensor, terminated: Tensor, valid: Tensor) -> Tensor:
        """Count a rollout and return the share, a scalar tensor.

        Args:
            finished_lengths: ``[T, N]`` lengths of episodes where they ended.
            terminated: ``[T, N]`` bool.
            valid: ``[T, N]`` bool.
        """
        steps = absorbing_steps(finished_lengths, gamma=self.gamma, time_limit=self.time_limit)
        self.counts = self.counts + torch.stack([(steps * terminated).sum(), valid.sum()])
        return self.counts[0] / self.counts.sum().clamp(min=1.0)
