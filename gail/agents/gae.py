"""Generalized advantage estimation with two masks."""

from __future__ import annotations

import torch
from torch import Tensor


def advantages(
    rewards: Tensor,
    values: Tensor,
    next_values: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Advantages ``[T, N]`` (Schulman et al. 2016, equation 16).

    Two flags answer two questions: the value of the successor counts unless ``terminated``, and the sum over
    time is cut on ``terminated | truncated``, because the next row belongs to another episode.

    Args:
        rewards: ``[T, N]``.
        values: ``[T, N]``, of the states acted in.
        next_values: ``[T, N]``, of the true successors (not of the next episode's first state).
        terminated: ``[T, N]`` bool.
        truncated: ``[T, N]`` bool.
        gamma: discount.
        gae_lambda: trace decay.
    """
    # delta_t = r_t + gamma * V(s_{t+1}) * not terminated - V(s_t)
    deltas = rewards + gamma * next_values * ~terminated - values
    # A_t = delta_t + gamma * lambda * A_{t+1} * not ended
    decay = gamma * gae_lambda * ~(terminated | truncated)
    result = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for t in range(deltas.shape[0] - 1, -1, -1):
        running = deltas[t] + decay[t] * running
        result[t] = running
    return result
