"""Does it learn? Both ends: GAIL imitates an expert, and cannot without one. Quick enough for every run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gail.agents.collect import collect_demos
from gail.agents.evaluate import evaluate_in
from gail.agents.expert import expert_recipe, train_expert
from gail.agents.policy import RandomPolicy
from gail.core.statistics import normalized
from gail.demos import Demonstrations, bundled_demos, load_demos
from gail.envs import make_vec
from gail.imitation import imitate, recipe

FIXED = "CartPoleFixedHorizon-v0"


@pytest.fixture(scope="module")
def expert() -> Demonstrations:
    return load_demos(bundled_demos("CartPole-v1"))


def score(env_id: str, demos: Demonstrations, **overrides: object) -> float:
    result = imitate(env_id, demos, demo_episodes=4, seed=0, evaluation_episodes=20, progress=False, **overrides)
    return float(result.summary["normalized_return"])


def test_gail_learns_cartpole_from_four_trajectories(expert: Demonstrations) -> None:
    assert score("CartPole-v1", expert) >= 0.99


def test_gail_learns_where_surviving_earns_nothing(expert: Demonstrations) -> None:
    """On the fixed-horizon CartPole no reward of one sign can help: what is learned is imitation."""
    assert score(FIXED, replace(expert, env_id=FIXED)) >= 0.9


def test_a_frozen_discriminator_teaches_nothing(expert: Demonstrations) -> None:
    config = recipe(FIXED)
    frozen = replace(config.gail, discriminator=replace(config.gail.discriminator, updates_per_round=0))
    assert score(FIXED, replace(expert, env_id=FIXED), gail=frozen) <= 0.15


@pytest.mark.parametrize("seed", [0, 1])
def test_a_random_policys_demonstrations_teach_nothing(expert: Demonstrations, seed: int) -> None:
    """Played with sampled actions: the most probable action of a policy that imitates chance is itself chance."""
    env = make_vec(FIXED, 1)
    noise = collect_demos(RandomPolicy(env.observation_space, env.action_space), FIXED, episodes=4, seed=seed)
    result = imitate(FIXED, noise, seed=seed, steps=200_000, evaluation_episodes=1, progress=False)
    returns = evaluate_in(result.policy, FIXED, {}, episodes=50, deterministic=False).returns
    assert expert.returns is not None
    assert normalized(float(returns.mean()), result.summary["random_return"], float(expert.returns.mean())) <= 0.15


def test_ppo_solves_cartpole_on_the_true_reward() -> None:
    config = replace(expert_recipe("CartPole-v1"), evaluation_episodes=20)
    assert train_expert("CartPole-v1", config=config, seed=0, progress=False).summary["return_mean"] == 500.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_dqn_solves_cartpole_within_100_000_steps(seed: int) -> None:
    config = expert_recipe("CartPole-v1", "dqn")
    assert config.steps <= 100_000 and config.evaluation_episodes == 50
    assert train_expert("CartPole-v1", config=config, seed=seed, progress=False).summary["return_mean"] >= 475.0


def test_the_nonsense_check_is_reported(expert: Demonstrations) -> None:
    result = imitate(
        FIXED,
        replace(expert, env_id=FIXED),
        seed=0,
        steps=8192,
        evaluation_episodes=2,
        nonsense_check=True,
        progress=False,
    )
    assert set(result.summary["nonsense_check"]) == {"return_mean", "normalized_return"}
