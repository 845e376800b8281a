"""The contract of every environment: a batch of ``num_envs`` copies stepped together.

Glossary:
    step      one call of :meth:`VecEnv.step`: every environment of the batch moves once.
    row       one environment's share of a step.
    end       ``terminated`` (the task is over: no future reward) or ``truncated`` (a time limit or another
              cut: the future exists, it is only not played).
    autoreset how an environment that ended starts again. Gymnasium has three modes; whoever implements
              this class resolves them, so that callers never see them.

What a caller may rely on after ``step = env.step(actions)``:

1. ``step.next_obs`` is the true successor of the state that was acted in, also where the episode ended.
2. ``step.obs`` is what to act on next: equal to ``next_obs`` except in rows that ended, where it is the first
   observation of the next episode.
3. ``step.valid`` is False in rows where nothing was played (the reset row of Gymnasium's NEXT_STEP mode, an
   absent agent, a row whose worker died). Such rows enter no rollout, statistic or buffer. One that is also
   ``truncated`` ends an episode that was lost: its return counts nowhere, and ``obs`` starts the next one.
4. Bootstrap from ``next_obs`` unless ``terminated``; cut every chain over time on ``terminated | truncated``.
5. Tensors are on ``env.device``; observations have the space's own dtype.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.core.leaves import Leaves

State = dict[str, Any]
"""A tree of dicts whose leaves are tensors or JSON values; what checkpoints are made of."""


@dataclass(frozen=True)
class Step:
    """What one step of a batch of N environments returns.

    Observations are a tensor; of Dict and Tuple spaces a flat dict of tensors, nested keys joined by ``/`` and tuple
    positions as numbers (:func:`gail.envs.leaves.leaf_spaces`).
    """

    obs: Leaves
    """``[N, ...]``: what to act on next (the next episode's first observation in rows that ended)."""
    next_obs: Leaves
    """``[N, ...]``: the true successor of the state acted in."""
    reward: Tensor
    """``[N]`` float32: the environment's own reward."""
    terminated: Tensor
    """``[N]`` bool: the task ended here; nothing follows."""
    truncated: Tensor
    """``[N]`` bool: cut here by a time limit; something would have followed."""
    valid: Tensor
    """``[N]`` bool: False where the row was not played."""
    info: Mapping[str, Tensor] = field(default_factory=dict)
    """Named extras, each ``[N, ...]``."""


class VecEnv(ABC):
    """A batch of environments with one contract; see the module's docstring.

    Attributes:
        env_id: the id it was made from.
        env_kwargs: the keyword arguments it was made with.
        num_envs: N, the number of rows.
        rows_per_env: rows of each environment, next to each other: 1, or the possible agents of a multi-agent one.
        observation_space: the space of one environment: Box, Discrete, MultiDiscrete, MultiBinary, or Dict and Tuple
            of them.
        action_space: the space of one environment: Box, Discrete, MultiDiscrete or MultiBinary.
        max_episode_steps: the time limit in steps, or None.
        device: where every tensor of a step lives, and where actions are expected.
        saves_state: whether :meth:`state_dict` restores the running episodes exactly.
        worker_restarts: how often a fresh worker process took over from one that broke.
    """

    env_id: str
    env_kwargs: dict[str, Any]
    num_envs: int
    rows_per_env: int = 1
    observation_space: gym.Space
    action_space: gym.Space
    max_episode_steps: int | None
    device: torch.device
    saves_state: bool = True
    worker_restarts: int = 0

    def _check_actions(self, actions: Tensor) -> None:
        """Raise an InputError unless ``actions`` is ``[N, ...]``; broadcasting would hide a wrong shape."""
        expected = (self.num_envs, *(self.action_space.shape or ()))
        if actions.shape != expected:
            raise InputError(f"{self.env_id}: actions have shape {list(actions.shape)}, expected {list(expected)}")

    @abstractmethod
    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere and return the observations ``[N, ...]``.

        Environment ``i`` is seeded with ``seed + i``; with None the random streams go on.
        """

    @abstractmethod
    def step(self, actions: Tensor) -> Step:
        """Play one step with ``actions`` ``[N, ...]`` (inside the action space)."""

    @abstractmethod
    def state_dict(self) -> State:
        """Everything that is needed to go on exactly here (see ``saves_state``)."""

    @abstractmethod
    def load_state_dict(self, state: State) -> Tensor:
        """Go on where ``state`` was saved; returns the observations ``[N, ...]`` to act on.

        An environment that cannot restore its running episodes starts new ones and sets
        ``saves_state`` to False; :meth:`restored` says which.
        """

    def restored(self) -> np.ndarray:
        """``[N]`` bool: which environments went on in the saved episode at the last :meth:`load_state_dict`.

        The others started a new one. Overridden where some rows may be restored and others not.
        """
        return np.full(self.num_envs, self.saves_state)

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment; needs ``render_mode="rgb_array"``."""
        raise InputError(f"{self.env_id}: {type(self).__name__} draws no frames; it needs a method render()")

    def close(self) -> None:
        """Free what the batch holds (processes, windows)."""
        return None
