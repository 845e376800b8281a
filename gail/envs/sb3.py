"""A batch of environments as a ``VecEnv`` of Stable-Baselines3; needs the package ``stable-baselines3``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import Wrapper
from stable_baselines3.common.vec_env import VecEnv as SB3VecEnvBase

from gail.core.errors import InputError
from gail.envs.leaves import leaf_spaces
from gail.envs.vec import VecEnv


class SB3VecEnv(SB3VecEnvBase):
    """What Stable-Baselines3 trains on, played by one of this toolkit's environments.

    Ends are told as it expects them: ``dones`` for both kinds, ``terminal_observation`` with the true successor, and
    ``TimeLimit.truncated`` where something would have followed, so that its algorithms bootstrap there. Returns and
    lengths of finished episodes stand in ``infos`` as its ``Monitor`` would put them.

    Args:
        env: the batch; :meth:`close` closes it.
    """

    def __init__(self, env: VecEnv) -> None:
        if isinstance(leaf_spaces(env.observation_space), dict):
            raise InputError(
                f"{env.env_id}: observations of several parts (Dict, Tuple) are not handed to stable-baselines3; "
                "flatten them (gymnasium.wrappers.FlattenObservation), or train by ppo"
            )
        self.env = env
        self._actions: torch.Tensor | None = None
        self._returns, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, dtype=np.int64)
        self._dtype = torch.from_numpy(np.zeros(0, env.action_space.dtype)).dtype
        super().__init__(env.num_envs, env.observation_space, env.action_space)

    def reset(self) -> np.ndarray:
        """Start new episodes everywhere, from the seeds that :meth:`seed` was given; ``[N, ...]``.

        Raises:
            InputError: where options were set: no environment here takes any.
        """
        if any(self._options):
            raise InputError(f"{self.env.env_id}: reset options {self._options[0]} were set, expected none")
        obs = self.env.reset(self._seeds[0])
        self._returns[:], self._lengths[:] = 0.0, 0
        self._reset_seeds()
        return obs.cpu().numpy()

    def step_async(self, actions: np.ndarray) -> None:
        """Take ``actions`` ``[N, ...]``; :meth:`step_wait` plays them."""
        self._actions = torch.from_numpy(np.asarray(actions)).to(self.env.device, self._dtype)

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Play one step: observations ``[N, ...]``, rewards and dones ``[N]``, and a dict for each environment.

        Raises:
            InputError: on a row that was not played; Stable-Baselines3 cannot leave it out.
        """
        assert self._actions is not None, "step_wait without step_async"
        step = self.env.step(self._actions)
        self._actions = None
        if not bool(step.valid.all()):
            row = int((~step.valid).nonzero()[0])
            raise InputError(
                f"{self.env.env_id}: environment {row} was not played in this step (valid is False), and "
                "Stable-Baselines3 cannot leave a row out; expected a backend that plays every row in every step"
            )
        reward = step.reward.cpu().numpy()
        terminated, truncated = step.terminated.cpu().numpy(), step.truncated.cpu().numpy()
        dones = terminated | truncated
        self._returns += reward
        self._lengths += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for row in np.flatnonzero(dones).tolist():
            infos[row] = {
                "terminal_observation": step.next_obs[row].cpu().numpy(),
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "episode": {"r": float(self._returns[row]), "l": int(self._lengths[row])},
            }
            self._returns[row], self._lengths[row] = 0.0, 0
        return step.obs.cpu().numpy(), reward, dones, infos

    def get_images(self) -> Sequence[np.ndarray]:
        """One frame ``[H, W, 3]`` per environment; needs ``render_mode="rgb_array"``."""
        return self.env.render()

    def close(self) -> None:
        """Close the batch."""
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of the batch, once for each environment; ``render_mode`` is what it was made with."""
        known = self.env.env_kwargs.get("render_mode") if attr_name == "render_mode" else getattr(self.env, attr_name)
        return [known for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Refused: the environments are one batch, possibly in other processes."""
        raise NotImplementedError(f"{self.env.env_id}: single environments of a batch have no attributes to set")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        """Refused: the environments are one batch, possibly in other processes."""
        raise NotImplementedError(f"{self.env.env_id}: single environments of a batch have no method {method_name!r}")

    def env_is_wrapped(self, wrapper_class: type[Wrapper], indices: Any = None) -> list[bool]:
        """False for every environment: no wrapper is visible from outside."""
        return [False for _ in self._get_indices(indices)]
