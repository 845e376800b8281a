"""Vector environments that somebody else wrote: any ``gymnasium.vector.VectorEnv``, in every autoreset mode.

============  ===========================================  =========================================
mode          what the wrapped object does at an end       what comes out
============  ===========================================  =========================================
NEXT_STEP     the following step plays nothing there       that row has ``valid`` False, reward 0
SAME_STEP     resets at once; ``info["final_obs"]``        ``next_obs`` is taken from ``final_obs``
DISABLED      nothing                                      ``reset_mask`` right after the end
============  ===========================================  =========================================
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.envs.chunk import RESULT, Array, RowFault, misfit
from gail.envs.finite import bad_value
from gail.envs.leaves import element_layout
from gail.envs.resolve import spec_id
from gail.envs.vec import State, Step, VecEnv
from gail.envs.wording import described


class WrappedVectorEnv(VecEnv):
    """A Gymnasium vector environment behind the contract; its running episodes cannot be saved.

    In NEXT_STEP mode the first observation of the next episode is known one step late: a row that ended shows
    its last observation in ``obs`` too, and the (ignored) action on it makes the invalid reset row.
    """

    def __init__(
        self,
        env: VectorEnv,
        device: torch.device | str = "cpu",
        *,
        env_id: str | None = None,
        env_kwargs: dict[str, Any] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Wrap ``env``.

        Args:
            env: the vector environment; its metadata must say its ``autoreset_mode``.
            device: where the tensors of a step live.
            env_id: the id it was made from; None: its spec's.
            env_kwargs: the keywords it was made with.
            max_episode_steps: its time limit; None where there is none or it is not known.

        Raises:
            InputError: on an unsupported space or an unknown autoreset mode.
        """
        self.env = env
        self.env_id = env_id or (env.spec.id if env.spec is not None else type(env.unwrapped).__name__)
        self.env_kwargs = dict(env_kwargs or {})
        self.num_envs = env.num_envs
        self.device = torch.device(device)
        self.observation_space: gym.Space = env.single_observation_space
        self.action_space: gym.Space = env.single_action_space
        self.max_episode_steps = max_episode_steps
        self.saves_state = False
        found = env.metadata.get("autoreset_mode")
        try:
            self.autoreset_mode = AutoresetMode(found)
        except ValueError:
            expected = ", ".join(f"AutoresetMode.{mode.name}" for mode in AutoresetMode)
            raise InputError(
                f"{self.env_id}: metadata['autoreset_mode'] is {found!r}, expected one of {expected}"
            ) from None
        shape, self._obs_dtype = element_layout(self.observation_space)
        self._obs_shape = (self.num_envs, *shape)
        _, self._action_dtype = element_layout(self.action_space)
        self._ended: Array | None = None
        # What a fault names.
        self._seed: int | None = None
        self._episodes = np.zeros(self.num_envs, dtype=np.int64)
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._steps = 0

    def _to_device(self, array: Any) -> Tensor:
        # Always a copy: a vector environment may hand out the buffer that its next step writes.
        return torch.from_numpy(np.array(array)).to(self.device)

    def _obs(self, array: Any) -> Array:
        """``array`` as ``[N, ...]`` of the space's dtype, in new memory.

        Raises:
            RowFault: where that would hide a wrong shape or dtype.
        """
        found = np.asarray(array)
        if found.shape != self._obs_shape or not np.can_cast(found.dtype, self._obs_dtype, "same_kind"):
            expected = f"{self._obs_dtype} {list(self._obs_shape)}"
            raise RowFault(None, f"returned observations of {found.dtype} {list(found.shape)}, expected {expected}")
        return found.astype(self._obs_dtype)

    def _column(self, name: str, values: Any, dtype: Any) -> Array:
        """``values`` as ``[N]``.

        Raises:
            RowFault: where they are something else.
        """
        try:
            column = np.array(values, dtype)
        except (TypeError, ValueError):
            column = np.array(values, object)
        if column.shape != (self.num_envs,) or column.dtype != dtype:
            found = f"{described(values)}, expected {np.dtype(dtype)} [{self.num_envs}]"
            raise RowFault(None, f"returned {name} of {found}")
        return column

    def _fault(self, fault: RowFault, actions: Array | None) -> EnvironmentFault:
        """What happened, in words; to all environments where it is not known which one it was."""
        rows = range(self.num_envs) if fault.index is None else [fault.index]
        when = ""
        if actions is not None and len(rows) == 1:
            row = rows[0]
            when = f"in step {self._elapsed[row] + 1} of episode {self._episodes[row]} since that seed"
        elif actions is not None:
            when = f"in step {self._steps + 1} since the last reset"
        return EnvironmentFault(
            self.env_id,
            fault.problem,
            {row: None if self._seed is None else self._seed + row for row in rows},
            when=when,
            action=actions if actions is None or fault.index is None else actions[fault.index],
        )

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; the wrapped object spreads ``seed`` its own way.

        Raises:
            EnvironmentFault: where it returns what it must not.
        """
        self._seed = self._seed if seed is None else int(seed)
        with self._named():
            obs = self._first_obs(seed=seed)
            self._check_finite(obs, "an observation from reset")
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        self._episodes[:] = 0 if seed is not None else self._episodes + 1
        self._elapsed[:] = 0
        self._steps = 0
        return self._to_device(obs)

    def _first_obs(self, **kwargs: Any) -> Array:
        """What the wrapped object's ``reset`` observes."""
        result = self.env.reset(**kwargs)
        if not isinstance(result, tuple) or len(result) != 2:
            raise RowFault(None, f"returned {described(result)} from reset, expected a tuple (observations, info dict)")
        return self._obs(result[0])

    @contextmanager
    def _named(self, actions: Array | None = None) -> Iterator[None]:
        """Turn what goes wrong while the wrapped object plays ``actions``, or is reset, into an EnvironmentFault."""
        try:
            yield
        except RowFault as fault:
            raise self._fault(fault, actions) from fault.__cause__
        except (Exception, SystemExit) as error:
            raise self._fault(RowFault.of(None, error), actions) from error

    def step(self, actions: Tensor) -> Step:
        """Play one step; see :meth:`VecEnv.step`.

        Raises:
            InputError: where ``actions`` is not ``[N, ...]``.
            EnvironmentFault: where the wrapped object raises, or returns NaN, infinity, or another shape or dtype.
        """
        if self._ended is None:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        played = actions.detach().cpu().numpy().astype(self._action_dtype)
        with self._named(played):
            return self._play(played, self._ended)

    def _play(self, actions: Array, ended_before: Array) -> Step:
        returned = self.env.step(actions)
        try:
            result, found, over, cut, info = returned
        except (TypeError, ValueError):
            raise RowFault(None, f"returned {described(returned)} from step, expected {RESULT}") from None
        obs = next_obs = self._obs(result)
        reward = self._column("rewards", found, np.float32)
        terminated, truncated = self._column("terminated", over, np.bool_), self._column("truncated", cut, np.bool_)
        valid = np.ones(self.num_envs, dtype=np.bool_)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            valid = ~ended_before
            reward, terminated, truncated = (
                np.where(valid, reward, np.float32(0)),
                terminated & valid,
                truncated & valid,
            )
        ended = terminated | truncated
        if ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            next_obs = self._with_final_obs(obs, ended, info)
        elif ended.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            obs = next_obs.copy()
            obs[ended] = self._first_obs(options={"reset_mask": ended.copy()})[ended]
        self._check_finite(next_obs, "an observation")
        self._check_finite(reward, "the reward")
        if obs is not next_obs:
            self._check_finite(obs, "an observation from reset")
        self._ended = ended
        self._steps += 1
        self._elapsed += valid
        if ended.any():
            self._elapsed[ended] = 0
            self._episodes[ended] += 1
        obs_tensor = self._to_device(obs)
        return Step(
            obs_tensor,
            obs_tensor if next_obs is obs else self._to_device(next_obs),
            self._to_device(reward),
            self._to_device(terminated),
            self._to_device(truncated),
            self._to_device(valid),
        )

    @staticmethod
    def _check_finite(rows: Array, what: str) -> None:
        if (bad := bad_value(rows, what)) is not None:
            raise RowFault(*bad)

    def _with_final_obs(self, obs: Array, ended: Array, info: dict[str, Any]) -> Array:
        """``obs`` with the true successors in the rows that ended.

        ``final_obs`` may be an object array with None elsewhere or a plain one; its rows read the same.
        """
        if "final_obs" not in info:
            raise RowFault(
                None,
                "has autoreset mode SAME_STEP but returned no info['final_obs'] where an episode ended (info has "
                f"{', '.join(info) or 'nothing'}), so the true successors are lost",
            )
        final = info["final_obs"]
        next_obs = obs.copy()
        for row in np.flatnonzero(ended):
            array = np.asarray(final[row])
            if (wrong := misfit(array, self._obs_shape[1:], self._obs_dtype)) is not None:
                raise RowFault(int(row), f"returned info['final_obs'] of {wrong}")
            next_obs[row] = array
        return next_obs

    def state_dict(self) -> State:
        """Nothing: a vector environment cannot save its running episodes."""
        return {}

    def load_state_dict(self, state: State) -> Tensor:
        """Start new episodes and return their observations ``[N, ...]``."""
        return self.reset()

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment, where the wrapped object renders."""
        return [np.asarray(frame) for frame in self.env.render() or ()]

    def close(self) -> None:
        """Close the wrapped object."""
        self.env.close()


def make_from_vector_entry_point(
    spec: EnvSpec, num_envs: int, device: torch.device | str = "cpu", **env_kwargs: Any
) -> WrappedVectorEnv:
    """The id's own vectorized class, for example CartPole's numpy one.

    Raises:
        InputError: where the id has none, or no time limit is asked for.
    """
    if spec.vector_entry_point is None:
        raise InputError(f"{spec_id(spec)} has no backend 'vector_entry_point', expected sync, async or auto")
    if env_kwargs.get("max_episode_steps", -1) is None:
        raise InputError(
            f"{spec_id(spec)}: the backend 'vector_entry_point' needs a time limit, found max_episode_steps=None"
        )
    env = gym.make_vec(spec, num_envs=num_envs, vectorization_mode="vector_entry_point", **env_kwargs)
    limit = env_kwargs.get("max_episode_steps", spec.max_episode_steps)
    return WrappedVectorEnv(env, device, env_id=spec_id(spec), env_kwargs=env_kwargs, max_episode_steps=limit)
