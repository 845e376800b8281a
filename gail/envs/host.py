"""What the backends that step on the host (in this process or in workers) share: tensors in, tensors out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.wrappers import TimeLimit
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.core.leaves import Leaves, join_leaves, map_leaves, named_leaves
from gail.envs.chunk import Buffers, RowFault, merge_rows
from gail.envs.leaves import element_layout, leaf_spaces
from gail.envs.vec import State, Step, VecEnv


def time_limit(env: gym.Env) -> int | None:
    """The steps after which an environment's ``TimeLimit`` wrapper truncates, or None without one."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            return int(env._max_episode_steps)
        env = env.env
    return None


class HostVecEnv(VecEnv):
    """A batch whose steps land in numpy buffers: one copy of the actions in, one of the results out."""

    _buffers: Buffers

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        device: torch.device | str,
        env_kwargs: dict[str, Any],
        probe: gym.Env,
    ) -> None:
        """Read the spaces and the time limit from ``probe``, one environment of the batch.

        Raises:
            InputError: on a space that is not Box, Discrete or MultiDiscrete.
        """
        self.env_id = env_id
        self.env_kwargs = dict(env_kwargs)
        self.num_envs = num_envs
        self.device = torch.device(device)
        self._on_host = self.device.type == "cpu"
        self.observation_space = probe.observation_space
        self.action_space = probe.action_space
        self.max_episode_steps = time_limit(probe)
        self.saves_state = True
        for name, space in (("observation", probe.observation_space), ("action", probe.action_space)):
            try:
                map_leaves(element_layout, leaf_spaces(space) if name == "observation" else space)
            except InputError as error:
                raise InputError(f"{env_id}: {name} {error}") from None
        self._valid = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._is_reset = False
        self._restored = np.ones(num_envs, dtype=np.bool_)
        # What a fault names: the seed each row was reset with, its episode since then, and that episode's steps so far.
        self._seeds: list[int | None] = [None] * num_envs
        self._episodes = np.zeros(num_envs, dtype=np.int64)
        self._elapsed = np.zeros(num_envs, dtype=np.int64)

    @abstractmethod
    def _reset_buffers(self, seed: int | None) -> None:
        """Start new episodes; first observations land in ``reset_obs``."""

    @abstractmethod
    def _step_buffers(self) -> np.ndarray | None:
        """Play ``actions``; results land in the other buffers.

        Returns the rows ``[N]`` (bool) that were lost and started anew, or None.
        """

    def _lost_rows(self) -> np.ndarray:
        """``[N]`` bool: rows that started anew since the last step; the next one tells that their episode is lost."""
        return np.zeros(self.num_envs, dtype=np.bool_)

    @abstractmethod
    def _chunk_states(self) -> list[dict[str, Any]]:
        """The state of every chunk, in the order of the environments."""

    @abstractmethod
    def _load_chunks(self, state: dict[str, Any]) -> tuple[list[bool], np.ndarray]:
        """Load the state of all N environments: which are exact, and the observations ``[N, ...]``."""

    def _fault(self, fault: RowFault, rows: range, *, stepping: bool, trace: str = "") -> EnvironmentFault:
        """What happened to the chunk of environments ``rows``, in words."""
        named = rows if fault.index is None else rows[fault.index : fault.index + 1]
        row, when = named[0], ""
        played = stepping or bool(self._elapsed[row])
        if played and len(named) == 1:
            step = int(self._elapsed[row]) + stepping
            when = f"{'in' if stepping else 'after'} step {step} of episode {self._episodes[row]} since that seed"
        actions = self._buffers.actions
        action = actions[row] if len(named) == 1 else actions[named.start : named.stop]
        return EnvironmentFault(
            self.env_id,
            fault.problem,
            {row: self._seeds[row] for row in named},
            when=when,
            action=action if played else None,
            trace=trace,
        )

    def _to_device(self, array: np.ndarray) -> Tensor:
        """A copy of a buffer as a tensor on the device."""
        # Copied by numpy, a step's five small arrays cost a third of what tensors' own copies do.
        return torch.from_numpy(array.copy()) if self._on_host else torch.from_numpy(array).to(self.device)

    def _obs(self, rows: Leaves) -> Leaves:
        """Copies of observation buffers as tensors on the device."""
        return map_leaves(self._to_device, rows)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; see :meth:`VecEnv.reset`.

        Raises:
            EnvironmentFault: where an environment breaks.
        """
        if seed is not None:
            self._seeds = [int(seed) + row for row in range(self.num_envs)]
        self._episodes[:] = 0 if seed is not None else self._episodes + 1
        self._elapsed[:] = 0
        self._reset_buffers(None if seed is None else int(seed))
        self._is_reset = True
        return self._obs(self._buffers.reset_obs)

    def step(self, actions: Tensor) -> Step:
        """Play one step; see :meth:`VecEnv.step`.

        Raises:
            InputError: where ``actions`` is not ``[N, ...]``.
            EnvironmentFault: where an environment breaks.
        """
        if not self._is_reset:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        buffers = self._buffers
        buffers.actions[...] = actions.numpy(force=True)
        lost = self._step_buffers()
        obs = next_obs = self._obs(buffers.next_obs)
        ended = buffers.terminated | buffers.truncated
        self._elapsed += 1
        if np.logical_or.reduce(ended):
            merged = map_leaves(lambda rows, first: merge_rows(rows, first, ended), buffers.next_obs, buffers.reset_obs)
            obs = map_leaves(lambda rows: torch.from_numpy(rows).to(self.device), merged)
            self._elapsed[ended] = 0
            self._episodes[ended] += 1
        return Step(
            obs,
            next_obs,
            self._to_device(buffers.reward),
            self._to_device(buffers.terminated),
            self._to_device(buffers.truncated),
            self._valid if lost is None else self._to_device(~lost),
        )

    def state_dict(self) -> State:
        """The running episodes: how each started, and its actions.

        Leaves: ``seeds`` and ``episodes`` (what faults name), ``worker_restarts``, ``starts`` and ``rng`` (lists of N
        seeds or texts), ``lengths`` ``[N]``, ``actions`` ``[sum of lengths, ...]``, ``obs`` ``[N, ...]``, ``lost``
        ``[N]`` (rows that a fresh worker started anew just now: what was summed of their episode belongs to another
        one). An episode too long to be recorded sets ``saves_state`` to False.
        """
        if not self._is_reset:
            raise RuntimeError(f"{self.env_id}: call reset before state_dict")
        parts = self._chunk_states()
        joined = {
            name: join_leaves(np.concatenate, [part[name] for part in parts]) for name in ("lengths", "actions", "obs")
        }
        if (joined["lengths"] < 0).any():
            self.saves_state = False
        return {
            "seeds": list(self._seeds),
            "episodes": torch.from_numpy(self._episodes.copy()),
            "worker_restarts": self.worker_restarts,
            "lost": torch.from_numpy(self._lost_rows()),
            "starts": [start for part in parts for start in part["starts"]],
            "rng": [text for part in parts for text in part["rng"]],
            **{name: map_leaves(torch.from_numpy, arrays) for name, arrays in joined.items()},
        }

    def load_state_dict(self, state: State) -> Tensor:
        """Replay the saved episodes and verify where they lead; see :meth:`VecEnv.load_state_dict`.

        Raises:
            InputError: where it was saved with another number of environments or other spaces.
        """
        arrays = {
            name: map_leaves(lambda tensor: tensor.cpu().numpy(), state[name]) for name in ("lengths", "actions", "obs")
        }
        found, expected = (_layout(leaves) for leaves in (arrays["obs"], self._buffers.next_obs))
        if found != expected:
            raise InputError(f"{self.env_id}: the saved observations are {found}, expected {expected}")
        exact, obs = self._load_chunks({**arrays, "starts": state["starts"], "rng": state["rng"]})
        self.saves_state = self.saves_state and all(exact)
        self._restored = np.array(exact, dtype=np.bool_)
        if "lost" in state:  # which states of before have not
            self._restored &= ~state["lost"].cpu().numpy()
        self._is_reset = True
        self._seeds = list(state["seeds"])
        self._episodes[:] = state["episodes"].numpy() + ~self._restored
        self._elapsed[:] = np.where(exact, arrays["lengths"], 0)
        self.worker_restarts = int(state["worker_restarts"])
        return self._obs(obs)

    def restored(self) -> np.ndarray:
        """``[N]`` bool: whose replay led to the saved observation, within the episode that the caller knows."""
        return self._restored


def _layout(leaves: Leaves) -> str:
    return ", ".join(f"{name[1:]} {rows.dtype} {list(rows.shape)}".strip() for name, rows in named_leaves("", leaves))


def split_state(state: dict[str, Any], bounds: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """A state of N environments cut into one state per chunk ``[start, stop)``."""
    ends = np.concatenate([[0], np.cumsum(np.maximum(state["lengths"], 0))])
    return [
        {
            "starts": state["starts"][start:stop],
            "rng": state["rng"][start:stop],
            "lengths": state["lengths"][start:stop],
            "actions": state["actions"][ends[start] : ends[stop]],
            "obs": map_leaves(lambda rows, span=slice(start, stop): rows[span], state["obs"]),
        }
        for start, stop in bounds
    ]
