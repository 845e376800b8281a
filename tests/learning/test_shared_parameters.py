"""One policy for all agents of simple_spread learns to do better than random play."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gail.agents.expert import expert_recipe, train_expert

SPREAD = "mpe2.simple_spread_v3"


@pytest.mark.slow
def test_a_shared_policy_learns_to_spread() -> None:
    config = replace(expert_recipe(SPREAD), steps=200_000)
    summary = train_expert(SPREAD, config=config, seed=0, progress=False).summary
    assert summary["random_return"] < -22.0
    assert summary["return_interval"][0] > summary["random_return"] + 2.0
