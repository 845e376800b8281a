"""Torch-native batched environments: physics, time limit and autoreset as a handful of tensor operations.

A subclass states its physics in three pure functions (:meth:`NativeVecEnv._initial_state`,
:meth:`NativeVecEnv._advance`, :meth:`NativeVecEnv._observe`); everything that goes on over time is written
here once. Spaces and physical constants are read from an instance of Gymnasium's own class (``template``), so
they cannot drift from it.

Randomness is counter-based: the start of episode ``e`` of environment ``i`` is a pure function of
``(seed + i, e)``, so it does not depend on ``num_envs`` and resuming needs the counters only.
"""

from __future__ import annotations

import inspect
import secrets
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import load_env_creator
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.core.random import counter_uniform, stream_keys
from gail.envs.deferred_faults import DeferredFaults
from gail.envs.finite import bad_value
from gail.envs.rendering import prepare_headless
from gail.envs.vec import State, Step, VecEnv


class NativeVecEnv(VecEnv):
    """A batch of ``num_envs`` copies of one Gymnasium environment, computed by torch on any device.

    The tensors of a returned :class:`Step` are never written again by the environment; ``obs`` and
    ``next_obs`` are one tensor where no row ended.
    """

    gym_id: ClassVar[str]
    """The Gymnasium id whose class is the truth for this one."""
    reset_draws: ClassVar[int]
    """How many uniform numbers the start of an episode takes."""
    state_names: ClassVar[tuple[str, ...]]
    """What the D columns of the physical state ``[N, D]`` are."""

    def __init__(
        self,
        num_envs: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        max_episode_steps: int | Literal["spec"] | None = "spec",
        render_mode: str | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Make the batch; call :meth:`reset` before the first step.

        Args:
            num_envs: N, at least 1.
            device: where the physics runs and every tensor lives.
            dtype: float32 or float64, the precision of the physical state (observations keep the space's).
            max_episode_steps: the time limit; "spec" is the registered one, None or -1 is no limit.
            render_mode: "rgb_array" to allow :meth:`render`; Gymnasium's class draws.
            env_kwargs: what else the Gymnasium class takes.

        Raises:
            InputError: on a keyword that the Gymnasium class does not take, or an impossible value.
        """
        if num_envs < 1:
            raise InputError(f"{self.gym_id}: num_envs is {num_envs}, expected at least 1")
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"{self.gym_id}: dtype is {dtype}, expected torch.float32 or torch.float64")
        spec = gym.spec(self.gym_id)
        assert spec.entry_point is not None
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        allowed = [name for name in inspect.signature(creator).parameters if name != "render_mode"]
        for name in env_kwargs:
            if name not in allowed:
                raise InputError(
                    f"{self.gym_id}: unknown keyword {name!r} for the native backend, expected one of "
                    f"{', '.join([*allowed, 'max_episode_steps'])}"
                )
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"{self.gym_id}: render_mode is {render_mode!r}, expected 'rgb_array'")
        if render_mode is not None:
            prepare_headless()
        mode = {} if render_mode is None else {"render_mode": render_mode}
        self.template: Any = creator(**{**spec.kwargs, **env_kwargs, **mode})
        # Some classes make what they draw from in reset only.
        self.template.reset()
        self.env_id = self.gym_id
        self.env_kwargs = dict(env_kwargs)
        if max_episode_steps == "spec":
            limit = spec.max_episode_steps
        else:
            self.env_kwargs["max_episode_steps"] = max_episode_steps
            limit = None if max_episode_steps in (None, -1) else max_episode_steps
        if limit is not None and limit < 1:
            raise InputError(f"{self.gym_id}: max_episode_steps is {limit}, expected at least 1 (-1: no limit)")
        self.max_episode_steps = limit
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.dtype = dtype
        self.observation_space = self.template.observation_space
        self.action_space = self.template.action_space
        # Reading one flag back costs less than drawing unused resets, and tells a fault at once, but only where it
        # needs no synchronization with a device.
        self._on_host = self.device.type == "cpu"
        self._later: DeferredFaults | None = None
        self._first_seed: int | None = None
        self._valid = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=self.device)
        self._keys: Tensor | None = None
        self._episode = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        # Every environment's clock ticks at once, so one integer counts and a tensor remembers the starts:
        # that saves an addition per step over counting each row's elapsed steps.
        self._clock = 0
        self._start = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._state = torch.zeros(num_envs, len(self.state_names), dtype=dtype, device=self.device)

    @abstractmethod
    def _initial_state(self, uniform: Tensor) -> Tensor:
        """Physical states ``[N, D]`` from numbers ``[N, reset_draws]`` in [0, 1)."""

    @abstractmethod
    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Next states ``[N, D]``, rewards ``[N]`` float32 and terminations ``[N]`` bool; a pure function."""

    @abstractmethod
    def _observe(self, state: Tensor) -> Tensor:
        """Observations ``[N, ...]`` float32 in new memory."""

    def _canonical(self, state: Tensor) -> Tensor:
        """The same physical states ``[N, D]`` (float64) in the range that the dynamics keep."""
        return state

    def _fresh_state(self) -> Tensor:
        assert self._keys is not None
        return self._initial_state(counter_uniform(self._keys, self._episode, self.reset_draws, self.dtype))

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; see :meth:`VecEnv.reset`."""
        if seed is None and self._keys is not None:
            self._episode = self._episode + 1
        else:
            first = secrets.randbits(31) if seed is None else seed
            self._first_seed = first
            seeds = torch.arange(first, first + self.num_envs, dtype=torch.int64, device=self.device)
            self._keys = stream_keys(seeds)
            self._episode = torch.zeros_like(self._episode)
        self._start = torch.full_like(self._start, self._clock)
        self._state = self._fresh_state()
        return self._observe(self._state)

    def step(self, actions: Tensor) -> Step:
        """Play one step.

        Args:
            actions: ``[N]`` int64 (discrete) or ``[N, A]`` float32 (continuous), inside the action space.

        Raises:
            InputError: where the shape of ``actions`` is another one.
            EnvironmentFault: where an observation or a reward is NaN or infinite. On other devices than the processor
                it is told up to 256 steps late, so that no step waits for the device.
        """
        if self._keys is None:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        self._clock += 1
        played = actions.detach()
        state, reward, terminated = self._advance(self._state, played)
        if self.max_episode_steps is None:
            truncated, ended = self._never, terminated
        else:
            truncated = self._start <= self._clock - self.max_episode_steps
            ended = terminated | truncated
        obs = next_obs = self._observe(state)
        self._check_finite(next_obs, reward, played)
        if not (self._on_host and not ended.any()):
            self._episode = self._episode + ended
            self._start = torch.where(ended, self._clock, self._start)
            state = torch.where(ended[:, None], self._fresh_state(), state)
            obs = self._observe(state)
        self._state = state
        return Step(obs, next_obs, reward, terminated, truncated, self._valid)

    def _check_finite(self, obs: Tensor, reward: Tensor, actions: Tensor) -> None:
        if self._on_host:
            bad = bad_value(obs.numpy(), "an observation") or bad_value(reward.numpy(), "the reward")
            if bad is not None:
                row = bad[0]
                step, episode = self._clock - int(self._start[row]), int(self._episode[row])
                raise self._fault(row, bad[1], step, episode, actions[row])
            return
        if self._later is None:
            self._later = DeferredFaults(actions)
        self._later.note((obs, reward), self._clock - self._start, self._episode, actions)
        if self._later.due:
            self._raise_deferred()

    def _raise_deferred(self) -> None:
        found = None if self._later is None else self._later.first()
        if found is not None:
            row, step, episode, action = found
            raise self._fault(row, "returned NaN or infinity in an observation or the reward", step, episode, action)

    def _fault(self, row: int, problem: str, step: int, episode: int, action: Tensor) -> EnvironmentFault:
        seed = None if self._first_seed is None else self._first_seed + row
        when = f"in step {step} of episode {episode} since that seed"
        return EnvironmentFault(self.env_id, problem, {row: seed}, when=when, action=action.numpy())

    def set_state(self, state: Tensor) -> Tensor:
        """Put the environments into physical states, inside their running episodes.

        Args:
            state: ``[N, D]``, columns as in ``state_names``.

        Returns:
            The observations ``[N, ...]`` of these states.

        Raises:
            InputError: where the shape is another one.
        """
        if state.shape != self._state.shape:
            raise InputError(
                f"{self.env_id}: the state has shape {list(state.shape)}, expected {list(self._state.shape)} "
                f"({', '.join(self.state_names)})"
            )
        if self._keys is None:
            self.reset()
        exact = self._canonical(state.detach().to(self.device, torch.float64))
        self._state = exact.to(self.dtype, copy=True)
        return self._observe(self._state)

    def get_state(self) -> Tensor:
        """The physical states ``[N, D]`` (a copy), columns as in ``state_names``."""
        return self._state.clone()

    def render(self) -> list[np.ndarray]:
        """One frame ``[H, W, 3]`` (uint8) per environment, drawn by Gymnasium's class.

        Raises:
            InputError: where ``render_mode="rgb_array"`` was not given.
        """
        if self.template.render_mode is None:
            raise InputError(f"{self.env_id}: was made without render_mode='rgb_array'")
        frames = []
        for row in self._state.double().cpu().numpy():
            self.template.state = row
            frames.append(np.asarray(self.template.render(), dtype=np.uint8))
        return frames

    def state_dict(self) -> State:
        """Physical states, the first environment's seed, stream keys, episode numbers and elapsed steps.

        Raises:
            EnvironmentFault: where a fault was found on the device since the last look.
        """
        if self._keys is None:
            raise RuntimeError(f"{self.env_id}: call reset before state_dict")
        self._raise_deferred()
        return {
            "seed": self._first_seed,
            "state": self._state.clone(),
            "keys": self._keys.clone(),
            "episode": self._episode.clone(),
            "elapsed": self._clock - self._start,
        }

    def load_state_dict(self, state: State) -> Tensor:
        """Go on exactly where ``state`` was saved; returns the observations ``[N, ...]``.

        Raises:
            InputError: where it was saved with another number of environments or another precision.
        """
        saved = state["state"]
        if saved.shape != self._state.shape or saved.dtype != self.dtype:
            raise InputError(
                f"{self.env_id}: the saved state is {saved.dtype} {list(saved.shape)}, "
                f"expected {self.dtype} {list(self._state.shape)}"
            )
        self._state = saved.to(self.device, copy=True)
        self._first_seed = state.get("seed")
        self._keys = state["keys"].to(self.device, copy=True)
        self._episode = state["episode"].to(self.device, copy=True)
        self._clock = 0
        self._start = -state["elapsed"].to(self.device)
        return self._observe(self._state)
