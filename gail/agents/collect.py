"""Demonstrations from a policy: every episode with a seed of its own, so that it can be played again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gail.agents.evaluate import MAX_EPISODE_STEPS, check_spaces, no_end
from gail.agents.policy import Policy
from gail.core.progress import ProgressBar
from gail.core.random import make_generator
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import EnvLike, VecEnv, env_text, open_vec, resolve_env

_WIDTH = 25
"""Episodes played together."""


@torch.no_grad()
def collect_demos(
    policy: Policy,
    env_id: EnvLike,
    *,
    episodes: int,
    env_kwargs: dict[str, Any] | None = None,
    deterministic: bool = True,
    seed: int = 1000,
    source: str = "",
    progress: bool = False,
) -> Demonstrations:
    """Play ``episodes`` episodes and record them.

    Args:
        policy: who plays.
        env_id: what is played: whatever :func:`gail.make_vec` takes.
        episodes: how many.
        env_kwargs: keyword arguments of the environment.
        deterministic: the most probable actions instead of sampled ones.
        seed: episode i is reset with ``seed + i``.
        source: who the policy is, in words; stands in the file.
        progress: show a progress bar.

    Raises:
        InputError: where the policy's spaces are not the environment's.
    """
    env_id, kwargs = resolve_env(env_id, env_kwargs)
    trajectories: list[Trajectory] = []
    name = env_text(env_id)
    width = env_id.num_envs if isinstance(env_id, VecEnv) else _WIDTH
    with ProgressBar(f"recording {name}", episodes, unit="episodes", enabled=progress) as bar:
        for first in range(0, episodes, width):
            count = min(width, episodes - first)
            trajectories += _play(policy, env_id, count, kwargs, deterministic, seed + first)
            bar.update(len(trajectories))
    return Demonstrations(tuple(trajectories), env_id=name, env_kwargs=kwargs, source=source)


def _play(
    policy: Policy, env_id: EnvLike, count: int, kwargs: dict[str, Any], deterministic: bool, seed: int
) -> list[Trajectory]:
    """One episode in each of ``count`` environments."""
    with open_vec(env_id, count, **kwargs) as env:
        check_spaces(policy, env)
        generator = make_generator(seed, "collection", env.device)
        obs, state = env.reset(seed), policy.initial_state(env.num_envs)
        rows: list[tuple[np.ndarray, ...]] = []
        first_obs = obs.cpu().numpy().copy()
        lengths, ends = np.zeros(env.num_envs, dtype=np.int64), np.zeros((env.num_envs, 2), dtype=bool)
        while (lengths[:count] == 0).any():
            if len(rows) >= MAX_EPISODE_STEPS:
                raise no_end(env)
            output = policy.act(obs, state, deterministic=deterministic, generator=generator)
            step = env.step(output.action)
            obs, state = step.obs, output.state
            columns = (output.action, step.next_obs, step.reward, step.terminated, step.truncated)
            rows.append(tuple(column.cpu().numpy().copy() for column in columns))
            terminated, truncated = rows[-1][3], rows[-1][4]
            for i in np.flatnonzero((terminated | truncated) & (lengths == 0)):
                lengths[i], ends[i] = len(rows), (terminated[i], truncated[i] and not terminated[i])
    actions, successors, rewards = (np.stack([row[k] for row in rows], axis=1) for k in range(3))
    return [
        Trajectory(
            observations=np.concatenate([first_obs[i : i + 1], successors[i, : lengths[i]]]),
            actions=actions[i, : lengths[i]],
            rewards=rewards[i, : lengths[i]],
            terminated=bool(ends[i, 0]),
            truncated=bool(ends[i, 1]),
            seed=seed + i,
        )
        for i in range(count)
    ]
