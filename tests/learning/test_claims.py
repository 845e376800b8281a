"""The learning claims of the README on third-party demonstrations: an hour and a half; `scripts/test --slow`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gail.agents.collect import collect_demos
from gail.agents.policy import RandomPolicy
from gail.demos import Demonstrations, load_demos
from gail.envs import make_vec
from gail.imitation import ImitationConfig, ImitationResult, imitate, recipe

pytestmark = pytest.mark.slow
SEEDS = (0, 1, 2)
LIMITS = {"CartPole-v1": 200_000, "Acrobot-v1": 200_000, "Pendulum-v1": 300_000, "Hopper-v5": 1_500_000}


def demonstrations(data: Path, env_id: str) -> Demonstrations:
    return load_demos(data / "demos" / f"{env_id}.npz")


def run(env_id: str, demos: Demonstrations, config: ImitationConfig) -> ImitationResult:
    return imitate(env_id, demos, config=config, demo_episodes=4, seed=SEEDS, progress=False)


def frozen(config: ImitationConfig) -> ImitationConfig:
    judge = replace(config.gail.discriminator, updates_per_round=0)
    return replace(config, gail=replace(config.gail, discriminator=judge))


def scores_against(result: ImitationResult, expert: Demonstrations) -> list[float]:
    """Scores on the real expert's scale, whatever the run learned from."""
    returns = expert.returns
    assert returns is not None
    random = result.seeds[0].summary["random_return"]
    return [(s.summary["return_mean"] - random) / (returns.mean() - random) for s in result.seeds]


@pytest.mark.parametrize(
    ("env_id", "bar"), [("CartPole-v1", 0.99), ("Acrobot-v1", 0.99), ("Pendulum-v1", 0.95), ("Hopper-v5", 0.95)]
)
def test_gail_reaches_the_expert(third_party_data: Path, env_id: str, bar: float) -> None:
    config = recipe(env_id)
    assert config.steps <= LIMITS[env_id]
    result = run(env_id, demonstrations(third_party_data, env_id), config)
    assert result.summary["normalized_return"] >= bar


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Hopper-v5"])
def test_gail_beats_cloning_on_one_pair_in_twenty(third_party_data: Path, env_id: str) -> None:
    demos, config = demonstrations(third_party_data, env_id), replace(recipe(env_id), subsample=20)
    gail = run(env_id, demos, config)
    cloned = run(env_id, demos, replace(config, algo="bc"))
    assert gail.summary["normalized_return"] >= 0.9
    assert gail.summary["return_mean"] > cloned.summary["return_interval"][1]


@pytest.mark.parametrize(("env_id", "bar"), [("Pendulum-v1", 0.15), ("Hopper-v5", 0.35)])
@pytest.mark.parametrize("control", ["random policy", "frozen discriminator"])
def test_negative_controls_stay_low(third_party_data: Path, env_id: str, bar: float, control: str) -> None:
    expert, config = demonstrations(third_party_data, env_id), recipe(env_id)
    if control == "frozen discriminator":
        result = run(env_id, expert, frozen(config))
    else:
        env = make_vec(env_id, 1)
        noise = collect_demos(RandomPolicy(env.observation_space, env.action_space), env_id, episodes=4)
        env.close()
        result = run(env_id, noise, config)
    scores = scores_against(result, expert)
    assert sum(scores) / len(scores) <= bar
