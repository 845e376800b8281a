"""One group of agents with equal spaces: its rows in a batch, and the ``VecEnv`` that they make."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from gail.envs.chunk import ActionLog
from gail.envs.leaves import element_layout
from gail.envs.vec import State, Step, VecEnv

if TYPE_CHECKING:
    from gail.envs.multi_agent import MultiAgentEnv


class AgentRows:
    """The arrays of one group, ``[N, ...]``."""

    def __init__(
        self, agents: Sequence[Any], copies: int, observation_space: gym.Space, action_space: gym.Space
    ) -> None:
        self.agents, self.observation_space, self.action_space = tuple(agents), observation_space, action_space
        self.count = copies * len(self.agents)
        shape, dtype = element_layout(observation_space)
        self.zeros = nearest_to_zero(observation_space)
        self.obs = np.zeros((self.count, *shape), dtype)
        self.next_obs = np.zeros_like(self.obs)
        action_shape, action_dtype = element_layout(action_space)
        self.actions = np.zeros((self.count, *action_shape), action_dtype)
        self.reward = np.zeros(self.count, np.float32)
        self.terminated, self.truncated, self.valid, self.episode_over = np.zeros((4, self.count), np.bool_)
        self.log = ActionLog(self.actions)

    def name(self) -> str:
        """The agents' names without numbers, such as ``adversary``."""
        return "+".join(dict.fromkeys(re.sub(r"_?\d+$", "", str(agent)) or "agent" for agent in self.agents))


def nearest_to_zero(space: gym.Space) -> NDArray[Any]:
    """The element ``[...]`` of a space that is nearest to zero: what absent agents observe."""
    shape, dtype = element_layout(space)
    if isinstance(space, spaces.Box):
        return np.clip(np.zeros(shape, dtype), space.low, space.high)
    assert isinstance(space, spaces.Discrete | spaces.MultiDiscrete)
    count = space.n if isinstance(space, spaces.Discrete) else space.nvec
    return np.asarray(np.clip(0, space.start, space.start + count - 1), dtype)


class GroupVecEnv(VecEnv):
    """One group of a :class:`MultiAgentEnv` as a ``VecEnv``; agents of other groups, if any, take their first action.

    Attributes:
        agents: the possible agents of the group; row ``i`` belongs to ``agents[i % len(agents)]`` of copy
            ``i // len(agents)``.
    """

    def __init__(self, multi: MultiAgentEnv, group: str) -> None:
        """The rows of ``group``."""
        rows = multi.rows[group]
        self.multi, self.group, self.agents = multi, group, rows.agents
        self.env_id, self.env_kwargs, self.num_envs = multi.env_id, multi.env_kwargs, rows.count
        self.rows_per_env = len(rows.agents)
        self.observation_space, self.action_space = rows.observation_space, rows.action_space
        self.max_episode_steps, self.device = multi.max_episode_steps, multi.device

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes in every copy; copy ``i`` is seeded with ``seed + i``."""
        return self.multi.reset(seed)[self.group]

    def step(self, actions: Tensor) -> Step:
        """Play one step of this group."""
        others = {name: self._first(rows) for name, rows in self.multi.rows.items() if name != self.group}
        return self.multi.step({self.group: actions, **others})[self.group]

    def _first(self, rows: AgentRows) -> Tensor:
        return torch.from_numpy(np.stack([nearest_to_zero(rows.action_space)] * rows.count))

    def state_dict(self) -> State:
        """See :meth:`MultiAgentEnv.state_dict`."""
        state = self.multi.state_dict()
        self.saves_state = self.multi.saves_state
        return state

    def load_state_dict(self, state: State) -> Tensor:
        """See :meth:`MultiAgentEnv.load_state_dict`."""
        observations = self.multi.load_state_dict(state)[self.group]
        self.saves_state = self.multi.saves_state
        return observations

    def restored(self) -> NDArray[np.bool_]:
        """``[N]`` bool; see :meth:`VecEnv.restored`."""
        return np.repeat(self.multi.restored, self.rows_per_env)

    def render(self) -> list[np.ndarray]:
        """One RGB frame per row: that of its copy."""
        return [frame for frame in self.multi.render() for _ in self.agents]

    def close(self) -> None:
        """Close every copy."""
        self.multi.close()
