"""Demonstrations from a policy: every episode with a seed of its own, so that it can be played again."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gail.agents.evaluate import MAX_EPISODE_STEPS, check_spaces, no_end
from gail.agents.policy import Policy, state_after
from gail.core.leaves import Leaves, join_leaves, map_leaves
from gail.core.progress import ProgressBar
from gail.core.random import make_generator
from gail.demos.frames import keep_once
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import EnvLike, VecEnv, env_text, open_vec, resolve_env
from gail.envs.agent_group import GroupVecEnv
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
    """Play ``episodes`` episodes and record them; of several agents, one trajectory per life of each.

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
    width = env_id.num_envs // env_id.rows_per_env if isinstance(env_id, VecEnv) else _width(env_id, kwargs)
    with ProgressBar(f"recording {name}", episodes, unit="episodes", enabled=progress) as bar:
        for first in range(0, episodes, width):
            count = min(width, episodes - first)
            trajectories += _play(policy, env_id, count, kwargs, deterministic, seed + first)
            bar.update(first + count)
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
        agents = [str(agent) for agent in env.agents] if isinstance(env, GroupVecEnv) else [None]
        width = env.rows_per_env
        tapes = [_Tape(seed + i // width, agents[i % width]) for i in range(count * width)]
        steps = 0
        while not all(tape.episode_over for tape in tapes):
            if steps >= MAX_EPISODE_STEPS:
                raise no_end(env)
            seen = map_leaves(_host, obs)
            output = policy.act(obs, state, deterministic=deterministic, generator=generator)
            step = env.step(output.action)
            obs, state, steps = step.obs, state_after(policy, output, step), steps + 1
            columns = (output.action, step.next_obs, step.reward, step.terminated, step.truncated)
            rows = [map_leaves(_host, column) for column in columns]
            valid = step.valid.cpu().numpy()
            over = step.info.get("episode_over", step.terminated | step.truncated).cpu().numpy()
            for i, tape in enumerate(tapes):
                if not tape.episode_over:
                    if valid[i]:
                        tape.add(_row(seen, i), *(_row(column, i) for column in rows))
                    tape.episode_over = bool(over[i])
    return [trajectory for tape in tapes for trajectory in tape.trajectories]


def _host(tensor: Tensor) -> np.ndarray:
    return tensor.cpu().numpy()


def _row(rows: Leaves, index: int) -> Leaves:
    """A copy of one row."""
    return map_leaves(lambda leaf: leaf[index].copy(), rows)


class _Tape:
    """One row's episode while it is recorded: one trajectory, or one per life of an agent.

    Stacked frames are kept once when a trajectory has ended.
    """

    def __init__(self, seed: int, agent: str | None) -> None:
        self.seed, self.agent = seed, agent
        self.observations, self.actions, self.rewards = list[Leaves](), list[np.ndarray](), list[np.ndarray]()
        self.trajectories: list[Trajectory] = []
        self.episode_over = False

    def add(
        self,
        obs: Leaves,
        action: np.ndarray,
        successor: Leaves,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
    ) -> None:
        if not self.observations:
            self.observations.append(obs)
        self.observations.append(successor)
        self.actions.append(action)
        self.rewards.append(reward)
        if terminated or truncated:
            self.trajectories.append(
                Trajectory(
                    observations=join_leaves(lambda rows: keep_once(np.stack(rows)), self.observations),
                    actions=np.stack(self.actions),
                    rewards=np.stack(self.rewards),
                    terminated=bool(terminated),
                    truncated=bool(truncated and not terminated),
                    seed=self.seed,
                    agent=self.agent,
                )
            )
            for rows in (self.observations, self.actions, self.rewards):
                rows.clear()
