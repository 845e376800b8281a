"""A contiguous chunk of Gymnasium environments, stepped one after the other into numpy buffers.

The in-process backend has one chunk, each worker process of the other one has its own: so both give the
same results. This file must not import torch, because workers should start fast and stay small.

Resuming needs no pickle: a running episode is the random generator's state at its start and the actions
since. Loading resets from that state, replays the actions, and compares what is reached with what was saved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import NDArray

from gail.core.errors import InputError
from gail.core.leaves import Leaves, gather_leaves, map_leaves, named_leaves
from gail.envs.atari import is_atari
from gail.envs.atari_single import make_single, silence
from gail.envs.finite import bad_value
from gail.envs.leaves import element_layout, leaf_spaces, leaf_values
from gail.envs.rendering import prepare_headless, render_frame
from gail.envs.wording import described, raised

REPLAY_LIMIT = 100_000
"""Steps after which a running episode is no longer recorded, and so not restored; it bounds the memory."""

RESULT = "five values (observation, reward, terminated, truncated, info)"

_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")

Array = NDArray[Any]


class RowFault(Exception):
    """Environment ``index`` of a chunk broke (None: it is not known which one).

    Whoever owns the chunk adds id, seed, step and action; ``problem`` follows the environment's name in the message:
    "raised ValueError: ...", "returned NaN ...".
    """

    def __init__(self, index: int | None, problem: str) -> None:
        super().__init__(index, problem)
        self.index, self.problem = index, problem

    @classmethod
    def of(cls, index: int | None, error: BaseException) -> RowFault:
        """The fault of an environment that raised ``error``."""
        return cls(index, f"raised {raised(error)}")


@contextmanager
def _named(index: int) -> Iterator[None]:
    """Turn what environment ``index`` raises into a RowFault."""
    try:
        yield
    except (InputError, RowFault):
        raise
    except (Exception, SystemExit) as error:
        raise RowFault.of(index, error) from error


def make_env(spec: EnvSpec, env_kwargs: Mapping[str, Any]) -> gym.Env:
    """One environment with its time limit, and without the wrapper that checks every step's types."""
    if env_kwargs.get("render_mode") is not None:
        prepare_headless()
    if is_atari(spec.id):
        return make_single(spec, env_kwargs)
    kwargs = dict(env_kwargs)
    if kwargs.get("max_episode_steps", -1) is None:
        kwargs["max_episode_steps"] = -1  # Gymnasium reads None as "the registered limit"
    if str(spec.entry_point).startswith("ale_py"):
        silence()
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        from gail.envs.mujoco_warnings import without_known_deprecations

        with without_known_deprecations():
            return gym.make(spec, disable_env_checker=True, **kwargs)
    return gym.make(spec, disable_env_checker=True, **kwargs)


@dataclass(frozen=True)
class Buffers:
    """What a chunk of n environments reads and writes; arrays may be slices of shared memory."""

    actions: Array
    """``[n, ...]``, the action space's dtype."""
    next_obs: Leaves
    """``[n, ...]``: the successors, the observation space's dtype; of Dict and Tuple spaces one array per leaf."""
    reset_obs: Leaves
    """``[n, ...]``: the next episode's first observations, fresh in rows that just ended."""
    reward: Array
    """``[n]`` float32."""
    terminated: Array
    """``[n]`` bool."""
    truncated: Array
    """``[n]`` bool."""
    playing: Array
    """``[n]`` bool: True while the environment's own code runs, so that a process that dies leaves its name."""

    @staticmethod
    def layout(
        count: int, observation_space: gym.Space, action_space: gym.Space
    ) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of each field for ``count`` environments; leaves are fields of their own, ``field/key``."""
        act_shape, act_dtype = element_layout(action_space)
        rows = map_leaves(_rows_of(count), leaf_spaces(observation_space))
        return {
            "actions": ((count, *act_shape), act_dtype),
            **dict(named_leaves("next_obs", rows)),
            **dict(named_leaves("reset_obs", rows)),
            "reward": ((count,), np.dtype(np.float32)),
            "terminated": ((count,), np.dtype(np.bool_)),
            "truncated": ((count,), np.dtype(np.bool_)),
            "playing": ((count,), np.dtype(np.bool_)),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Buffers:
        """From arrays named as in :meth:`layout`."""
        return cls(**{name: gather_leaves(name, arrays) for name in cls.__dataclass_fields__})

    def rows(self, start: int, stop: int) -> Buffers:
        """The same memory, rows ``start`` to ``stop`` only."""
        return Buffers(
            **{name: map_leaves(lambda array: array[start:stop], leaves) for name, leaves in vars(self).items()}
        )


def _rows_of(count: int) -> Callable[[gym.Space], tuple[tuple[int, ...], np.dtype]]:
    def layout(space: gym.Space) -> tuple[tuple[int, ...], np.dtype]:
        shape, dtype = element_layout(space)
        return (count, *shape), dtype

    return layout


class ActionLog:
    """The actions of n running episodes, ``[steps, n, ...]``, grown and trimmed as needed."""

    def __init__(self, actions: Array) -> None:
        """``actions`` ``[n, ...]`` gives the layout of one step."""
        self._rows = np.empty((256, *actions.shape), actions.dtype)
        self._used = 0
        self._first = [0] * len(actions)  # the row where each running episode starts; negative: dropped

    def append(self, actions: Array) -> None:
        """Record one step's actions ``[n, ...]``."""
        if self._used == len(self._rows):
            self._make_room()
        self._rows[self._used] = actions
        self._used += 1

    def start_episode(self, index: int) -> None:
        """Forget what environment ``index`` did so far."""
        self._first[index] = self._used

    def length(self, index: int) -> int:
        """Steps of the running episode of environment ``index``."""
        return self._used - self._first[index]

    def episode(self, index: int) -> Array | None:
        """The actions ``[T, ...]`` of the running episode, or None where it is longer than the limit."""
        first = self._first[index]
        return None if first < 0 else self._rows[first : self._used, index].copy()

    def load(self, episodes: Sequence[Array]) -> None:
        """Start over with these running episodes, one ``[T_i, ...]`` per environment."""
        self._used = max(len(actions) for actions in episodes)
        self._first = [self._used - len(actions) for actions in episodes]
        self._rows = np.zeros((self._used + 256, *self._rows.shape[1:]), self._rows.dtype)
        for index, actions in enumerate(episodes):
            self._rows[self._first[index] : self._used, index] = actions

    def _make_room(self) -> None:
        drop = max(min(self._first), self._used - REPLAY_LIMIT)
        kept = self._rows[max(drop, 0) : self._used]
        rows = np.empty((max(256, 2 * len(kept)), *self._rows.shape[1:]), self._rows.dtype)
        rows[: len(kept)] = kept
        self._first = [first - max(drop, 0) for first in self._first]
        self._rows, self._used = rows, len(kept)


class EnvChunk:
    """n environments of one id and the state that replays their running episodes."""

    def __init__(self, envs: Sequence[gym.Env], buffers: Buffers) -> None:
        """Step ``envs`` into ``buffers`` (n rows)."""
        self.envs = list(envs)
        self.buffers = buffers
        self._space = self.envs[0].observation_space
        self._composite = isinstance(buffers.next_obs, dict)
        # Of a single leaf; a composite observation is checked leaf by leaf.
        self._shape = () if self._composite else buffers.next_obs.shape[1:]
        self._dtype = None if self._composite else buffers.next_obs.dtype
        self._log = ActionLog(buffers.actions)
        # How each running episode started: a seed, or the random generator's state before the reset.
        self._starts: list[Any] = []

    def reset(self, seed: int | None) -> None:
        """Start new episodes everywhere; environment i of the chunk gets ``seed + i``.

        Raises:
            RowFault: where an environment does.
        """
        self._starts = [0] * len(self.envs)
        for index in range(len(self.envs)):
            self.buffers.playing[index] = True
            with _named(index):
                self._start_episode(index, None if seed is None else seed + index)
            self.buffers.playing[index] = False

    def _start_episode(self, index: int, seed: int | None) -> None:
        env = self.envs[index]
        self._starts[index] = env.unwrapped.np_random.bit_generator.state if seed is None else seed
        first = env.reset(seed=seed)
        if not isinstance(first, tuple) or len(first) != 2:
            raise RowFault(index, f"returned {described(first)} from reset, expected a tuple (observation, info dict)")
        self._store(self.buffers.reset_obs, index, first[0], " from reset")
        for name, rows in named_leaves("", self.buffers.reset_obs):
            self._check_finite(rows[index : index + 1], f"an observation{name and ' ' + name[1:]} from reset", index)
        self._log.start_episode(index)

    def _store(self, target: Leaves, index: int, obs: Any, whence: str = "") -> None:
        """Write ``obs`` into row ``index`` of ``target``, checked."""
        try:
            leaves = leaf_values(self._space, obs)
        except (KeyError, IndexError, TypeError) as error:
            found = f"{type(obs).__name__} ({type(error).__name__}: {error})"
            raise RowFault(index, f"returned an observation{whence} of {found}, expected {self._space}") from None
        for (name, rows), (_, value) in zip(named_leaves("", target), named_leaves("", leaves), strict=True):
            rows[index] = self._checked(index, value, rows, f"{name and ' ' + name[1:]}{whence}")

    def _checked(self, index: int, obs: Any, rows: Array, whence: str) -> Array:
        """``obs`` as an array that fits into a row."""
        array = np.asarray(obs)
        if (wrong := misfit(array, rows.shape[1:], rows.dtype)) is not None:
            raise RowFault(index, f"returned an observation{whence} of {wrong}")
        return array

    def _check_finite(self, rows: Array, what: str, first: int = 0) -> None:
        """Raise a RowFault where ``rows`` ``[n, ...]`` hold NaN or infinity; ``first`` is the number of row 0."""
        if (bad := bad_value(rows, what)) is not None:
            raise RowFault(first + bad[0], bad[1])

    def step(self) -> None:
        """Play ``buffers.actions`` in every environment; those that ended start their next episode.

        Raises:
            RowFault: where an environment breaks; the rows after it were not played.
        """
        buffers, next_obs, reward = self.buffers, self.buffers.next_obs, self.buffers.reward
        terminated, truncated, playing = buffers.terminated, buffers.truncated, buffers.playing
        shape, dtype = self._shape, self._dtype
        # A copy: an environment may keep or change the action that it is given.
        actions = buffers.actions.copy()
        self._log.append(buffers.actions)
        for index, env in enumerate(self.envs):
            playing[index] = True
            try:
                result = env.step(actions[index])
                try:
                    obs, earned, over, cut, _ = result
                except (TypeError, ValueError):
                    raise RowFault(index, f"returned {described(result)} from step, expected {RESULT}") from None
                # What sound environments return passes without a call.
                if obs.__class__ is np.ndarray and obs.dtype is dtype and obs.shape == shape:
                    next_obs[index] = obs
                else:
                    self._store(next_obs, index, obs)
                try:
                    reward[index] = earned
                    terminated[index] = over
                    truncated[index] = cut
                    ended = over or cut
                except (TypeError, ValueError):
                    raise _odd_result(index, earned, over, cut) from None
                if over is None or cut is None:
                    raise _odd_result(index, earned, over, cut)
                if ended:
                    self._start_episode(index, None)
            except RowFault:
                raise
            except (Exception, SystemExit) as error:
                raise RowFault.of(index, error) from error
            playing[index] = False
        for name, rows in named_leaves("", next_obs):
            self._check_finite(rows, f"an observation{name and ' ' + name[1:]}")
        self._check_finite(reward, "the reward")

    def current_obs(self) -> Leaves:
        """What to act on now ``[n, ...]``."""
        fresh = [self._log.length(index) == 0 for index in range(len(self.envs))]
        return map_leaves(
            lambda rows, first: merge_rows(rows, first, fresh), self.buffers.next_obs, self.buffers.reset_obs
        )

    def state(self) -> dict[str, Any]:
        """Arrays and JSON values that :meth:`load` goes on from.

        ``lengths`` ``[n]`` is -1 for an episode that cannot be replayed (see ``_can_replay``) or is too long.
        """
        if not self._starts:
            raise RuntimeError("call reset before state_dict")
        episodes = [
            self._log.episode(index) if _can_replay(self.envs[index], start) else None
            for index, start in enumerate(self._starts)
        ]
        empty = self.buffers.actions[:0]
        return {
            "starts": [start if isinstance(start, int) else rng_to_text(start) for start in self._starts],
            "rng": [rng_to_text(env.unwrapped.np_random.bit_generator.state) for env in self.envs],
            "lengths": np.array([-1 if actions is None else len(actions) for actions in episodes], np.int64),
            "actions": np.concatenate([empty, *(actions for actions in episodes if actions is not None)]),
            "obs": self.current_obs(),
        }

    def load(self, state: Mapping[str, Any]) -> list[bool]:
        """Go on from ``state``; returns which environments were restored exactly (the others start anew)."""
        self._starts = list(state["starts"])
        episodes: list[Array] = []
        exact: list[bool] = []
        offset = 0
        for index, length in enumerate(state["lengths"].tolist()):
            actions = state["actions"][offset : offset + max(length, 0)]
            offset += len(actions)
            reached = map_leaves(lambda rows, i=index: rows[i], state["obs"])
            with _named(index):
                same = length >= 0 and self._replay(index, actions, reached, state["rng"][index])
            exact.append(same)
            episodes.append(actions if same else actions[:0])
        self._log.load(episodes)
        for index, same in enumerate(exact):
            if not same:
                _set_rng(self.envs[index], state["rng"][index])
                with _named(index):
                    self._start_episode(index, None)
        return exact

    def _replay(self, index: int, actions: Array, reached: Leaves, rng: str) -> bool:
        """Repeat an episode; whether it ends in the same observation and the same generator state."""
        env, start = self.envs[index], self._starts[index]
        if isinstance(start, int):
            obs, _ = env.reset(seed=start)
        else:
            self._starts[index] = _set_rng(env, start)
            obs, _ = env.reset()
        self._store(self.buffers.reset_obs, index, obs)
        for action in actions.copy():
            obs, _, over, cut, _ = env.step(action)
            if over or cut:
                return False
        self._store(self.buffers.next_obs, index, obs)
        pairs = zip(named_leaves("", self.buffers.next_obs), named_leaves("", reached), strict=True)
        same_obs = all(rows[index].tobytes() == np.ascontiguousarray(row).tobytes() for (_, rows), (_, row) in pairs)
        return same_obs and rng_to_text(env.unwrapped.np_random.bit_generator.state) == rng

    def render(self) -> list[Array]:
        """One RGB frame per environment."""
        frames = []
        for index, env in enumerate(self.envs):
            with _named(index):
                frames.append(render_frame(env))
        return frames

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def misfit(array: Array, shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    """What ``array`` is and should be, where assigning it would hide a wrong shape (by broadcasting) or dtype."""
    if array.shape == shape and np.can_cast(array.dtype, dtype, "same_kind"):
        return None
    found = type(array.item()).__name__ if array.dtype == object and not array.shape else None
    return f"{found or f'{array.dtype} {list(array.shape)}'}, expected {dtype} {list(shape)}"


def _odd_result(index: int, reward: Any, terminated: Any, truncated: Any) -> RowFault:
    """The fault of a step whose reward or flags are of the wrong kind: the first of them that is."""
    parts = [
        ("reward", reward, float, "a number"),
        ("terminated", terminated, bool, "a bool"),
        ("truncated", truncated, bool, "a bool"),
    ]
    odd = [part for part in parts if not _converts(part[1], part[2])]
    name, value, _, expected = odd[0] if odd else parts[0]
    return RowFault(index, f"returned {described(value)} as {name}, expected {expected}")


def _converts(value: Any, kind: Callable[[Any], Any]) -> bool:
    try:
        kind(value)
    except (TypeError, ValueError):
        return False
    return value is not None and np.ndim(value) == 0


def merge_rows(rows: Array, other: Array, taken: Sequence[bool] | Array) -> Array:
    """A copy of ``rows`` ``[n, ...]`` with those of ``other`` where ``taken``."""
    merged = rows.copy()
    merged[np.asarray(taken)] = other[np.asarray(taken)]
    return merged


def _can_replay(env: gym.Env, start: Any) -> bool:
    """Whether an episode that started so can be played again: an Atari console's own generator only knows seeds."""
    return isinstance(start, int) or not hasattr(env.unwrapped, "ale")


def rng_to_text(state: Mapping[str, Any]) -> str:
    """A bit generator's state as JSON."""
    # Text, because the 128-bit integers inside do not survive every JSON reader.
    return json.dumps(state, default=lambda array: array.tolist())


def rng_from_text(text: str) -> np.random.Generator:
    """A random generator in the state that :func:`rng_to_text` wrote.

    Raises:
        InputError: on an unknown kind of bit generator.
    """
    state = json.loads(text)
    name = state["bit_generator"]
    if name not in _BIT_GENERATORS:
        raise InputError(f"saved random generator is {name!r}, expected one of {', '.join(_BIT_GENERATORS)}")
    generator = getattr(np.random, name)()
    generator.state = state
    return np.random.Generator(generator)


def _set_rng(env: gym.Env, text: str) -> dict[str, Any]:
    """Put the environment's random generator into a saved state, and return that state."""
    env.unwrapped.np_random = rng_from_text(text)
    return json.loads(text)
