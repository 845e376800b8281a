"""The discriminator's inputs and the rewards made from its logits."""

from __future__ import annotations

import math
from dataclasses import replace

import gymnasium as gym
import pytest
import torch

from gail.demos.types import Transitions
from gail.imitation.discriminator import Discriminator
from gail.imitation.rewards import airl_reward, gail_reward, negative_reward

OBS = gym.spaces.Box(-5.0, 5.0, (2,))


def batch(rewards: torch.Tensor | None = None) -> Transitions:
    return Transitions(
        torch.randn(6, 2, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0, 1, 2, 0, 1, 2]),
        torch.randn(6, 2, generator=torch.Generator().manual_seed(1)),
        torch.tensor([False] * 5 + [True]),
        rewards,
    )


def test_rewards_are_what_their_formulas_say() -> None:
    probability = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    logits = torch.log(probability / (1 - probability))
    assert torch.allclose(airl_reward(logits), torch.log(probability) - torch.log(1 - probability))
    assert torch.allclose(gail_reward(logits), -torch.log(1 - probability))
    assert torch.allclose(negative_reward(logits), torch.log(probability))
    assert float(airl_reward(torch.zeros(()))) == 0.0
    assert float(gail_reward(torch.zeros(()))) == pytest.approx(math.log(2.0))


def test_true_rewards_are_never_looked_at() -> None:
    network = Discriminator(OBS, gym.spaces.Discrete(3), use_next_obs=True)
    assert torch.equal(network.features(batch()), network.features(batch(torch.randn(6) * 1e6)))


def test_the_successor_counts_only_where_it_is_asked_for_and_not_at_the_end() -> None:
    plain = Discriminator(OBS, gym.spaces.Discrete(3))
    seeing = Discriminator(OBS, gym.spaces.Discrete(3), use_next_obs=True)
    moved = replace(batch(), next_obs=batch().next_obs + 1.0)
    assert torch.equal(plain.features(batch()), plain.features(moved))
    changed = (seeing.features(batch()) != seeing.features(moved)).any(dim=1)
    assert changed.tolist() == [True] * 5 + [False]


def test_the_absorbing_state_is_unlike_every_real_row() -> None:
    network = Discriminator(OBS, gym.spaces.Discrete(3))
    row = network.absorbing_features()[0]
    assert row[:-1].abs().max() == 0.0 and float(row[-1]) > 1.0
    assert torch.equal(network.features(batch())[:, -1], torch.zeros(6))


def test_bounded_actions_enter_between_minus_one_and_one() -> None:
    network = Discriminator(OBS, gym.spaces.Box(-4.0, 8.0, (1,)))
    rows = Transitions(
        torch.zeros(3, 2), torch.tensor([[-4.0], [2.0], [8.0]]), torch.zeros(3, 2), torch.zeros(3, dtype=torch.bool)
    )
    assert network.features(rows)[:, 2].tolist() == pytest.approx([-1.0, 0.0, 1.0])
