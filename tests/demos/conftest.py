"""Small demonstrations made on the spot: random play in Gymnasium's own environments."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import pytest

from gail.demos import Demonstrations, Trajectory

Play = Callable[..., Demonstrations]


def play_randomly(env_id: str, episodes: int = 3, max_steps: int = 60, seed: int = 0) -> Demonstrations:
    env = gym.make(env_id)
    env.action_space.seed(seed)
    trajectories = []
    for episode in range(episodes):
        observations, actions, rewards = [env.reset(seed=seed + episode)[0]], [], []
        terminated = truncated = False
        while not (terminated or truncated):
            action = env.action_space.sample()
            obs, reward, terminated, truncated, _ = env.step(action)
            truncated = truncated or len(actions) + 1 == max_steps
            observations.append(obs)
            actions.append(action)
            rewards.append(reward)
        trajectories.append(
            Trajectory(
                np.asarray(observations, dtype=np.float32),
                np.asarray(actions),
                np.asarray(rewards, dtype=np.float32),
                bool(terminated),
                bool(truncated and not terminated),
                seed + episode,
            )
        )
    env.close()
    return Demonstrations(tuple(trajectories), env_id=env_id, source="random play")


@pytest.fixture(scope="session")
def play() -> Play:
    return play_randomly


def same(left: Demonstrations, right: Demonstrations) -> bool:
    """Whether two sets hold the same episodes, bit for bit and dtype for dtype."""
    return len(left) == len(right) and all(
        a.observations.dtype == b.observations.dtype
        and a.actions.dtype == b.actions.dtype
        and np.array_equal(a.observations, b.observations)
        and np.array_equal(a.actions, b.actions)
        and (a.rewards is None) == (b.rewards is None)
        and (a.rewards is None or np.array_equal(a.rewards, b.rewards))
        and (a.terminated, a.truncated, a.seed) == (b.terminated, b.truncated, b.seed)
        for a, b in zip(left, right, strict=True)
    )


@pytest.fixture(scope="session")
def same_episodes() -> Callable[[Demonstrations, Demonstrations], bool]:
    return same
