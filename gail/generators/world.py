"""A learned model as an environment: what a mixture-density recurrent network believes, stepped in batches.

Source: training a policy inside a model follows Ha & Schmidhuber 2018, section 4 ("inside of a dream").
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.core.random import counter_uniform, stream_keys
from gail.envs import open_vec
from gail.envs.ids import require_registered
from gail.envs.leaves import element_layout
from gail.envs.vec import State, Step, VecEnv
from gail.generators.fit import FitResult
from gail.generators.kinds import FittedGenerator, load_generator
from gail.generators.mixture import MixtureRNN


class World(VecEnv):
    """``num_envs`` episodes that a model of episodes makes up; torch-native, on any device.

    An episode starts in one of the states in which a recorded one started. Next state, reward and termination are drawn
    from the model, clipped to what occurred in its data; the time limit is the longest recorded episode's length.
    Everything random is keyed by (seed + i, episode, step).

    Args:
        num_envs: N.
        device: where it runs.
        run: a run directory or model file of ``gail fit mdrnn``, or what :func:`gail.fit` returned.
        max_episode_steps: another time limit; None is no limit.

    Raises:
        InputError: where ``run`` is no such model, or does not say what it is a model of.
    """

    def __init__(
        self,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        run: str | Path | FitResult | FittedGenerator,
        max_episode_steps: int | Literal["data"] | None = "data",
    ) -> None:
        if isinstance(run, FitResult):
            run = run.generator
        fitted = run if isinstance(run, FittedGenerator) else load_generator(run, device)
        where = run if isinstance(run, str | Path) else "run"
        if not isinstance(fitted.model, MixtureRNN):
            raise InputError(f"{where}: is a model of kind {fitted.model.kind!r}, expected one of `gail fit mdrnn`")
        origin = fitted.origin.get("env_id")
        if origin is None:
            raise InputError(f"{where}: its data does not say which environment it is of, so its spaces are unknown")
        self.model = fitted.model.to(device).eval()
        codec = self.model.codec
        if codec.obs.count is not None:
            raise InputError(f"{where}: its observations are integers, expected numbers")
        kwargs = fitted.origin.get("env_kwargs") or {}
        with open_vec(require_registered(origin, where), 1, **kwargs) as env:
            self.observation_space, self.action_space = env.observation_space, env.action_space
        self.env_id, self.env_kwargs = f"world:{origin}", {}
        self.num_envs, self.device = num_envs, torch.device(device)
        self.max_episode_steps = codec.longest if max_episode_steps == "data" else max_episode_steps
        self._obs_shape, self._obs_dtype = codec.obs.shape, _torch_dtype(element_layout(self.observation_space)[1])
        size = codec.obs.columns
        place = size + codec.action.columns
        self._columns = codec.scaling.part(slice(0, size)).to(self.device)
        self._acted = codec.scaling.part(slice(size, place)).to(self.device)
        self._paid = codec.scaling.part(slice(place, place + 1)).to(self.device)
        self._starts = codec.starts.to(self.device)
        self._valid = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._keys: Tensor | None = None
        self._episode = torch.zeros(num_envs, dtype=torch.int64, device=self.device)
        self._elapsed = torch.zeros_like(self._episode)
        self._state = torch.zeros(num_envs, size, device=self.device)
        self._hidden = self.model.initial_hidden(num_envs)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; see :meth:`VecEnv.reset`."""
        if seed is None and self._keys is not None:
            self._episode = self._episode + 1
        else:
            first = secrets.randbits(31) if seed is None else seed
            self._keys = stream_keys(torch.arange(first, first + self.num_envs, device=self.device))
            self._episode = torch.zeros_like(self._episode)
        self._elapsed = torch.zeros_like(self._elapsed)
        self._hidden = self.model.initial_hidden(self.num_envs)
        self._state = self._fresh()
        return self._observe(self._state)

    @torch.no_grad()
    def step(self, actions: Tensor) -> Step:
        """Play one step; ``actions`` ``[N, ...]`` of the action space."""
        if self._keys is None:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        self._elapsed = self._elapsed + 1
        acted = self._acted.apply(self.model.codec.action.to_columns(actions.detach()))
        drawn = self.model.advance(self._columns.apply(self._state), acted, self._hidden, self._uniform())
        state, hidden = self._columns.undo(drawn.obs), drawn.hidden
        reward = self._paid.undo(drawn.reward)[:, 0]
        # "Over" alone is a time limit of the data; this environment counts its own.
        terminated = drawn.flags.all(1)
        late = self._elapsed >= self.max_episode_steps if self.max_episode_steps is not None else ~self._valid
        truncated = late & ~terminated
        ended = terminated | truncated
        obs = next_obs = self._observe(state)
        if bool(ended.any()):
            self._episode = self._episode + ended
            self._elapsed = torch.where(ended, 0, self._elapsed)
            state = torch.where(ended[:, None], self._fresh(), state)
            hidden = torch.where(ended[:, None], self.model.initial_hidden(self.num_envs), hidden)
            obs = self._observe(state)
        self._state, self._hidden = state, hidden
        return Step(obs, next_obs, reward, terminated, truncated, self._valid)

    def _uniform(self) -> Tensor:
        """``[N, draws]`` of this episode and step."""
        assert self._keys is not None
        # Episodes are told apart by the high bits, steps by the low ones.
        return counter_uniform(self._keys, (self._episode << 32) + self._elapsed, self.model.step_draws, torch.float64)

    def _fresh(self) -> Tensor:
        chosen = (self._uniform()[:, 0] * len(self._starts)).long()
        return self._starts[chosen]

    def _observe(self, state: Tensor) -> Tensor:
        seen = state.reshape(self.num_envs, *self._obs_shape)
        return (seen if self._obs_dtype.is_floating_point else seen.round()).to(self._obs_dtype, copy=True)

    def state_dict(self) -> State:
        """States, the network's memory, stream keys, episode numbers and elapsed steps."""
        if self._keys is None:
            raise RuntimeError(f"{self.env_id}: call reset before state_dict")
        names = ("state", "hidden", "keys", "episode", "elapsed")
        return {name: getattr(self, f"_{name}").clone() for name in names}

    def load_state_dict(self, state: State) -> Tensor:
        """Go on exactly where ``state`` was saved; returns the observations ``[N, ...]``.

        Raises:
            InputError: where it was saved with another number of environments or another model.
        """
        for name in ("state", "hidden"):
            found, expected = state[name].shape, getattr(self, f"_{name}").shape
            if found != expected:
                raise InputError(f"{self.env_id}: saved {name} {list(found)}, expected {list(expected)}")
        for name in ("state", "hidden", "keys", "episode", "elapsed"):
            setattr(self, f"_{name}", state[name].to(self.device, copy=True))
        return self._observe(self._state)


def _torch_dtype(dtype: Any) -> torch.dtype:
    return torch.from_numpy(dtype.type(0).reshape(1)).dtype
