"""A decision transformer trained on data of graded quality gets more where it is asked for more."""

from __future__ import annotations

import json

import pytest

from gail.agents import RandomPolicy, collect_demos, train_expert
from gail.agents.expert import ExpertConfig, expert_recipe
from gail.demos import join_demos
from gail.envs import make_vec
from gail.generators import evaluate_targets, fit

pytestmark = pytest.mark.slow

ENV = "Hopper-v5"


def test_the_achieved_return_rises_with_the_asked_one_on_hopper() -> None:
    space = make_vec(ENV, 1)
    parts = [collect_demos(RandomPolicy(space.observation_space, space.action_space), ENV, episodes=25, seed=9000)]
    for steps in (100_000, 200_000, 400_000, 800_000, 2_000_000):
        recipe = expert_recipe(ENV)
        config = ExpertConfig(steps=steps, num_envs=recipe.num_envs, ppo=recipe.ppo)
        policy = train_expert(ENV, config=config, seed=1, progress=False).policy
        parts.append(collect_demos(policy, ENV, episodes=25, deterministic=False))
    demos = join_demos(parts)
    model = fit(
        "transformer", demos, data_kind="returns", length=3, batch_size=32, steps=7000, width=96, layers=2, warmup=50,
        learning_rate=2e-3, previews=0, progress=False,
    )  # fmt: skip
    result = evaluate_targets(model, [400, 900, 1600, 2400, 3200], episodes=10)
    for row in result["rows"]:
        print(json.dumps(row))
    assert result["spearman"] is not None and result["spearman"] >= 0.8
