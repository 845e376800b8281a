"""PPO: masks, minibatch invariance, value scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest
import torch

from gail.agents.expert import TrueReward
from gail.agents.policy import MLPPolicy
from gail.agents.ppo import PPO, PPOConfig, ValueScale
from gail.agents.rollout import Rollout
from gail.core.random import seeded_initialization
from gail.envs.cartpole import CartPole
from gail.envs.vec import Step

OBS, ACT = gym.spaces.Box(-10.0, 10.0, (3,)), gym.spaces.Discrete(2)


def new_policy() -> MLPPolicy:
    with seeded_initialization(0, "policy"):
        return MLPPolicy(OBS, ACT, hidden=(16,))


def rollout(steps: int = 8, envs: int = 4) -> Rollout:
    generator = torch.Generator().manual_seed(3)
    shape = (steps, envs)
    flat = torch.zeros(shape, dtype=torch.bool)
    samples = torch.randint(2, (*shape, 1), generator=generator)
    return Rollout(
        obs=torch.randn((*shape, 3), generator=generator),
        samples=samples,
        actions=samples[..., 0],
        next_obs=torch.randn((*shape, 3), generator=generator),
        rewards=torch.randn(shape, generator=generator),
        terminated=flat,
        truncated=flat,
        valid=~flat,
        finished_lengths=torch.zeros(shape, dtype=torch.int64),
    )


def train_once(data: Rollout, config: PPOConfig) -> tuple[MLPPolicy, dict[str, float]]:
    policy = new_policy()
    ppo = PPO(policy, config, torch.Generator().manual_seed(0))
    for turn in ppo.turns(data, data.rewards):
        ppo.player.step(turn.batch, turn.rows)
    return policy, ppo.player.read_metrics()


@pytest.mark.parametrize("minibatch_size", [5, 16, 32])
def test_metrics_do_not_depend_on_the_minibatch_size_at_learning_rate_zero(minibatch_size: int) -> None:
    _, part = train_once(rollout(), PPOConfig(epochs=2, minibatch_size=minibatch_size, learning_rate=0.0))
    _, whole = train_once(rollout(), PPOConfig(epochs=1, minibatch_size=10_000, learning_rate=0.0))
    for name in ("loss", "surrogate", "value_loss", "entropy", "kl", "clip_fraction"):
        assert part[f"policy/{name}"] == pytest.approx(whole[f"policy/{name}"], abs=1e-5)
    assert whole["policy/kl"] == pytest.approx(0.0, abs=1e-6)


def test_rows_that_were_not_played_change_nothing() -> None:
    data = rollout()
    valid = data.valid.clone()
    valid[:, 1] = False
    masked = Rollout(**{**vars(data), "valid": valid})
    poison = data.rewards.clone()
    poison[:, 1] = 1e6
    poisoned = Rollout(**{**vars(masked), "rewards": poison})
    config = PPOConfig(epochs=2, minibatch_size=8, learning_rate=1e-2)
    first, _ = train_once(masked, config)
    second, _ = train_once(poisoned, config)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_policy_moves_towards_rewarded_actions() -> None:
    data = rollout(64, 8)
    rewarded = Rollout(**{**vars(data), "rewards": data.actions.float(), "terminated": torch.ones_like(data.valid)})
    policy, _ = train_once(rewarded, PPOConfig(epochs=10, minibatch_size=64, learning_rate=1e-2))
    log_prob, _, _ = policy.evaluate(data.obs.flatten(0, 1), torch.ones(512, dtype=torch.int64))
    # One rollout moves a ratio to about 1 + clip: from 0.5 to 0.6.
    assert float(log_prob.detach().exp().mean()) > 0.57


def test_the_normalizer_moves_only_after_the_rounds_last_turn() -> None:
    policy, data = new_policy(), rollout()
    ppo = PPO(policy, PPOConfig(epochs=1, minibatch_size=8), torch.Generator())
    for _ in ppo.turns(data, data.rewards):
        assert float(policy.normalizer.count) == 0.0
    assert float(policy.normalizer.count) == data.valid.numel()


def test_a_moving_value_scale_keeps_the_unscaled_predictions() -> None:
    torch.manual_seed(0)
    policy = new_policy()
    scale, features = ValueScale(policy), torch.randn(20, 3)
    before = scale.unscale(policy.critic(features))
    for size in (1.0, 50.0, 1000.0):
        scale.update(torch.randn(8, 4) * size + size, torch.ones(8, 4))
        assert torch.allclose(scale.unscale(policy.critic(features)), before, atol=1e-3)
    targets = scale.scale(torch.randn(2000, 1) * 1000 + 1000)
    assert abs(float(targets.mean())) < 1.0 and float(targets.std()) < 3.0


def test_clipped_rewards_teach_by_their_sign_while_returns_stay_true() -> None:
    metrics = {}
    for scale in (1.0, 7.0):
        for clip in (True, False):
            env = CartPole(4, "cpu")
            paid = env.step

            def step(actions: torch.Tensor, paid: Any = paid, scale: float = scale) -> Step:
                result = paid(actions)
                return replace(result, reward=result.reward * scale)

            env.step = step  # type: ignore[method-assign]
            with seeded_initialization(0, "policy"):
                policy = MLPPolicy(env.observation_space, env.action_space, hidden=(8,))
            generators = {name: torch.Generator().manual_seed(0) for name in ("actions", "shuffle")}
            config = PPOConfig(horizon=64, epochs=1, minibatch_size=64)
            game = TrueReward(env, config, policy=policy, seed=0, generators=generators, clip_rewards=clip)
            for turn in game.round():
                game.players["policy"].step(turn.batch, turn.rows)
            metrics[scale, clip] = (game.ppo.scale.mean.item(), game.round_metrics()["return_mean"])
    assert metrics[7.0, True][0] == metrics[1.0, True][0] == metrics[1.0, False][0] < metrics[7.0, False][0]
    assert metrics[7.0, True][1] == pytest.approx(7.0 * metrics[1.0, True][1])


def test_a_rollout_in_which_nobody_played_teaches_nothing_and_stops_nothing() -> None:
    policy = new_policy()
    ppo = PPO(policy, PPOConfig(minibatch_size=16), torch.Generator().manual_seed(0))
    absent = replace(rollout(), valid=torch.zeros(8, 4, dtype=torch.bool))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    for turn in ppo.turns(absent, absent.rewards):
        ppo.player.step(turn.batch, turn.rows)
    assert ppo.player.read_metrics() == {}
    assert all(torch.allclose(before[name], value) for name, value in policy.state_dict().items())
    assert (float(ppo.scale.mean), float(ppo.scale.std)) == (0.0, 1.0)
