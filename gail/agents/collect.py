"""Demonstrations from a policy: every episode with a seed of its own, so that it can be played again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gail.agents.evaluate import MAX_EPISODE_STEPS, check_spaces, no_end
from gail.agents.policy import Policy
from gail.core.progress import ProgressBar
from gail.core.random import make_generator
from gail.demos.frames import keep_once
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import EnvLike, VecEnv, env_text, open_vec, resolve_env
from gail.envs.spaces import is_image

_WIDTH = 25
"""Episodes played together."""
_WIDTH_OF_IMAGES = 4
"""The same where observations are images, whose running episodes are held in memory."""


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
    width = env_id.num_envs if isinstance(env_id, VecEnv) else _width(env_id, kwargs)
    with ProgressBar(f"recording {name}", episodes, unit="episodes", enabled=progress) as bar:
        for first in range(0, episodes, width):
            count = min(width, episodes - first)
            trajectories += _play(policy, env_id, count, kwargs, deterministic, seed + first)
            bar.update(len(trajectories))
    return Demonstrations(tuple(trajectories), env_id=name, env_kwargs=kwargs, source=source)


def _width(env_id: EnvLike, kwargs: dict[str, Any]) -> int:
    with open_vec(env_id, 1, **kwargs) as env:
        return _WIDTH_OF_IMAGES if is_image(env.observation_space) else _WIDTH


def _play(
    policy: Policy, env_id: EnvLike, count: int, kwargs: dict[str, Any], deterministic: bool, seed: int
) -> list[Trajectory]:
    """One episode in each of ``count`` environments."""
    with open_vec(env_id, count, **kwargs) as env:
        check_spaces(policy, env)
        generator = make_generator(seed, "collection", env.device)
        obs, state = env.reset(seed), policy.initial_state(env.num_envs)
        tapes = [_Tape(first) for first in obs.cpu().numpy()[:count]]
        steps = 0
        while any(tape.trajectory is None for tape in tapes):
            if steps >= MAX_EPISODE_STEPS:
                raise no_end(env)
            output = policy.act(obs, state, deterministic=deterministic, generator=generator)
            step = env.step(output.action)
            obs, state, steps = step.obs, output.state, steps + 1
            columns = (output.action, step.next_obs, step.reward, step.terminated, step.truncated)
            rows = [column.cpu().numpy() for column in columns]
            for i, tape in enumerate(tapes):
                if tape.trajectory is None:
                    tape.add(*(column[i] for column in rows), seed=seed + i)
    return [tape.trajectory for tape in tapes if tape.trajectory is not None]


class _Tape:
    """One episode while it is recorded; stacked frames are kept once when it has ended."""

    def __init__(self, first: np.ndarray) -> None:
        self.observations, self.actions, self.rewards = [first.copy()], list[np.ndarray](), list[np.ndarray]()
        self.trajectory: Trajectory | None = None

    def add(
        self,
        action: np.ndarray,
        successor: np.ndarray,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        *,
        seed: int,
    ) -> None:
        self.observations.append(successor.copy())
        self.actions.append(action.copy())
        self.rewards.append(reward.copy())
        if terminated or truncated:
            self.trajectory = Trajectory(
                observations=keep_once(np.stack(self.observations)),
                actions=np.stack(self.actions),
                rewards=np.stack(self.rewards),
                terminated=bool(terminated),
                truncated=bool(truncated and not terminated),
                seed=seed,
            )
            self.observations.clear()
