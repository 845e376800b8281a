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

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from torch import Tensor

from gail.core.errors import InputError
from gail.envs.chunk import Array
from gail.envs.leaves import element_layout
from gail.envs.resolve import spec_id
from gail.envs.vec import State, Step, VecEnv


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
        _, self._obs_dtype = element_layout(self.observation_space)
        _, self._action_dtype = element_layout(self.action_space)
        self._ended: Array | None = None

    def _to_device(self, array: Any) -> Tensor:
        # Always a copy: a vector environment may hand out the buffer that its next step writes.
        return torch.from_numpy(np.array(array)).to(self.device)

    def _obs(self, array: Any) -> Array:
        return np.array(array, dtype=self._obs_dtype)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; the wrapped object spreads ``seed`` its own way."""
        obs, _ = self.env.reset(seed=seed)
        self._ended = np.zeros(self.num_envs, dtype=np.bool_)
        return self._to_device(self._obs(obs))

    def step(self, actions: Tensor) -> Step:
        """Play one step; see :meth:`VecEnv.step`.

        Raises:
            InputError: where ``actions`` is not ``[N, ...]``.
        """
        if self._ended is None:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        played = actions.detach().cpu().numpy().astype(self._action_dtype)
        result, reward, terminated, truncated, info = self.env.step(played)
        obs = next_obs = self._obs(result)
        reward = np.array(reward, dtype=np.float32)
        terminated, truncated = np.array(terminated, np.bool_), np.array(truncated, np.bool_)
        valid = np.ones(self.num_envs, dtype=np.bool_)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP:
            valid = ~self._ended
            reward, terminated, truncated = reward * valid, terminated & valid, truncated & valid
        ended = terminated | truncated
        self._ended = ended
        if ended.any() and self.autoreset_mode is AutoresetMode.SAME_STEP:
            next_obs = self._with_final_obs(obs, ended, info)
        elif ended.any() and self.autoreset_mode is AutoresetMode.DISABLED:
            first, _ = self.env.reset(options={"reset_mask": ended.copy()})
            obs = next_obs.copy()
            obs[ended] = self._obs(first)[ended]
        obs_tensor = self._to_device(obs)
        return Step(
            obs_tensor,
            obs_tensor if next_obs is obs else self._to_device(next_obs),
            self._to_device(reward),
            self._to_device(terminated),
            self._to_device(truncated),
            self._to_device(valid),
        )

    def _with_final_obs(self, obs: Array, ended: Array, info: dict[str, Any]) -> Array:
        """``obs`` with the true successors in the rows that ended.

        ``final_obs`` may be an object array with None elsewhere or a plain one; its rows read the same.
        """
        if "final_obs" not in info:
            raise RuntimeError(
                f"{self.env_id}: autoreset mode is SAME_STEP but info has no 'final_obs' where an episode "
                f"ended (info has {', '.join(info) or 'nothing'}), so the true successors are lost"
            )
        final = info["final_obs"]
        next_obs = obs.copy()
        for row in np.flatnonzero(ended):
            next_obs[row] = final[row]
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
