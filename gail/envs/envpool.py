"""EnvPool's C++ environments behind the contract; only where ``backend="envpool"`` asks for them.

EnvPool plays its own translations of Gymnasium's environments, with random streams of its own: close to the
originals, not bit-equal. It reports the first observation of an episode one step late (NEXT_STEP), so a row that
ended is followed by one with ``valid`` False.
"""

from __future__ import annotations

import secrets
from typing import Any, Literal

import envpool
import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.envs.gym_vector import WrappedVectorEnv

_NO_LIMIT = 2**31 - 1


class EnvPoolVecEnv(WrappedVectorEnv):
    """``num_envs`` environments of one EnvPool task; its running episodes cannot be saved."""

    def __init__(
        self,
        env_id: str,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        max_episode_steps: int | Literal["spec"] | None = "spec",
        **env_kwargs: Any,
    ) -> None:
        """Make the pool.

        Args:
            env_id: one of ``envpool.list_all_envs()``.
            num_envs: N.
            device: where the tensors of a step live.
            max_episode_steps: the time limit; "spec" is EnvPool's own, None is no limit.
            env_kwargs: EnvPool's configuration of the task, ``num_threads`` included.

        Raises:
            InputError: on an id or a keyword that EnvPool does not know, or an unsupported space.
        """
        if env_id not in envpool.list_all_envs():
            raise InputError(f"{env_id} has no backend 'envpool'; envpool.list_all_envs() shows what does")
        limit = {} if max_episode_steps == "spec" else {"max_episode_steps": max_episode_steps or _NO_LIMIT}
        self._config = {**env_kwargs, **limit, "num_envs": num_envs}
        try:
            pool = envpool.make_gymnasium(env_id, **self._config, seed=secrets.randbits(31))
        except TypeError as error:
            raise InputError(f"{env_id}: EnvPool: {error}") from error
        steps = pool.config["max_episode_steps"]
        given = (
            {**env_kwargs} if max_episode_steps == "spec" else {**env_kwargs, "max_episode_steps": max_episode_steps}
        )
        super().__init__(
            pool, device, env_id=env_id, env_kwargs=given, max_episode_steps=None if steps == _NO_LIMIT else steps
        )

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; with a seed in a new pool, because EnvPool is seeded when it is made."""
        if seed is not None:
            self.env.close()
            self.env = envpool.make_gymnasium(self.env_id, **self._config, seed=int(seed))
        return super().reset()
