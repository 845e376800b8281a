"""Any Gymnasium environment, stepped in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec

from gail.envs.chunk import Buffers, EnvChunk, RowFault, make_env
from gail.envs.host import HostVecEnv
from gail.envs.resolve import spec_id


class GymSyncVecEnv(HostVecEnv):
    """``num_envs`` Gymnasium environments stepped one after the other in this process."""

    def __init__(self, spec: EnvSpec, num_envs: int, device: torch.device | str = "cpu", **env_kwargs: Any) -> None:
        """Make the environments.

        Args:
            spec: the registered environment (``gymnasium.spec(env_id)``).
            num_envs: N.
            device: where the tensors of a step live.
            env_kwargs: passed to ``gymnasium.make``, ``max_episode_steps`` and ``render_mode`` included.

        Raises:
            InputError: on a space that is not Box, Discrete or MultiDiscrete.
        """
        envs: list[gym.Env] = [make_env(spec, env_kwargs) for _ in range(num_envs)]
        super().__init__(spec_id(spec), num_envs, device, env_kwargs, envs[0])
        layout = Buffers.layout(num_envs, self.observation_space, self.action_space)
        self._buffers = Buffers.of({name: np.zeros(shape, dtype) for name, (shape, dtype) in layout.items()})
        self._chunk = EnvChunk(envs, self._buffers)

    def _reset_buffers(self, seed: int | None) -> None:
        with self._named(stepping=False):
            self._chunk.reset(seed)

    def _step_buffers(self) -> None:
        with self._named(stepping=True):
            self._chunk.step()

    @contextmanager
    def _named(self, *, stepping: bool) -> Iterator[None]:
        try:
            yield
        except RowFault as fault:
            raise self._fault(fault, range(self.num_envs), stepping=stepping) from fault.__cause__

    def _chunk_states(self) -> list[dict[str, Any]]:
        return [self._chunk.state()]

    def _load_chunks(self, state: dict[str, Any]) -> tuple[list[bool], np.ndarray]:
        with self._named(stepping=False):
            return self._chunk.load(state), self._chunk.current_obs()

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment; needs ``render_mode="rgb_array"``."""
        with self._named(stepping=False):
            return self._chunk.render()

    def close(self) -> None:
        """Close every environment."""
        self._chunk.close()
