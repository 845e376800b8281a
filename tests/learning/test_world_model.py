"""A policy that was trained in a learned model alone plays the real environment."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gail.agents import RandomPolicy, collect_demos, evaluate_policy, random_return, train_expert
from gail.agents.expert import ExpertConfig, expert_recipe
from gail.agents.ppo import PPOConfig
from gail.core.statistics import normalized
from gail.demos import Demonstrations, join_demos, load_demos
from gail.envs import make_vec
from gail.generators import World, fit

pytestmark = pytest.mark.slow

ENV = "Pendulum-v1"
IN_THE_WORLD = ExpertConfig(
    steps=100_000,
    num_envs=64,
    ppo=PPOConfig(horizon=50, learning_rate=1e-3, gamma=0.9, minibatch_size=320),
)


@pytest.fixture(scope="module")
def recorded() -> Demonstrations:
    """Twenty episodes of random play and ten of each of three policies after ever longer training."""
    space = make_vec(ENV, 1)
    parts = [collect_demos(RandomPolicy(space.observation_space, space.action_space), ENV, episodes=20, seed=9000)]
    for steps in (15_000, 40_000, 300_000):
        recipe = expert_recipe(ENV)
        config = ExpertConfig(steps=steps, num_envs=recipe.num_envs, ppo=recipe.ppo)
        policy = train_expert(ENV, config=config, seed=5, progress=False).policy
        parts.append(collect_demos(policy, ENV, episodes=10, deterministic=False, seed=5000))
    return join_demos(parts)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_policy_trained_only_in_the_model_gets_half_of_what_the_expert_gains(
    seed: int, recorded: Demonstrations, third_party_data: Path
) -> None:
    model = fit(
        "mdrnn", recorded, data_kind="segments", length=16, batch_size=128, steps=1200, learning_rate=3e-3,
        lowest_log_std=-3.0, seed=seed, previews=0, progress=False,
    )  # fmt: skip
    world = World(IN_THE_WORLD.num_envs, run=model)
    policy = train_expert(world, config=IN_THE_WORLD, seed=seed, progress=False).policy
    played = evaluate_policy(policy, make_vec(ENV, 50), episodes=100).returns.mean()
    expert = load_demos(third_party_data / "demos" / f"{ENV}.npz").returns
    assert expert is not None
    score = normalized(float(played), random_return(ENV, {}).interval.mean, float(np.mean(expert)))
    print(json.dumps({"seed": seed, "return": float(played), "normalized": round(score, 3)}))
    assert score >= 0.5
