"""PPO against numbers computed by hand: actor and critic are single linear layers with known weights."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import pytest
import torch

from gail.agents.policy import MLPPolicy
from gail.agents.ppo import PPO, PPOBatch, PPOConfig, ValueScale
from gail.agents.rollout import Rollout

HALVES = PPOConfig(gamma=0.5, gae_lambda=0.5, epochs=1, minibatch_size=1000)


def known_policy() -> MLPPolicy:
    """Draws 0 with probability 3/4 and 1 with 1/4 everywhere; the value of a state is its observation."""
    policy = MLPPolicy(gym.spaces.Box(-100.0, 100.0, (1,)), gym.spaces.Discrete(2), hidden=())
    with torch.no_grad():
        policy.actor[-1].weight.zero_()
        policy.actor[-1].bias.copy_(torch.tensor([math.log(3.0), 0.0]))
        policy.critic[-1].weight.fill_(1.0)
        policy.critic[-1].bias.zero_()
    return policy


def new_ppo(config: PPOConfig = HALVES) -> PPO:
    return PPO(known_policy(), config, torch.Generator().manual_seed(0))


def matrix(*columns: list[float]) -> torch.Tensor:
    """One list per environment to ``[T, N]``."""
    return torch.tensor(columns, dtype=torch.float32).T.contiguous()


def rollout(
    obs: torch.Tensor,
    next_obs: torch.Tensor,
    rewards: torch.Tensor,
    *,
    terminated: torch.Tensor | None = None,
    truncated: torch.Tensor | None = None,
    valid: torch.Tensor | None = None,
) -> Rollout:
    """Flags are matrices of 0 and 1; the samples alternate."""
    no = torch.zeros_like(rewards)
    samples = torch.arange(rewards.numel()).view(*rewards.shape, 1) % 2
    return Rollout(
        obs=obs[..., None],
        samples=samples,
        actions=samples[..., 0],
        next_obs=next_obs[..., None],
        rewards=rewards,
        terminated=(no if terminated is None else terminated).bool(),
        truncated=(no if truncated is None else truncated).bool(),
        valid=torch.ones_like(no).bool() if valid is None else valid.bool(),
        finished_lengths=no.long(),
    )


def only_batch(ppo: PPO, data: Rollout) -> PPOBatch:
    """The single minibatch of a single epoch, its rows ordered by their observation."""
    (turn,) = ppo.turns(data, data.rewards)
    order = turn.batch.features[:, 0].argsort()
    return PPOBatch(*(getattr(turn.batch, name)[order] for name in PPOBatch.__dataclass_fields__))


# --- the loss on one batch ---------------------------------------------------------------------------------------

BATCH = PPOBatch(
    features=torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0], [6.0], [9.0]]),
    samples=torch.tensor([[0], [0], [1], [1], [0], [0], [1]]),
    # Under the policy now 3/4 (sample 0) and 1/4 (sample 1): ratios 1.5, 1.5, 0.5, 0.5, 1.1, 0.9, and one unplayed row.
    log_prob=torch.tensor([0.5, 0.5, 0.5, 0.5, 0.75 / 1.1, 0.75 / 0.9, 1e-6]).log(),
    advantage=torch.tensor([2.0, -2.0, 2.0, -2.0, 3.0, -3.0, 1e6]),
    target=torch.tensor([0.0, 2.0, 3.0, 6.0, 5.0, 5.0, -1e6]),
    weight=torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
)
# min(3, 2.4), min(-3, -2.4), min(1, 1.6), min(-1, -1.6), 3.3, -2.7
SURROGATE = -(2.4 - 3.0 + 1.0 - 1.6 + 3.3 - 2.7) / 6
# Values are 1..6: squared errors 1, 0, 0, 4, 0, 1.
VALUE_LOSS = 6 / 6
ENTROPY = 0.75 * math.log(4 / 3) + 0.25 * math.log(4)


@pytest.mark.parametrize("value_coef", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("entropy_coef", [0.0, 0.1])
def test_the_loss_is_the_clipped_surrogate_plus_the_value_error_minus_the_entropy(
    value_coef: float, entropy_coef: float
) -> None:
    ppo = new_ppo(PPOConfig(value_coef=value_coef, entropy_coef=entropy_coef, clip=0.2))
    loss, metrics = ppo.loss(BATCH)
    assert float(metrics["surrogate"]) == pytest.approx(SURROGATE, rel=1e-5)
    assert float(metrics["value_loss"]) == pytest.approx(VALUE_LOSS, rel=1e-5)
    assert float(metrics["entropy"]) == pytest.approx(ENTROPY, rel=1e-5)
    expected = SURROGATE + value_coef * VALUE_LOSS - entropy_coef * ENTROPY
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_clipped_and_drifted_rows_are_reported() -> None:
    _, metrics = new_ppo(PPOConfig(clip=0.2)).loss(BATCH)
    assert float(metrics["clip_fraction"]) == pytest.approx(4 / 6)
    # E[r - 1 - log r]; the terms r - 1 cancel over 1.5, 1.5, 0.5, 0.5, 1.1, 0.9.
    kl = -(2 * math.log(1.5) + 2 * math.log(0.5) + math.log(1.1) + math.log(0.9)) / 6
    assert float(metrics["kl"]) == pytest.approx(kl, rel=1e-4)


def test_a_ratio_beyond_the_clip_moves_the_policy_only_where_it_went_the_wrong_way() -> None:
    pushes = []
    for row in range(6):
        ppo = new_ppo(PPOConfig(value_coef=0.0))
        one = PPOBatch(*(getattr(BATCH, name)[row : row + 1] for name in PPOBatch.__dataclass_fields__))
        ppo.loss(one)[0].backward()
        # d log pi(sample) / d bias[sample] = 1 - pi(sample); gradient descent moves against the sign.
        pushes.append(-float(ppo.policy.actor[-1].bias.grad[one.samples[0, 0]]))
    # ratio * advantage * (1 - pi): 1/4 for sample 0, 3/4 for sample 1; 0 where the clipped branch is the smaller.
    assert pushes == pytest.approx([0.0, -3.0 / 4, 1.0 * 3 / 4, 0.0, 3.3 / 4, -2.7 / 4], abs=1e-5)


def test_the_entropy_bonus_makes_the_policy_more_even() -> None:
    ppo = new_ppo(PPOConfig(value_coef=0.0, entropy_coef=1.0))
    ppo.loss(replace(BATCH, advantage=torch.zeros(7)))[0].backward()
    # Descent lowers the logit of the likelier action.
    gradient = ppo.policy.actor[-1].bias.grad
    assert float(gradient[0]) > 0.05 and float(gradient[1]) < -0.05


# --- from a rollout to the batch ---------------------------------------------------------------------------------


def test_a_truncated_row_bootstraps_from_its_true_successor_and_not_from_the_next_rows_state() -> None:
    ppo = new_ppo()
    data = rollout(
        obs=matrix([1, 2, 10, 4]),
        next_obs=matrix([3, 6, 5, 8]),
        rewards=matrix([1, 1, 1, 1]),
        truncated=matrix([0, 1, 0, 0]),
    )
    batch = only_batch(ppo, data)
    # deltas r + V(s') / 2 - V(s): 1.5, 2, -6.5, 1;  advantages 1.5 + 2/4, 2 (cut), -6.5 + 1/4, 1
    gae = torch.tensor([2.0, 2.0, 1.0, -6.25])  # in the order of obs 1, 2, 4, 10
    returns = gae + torch.tensor([1.0, 2.0, 4.0, 10.0])
    assert torch.allclose(ppo.scale.unscale(batch.target), returns, atol=1e-5)
    # Mean -0.3125; squared deviations 2 * 5.34765625 + 1.72265625 + 35.25390625, over 4.
    std = math.sqrt((2 * 5.34765625 + 1.72265625 + 35.25390625) / 4)
    assert torch.allclose(batch.advantage, (gae + 0.3125) / std, atol=1e-5)


def test_a_terminated_row_has_no_future() -> None:
    ppo = new_ppo()
    data = rollout(
        obs=matrix([1, 2, 4]), next_obs=matrix([2, 9, 5]), rewards=matrix([1, 3, 2]), terminated=matrix([0, 1, 0])
    )
    # deltas 1 + 1 - 1 = 1, 3 - 2 = 1, 2 + 2.5 - 4 = 0.5;  advantages 1.25, 1, 0.5
    assert ppo.scale.unscale(only_batch(ppo, data).target).tolist() == pytest.approx([2.25, 3.0, 4.5], abs=1e-5)


def test_no_advantage_is_carried_over_a_row_that_was_not_played() -> None:
    ppo = new_ppo()
    # The middle row says nothing by itself: 0 + 8 / 2 - 4 = 0. What follows it is another story.
    data = rollout(
        obs=matrix([1, 4, 2]), next_obs=matrix([2, 8, 2]), rewards=matrix([1, 0, 1000]), valid=matrix([1, 0, 1])
    )
    returns = ppo.scale.unscale(only_batch(ppo, data).target).tolist()
    # delta0 = 1 + 1 - 1, so the first return is 2; the last one 999 + 2.
    assert returns[:2] == pytest.approx([2.0, 1001.0], abs=1e-3)


@pytest.mark.parametrize("reward", [0.0, 1000.0])
def test_no_advantage_is_taken_from_a_row_that_was_not_played(reward: float) -> None:
    ppo = new_ppo()
    (turn,) = ppo.turns(
        rollout(
            matrix([1.0, 4.0, 2.0]), matrix([2.0, 8.0, 2.0]), matrix([1.0, reward, 1.0]), valid=matrix([1.0, 0.0, 1.0])
        ),
        matrix([1.0, reward, 1.0]),
    )
    first = turn.batch.features[:, 0].argmin()
    # 1 + 0.5 * V(2) = 2, whatever stands in the row after it.
    assert float(ppo.scale.unscale(turn.batch.target[first])) == pytest.approx(2.0, abs=1e-4)


def test_the_batch_holds_the_log_probabilities_of_the_policy_that_acted() -> None:
    data = rollout(obs=matrix([1, 2, 3]), next_obs=matrix([2, 3, 4]), rewards=matrix([0, 0, 0]))
    batch = only_batch(new_ppo(), data)
    assert batch.samples[:, 0].tolist() == [0, 1, 0]
    assert batch.log_prob.exp().tolist() == pytest.approx([0.75, 0.25, 0.75])
    assert batch.features[:, 0].tolist() == [1.0, 2.0, 3.0]


def test_every_epoch_visits_every_row_once() -> None:
    data = rollout(obs=matrix([1, 2, 3, 4, 5]), next_obs=matrix([2, 3, 4, 5, 6]), rewards=matrix([0, 0, 0, 0, 0]))
    turns = list(new_ppo(PPOConfig(epochs=2, minibatch_size=2)).turns(data, data.rewards))
    rows = [turn.batch.features[:, 0].tolist() for turn in turns]
    assert [len(row) for row in rows] == [2, 2, 1, 2, 2, 1]
    for epoch in (rows[:3], rows[3:]):
        assert sorted(row for part in epoch for row in part) == [1.0, 2.0, 3.0, 4.0, 5.0]


# --- rows that were not played -----------------------------------------------------------------------------------

VALID = matrix([1, 1, 0, 1, 1, 0, 1], [0, 1, 1, 1, 0, 1, 1], [1, 0, 1, 1, 1, 1, 1])
TERMINATED = matrix([0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0])
TRUNCATED = matrix([0, 0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 0, 0, 0, 0])


def after_a_round(poison: float | None) -> tuple[PPO, dict[str, float]]:
    """A trained learner; rows that were not played (each after an end) hold ``poison``."""
    numbers = torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(5))
    if poison is not None:
        numbers = torch.where(VALID.bool(), numbers, torch.full_like(numbers, poison))
    data = rollout(*numbers, terminated=TERMINATED, truncated=TRUNCATED, valid=VALID)
    ppo = new_ppo(PPOConfig(epochs=2, minibatch_size=4, learning_rate=1e-2, entropy_coef=0.01))
    for turn in ppo.turns(data, data.rewards):
        ppo.player.step(turn.batch, turn.rows)
    return ppo, ppo.player.read_metrics()


@pytest.mark.parametrize("poison", [-50.0, 1e6])
def test_what_stands_in_rows_that_were_not_played_changes_nothing(poison: float) -> None:
    (clean, metrics), (poisoned, poisoned_metrics) = after_a_round(None), after_a_round(poison)
    assert metrics == poisoned_metrics
    expected, found = clean.policy.state_dict(), poisoned.policy.state_dict()
    assert any("normalizer" in name for name in expected)
    for name in expected:
        assert torch.equal(expected[name], found[name]), name
    for name, value in clean.scale.state_dict().items():
        assert torch.equal(value, poisoned.scale.state_dict()[name]), name


def test_the_normalizer_ends_with_the_moments_of_the_played_observations() -> None:
    ppo = new_ppo()
    data = rollout(
        obs=matrix([1, 50, 5]), next_obs=matrix([9, 9, 9]), rewards=matrix([0, 0, 0]), valid=matrix([1, 0, 1])
    )
    list(ppo.turns(data, data.rewards))
    normalizer = ppo.policy.normalizer
    # 1 and 5: mean 3, standard deviation 2.
    assert (float(normalizer.count), float(normalizer.mean), float(normalizer.inverse_std)) == (2.0, 3.0, 0.5)


# --- the value scale ---------------------------------------------------------------------------------------------


def test_the_first_update_takes_the_exact_moments_of_the_played_returns() -> None:
    scale = ValueScale(known_policy())
    scale.update(matrix([0, 8, 1000]), matrix([1, 1, 0]))
    # 0 and 8: mean 4, second moment 32, variance 32 - 16.
    assert (float(scale.mean), float(scale.std)) == pytest.approx((4.0, 4.0), rel=1e-6)
    assert scale.scale(torch.tensor([0.0, 4.0, 12.0])).tolist() == pytest.approx([-1.0, 0.0, 2.0], rel=1e-6)
    assert scale.unscale(torch.tensor([-1.0, 0.0, 2.0])).tolist() == pytest.approx([0.0, 4.0, 12.0], abs=1e-5)


def test_the_second_update_moves_a_fifth_of_the_way_and_is_unbiased() -> None:
    scale = ValueScale(known_policy())
    scale.update(matrix([0, 8]), matrix([1, 1]))
    scale.update(matrix([10, 10]), matrix([1, 1]))
    # Weights 0.8 * 0.2 and 0.2, that is 4/9 and 5/9: mean 66/9, second moment (4 * 32 + 5 * 100) / 9, variance 16.
    assert (float(scale.mean), float(scale.std)) == pytest.approx((66 / 9, 4.0), rel=1e-5)


def test_rewriting_the_critics_layer_keeps_every_value() -> None:
    policy = known_policy()
    scale = ValueScale(policy)
    scale.update(matrix([0, 8]), matrix([1, 1]))
    # The value was the observation; the layer now says (obs - 4) / 4.
    assert float(policy.critic[-1].weight.detach()) == pytest.approx(0.25)
    assert float(policy.critic[-1].bias.detach()) == pytest.approx(-1.0)
    assert float(scale.unscale(policy.critic(torch.tensor([[7.0]]))).detach()) == pytest.approx(7.0)
