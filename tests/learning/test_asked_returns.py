"""A decision transformer trained on data of graded quality gets more where it is asked for more."""

from __future__ import annotations

import json

import numpy as np
import pytest

from gail.agents import RandomPolicy, collect_demos, train_expert
from gail.agents.expert import ExpertConfig, expert_recipe
from gail.demos import Demonstrations, join_demos
from gail.envs import make_vec
from gail.generators import evaluate_targets, fit

pytestmark = pytest.mark.slow

ENV = "Hopper-v5"
EPISODES = 100
"""Of each policy."""


@pytest.fixture(scope="module")
def graded() -> tuple[Demonstrations, list[float]]:
    """Episodes of random play and of five ever better policies, and each of the five's median return."""
    space = make_vec(ENV, 1)
    chance = RandomPolicy(space.observation_space, space.action_space)
    parts = [collect_demos(chance, ENV, episodes=EPISODES, seed=9000)]
    for steps in (100_000, 200_000, 400_000, 800_000, 2_000_000):
        recipe = expert_recipe(ENV)
        config = ExpertConfig(steps=steps, num_envs=recipe.num_envs, ppo=recipe.ppo)
        policy = train_expert(ENV, config=config, seed=1, progress=False).policy
        parts.append(collect_demos(policy, ENV, episodes=EPISODES, deterministic=False))
    medians = [float(np.median([trajectory.rewards.sum() for trajectory in part])) for part in parts[1:]]
    return join_demos(parts), medians


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_achieved_return_rises_with_the_asked_one_on_hopper(
    graded: tuple[Demonstrations, list[float]], seed: int
) -> None:
    demos, targets = graded
    model = fit(
        "transformer", demos, data_kind="returns", actions_only=True, length=2, batch_size=32, steps=8000, width=96,
        layers=2, warmup=50, learning_rate=2e-3, previews=0, progress=False, seed=seed,
    )  # fmt: skip
    result = evaluate_targets(model, targets, episodes=20, temperature=0.5)
    for row in result["rows"]:
        print(json.dumps({"seed": seed, **row}))
    assert result["spearman"] is not None and result["spearman"] >= 0.8
