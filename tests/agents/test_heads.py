"""Action distributions against torch's own."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Normal

from gail.agents.heads import make_head
from gail.core.errors import InputError


def test_categorical_draws_follow_the_probabilities() -> None:
    head = make_head(gym.spaces.Discrete(3, start=5))
    logits = torch.log(torch.tensor([0.2, 0.5, 0.3])).expand(40_000, 3)
    sample = head.sample(logits, torch.Generator().manual_seed(0))
    shares = torch.bincount(sample[:, 0], minlength=3) / 40_000
    assert torch.allclose(shares, torch.tensor([0.2, 0.5, 0.3]), atol=0.01)
    assert set(head.to_action(sample).unique().tolist()) == {5, 6, 7}


def test_categorical_log_prob_and_entropy_are_torchs() -> None:
    head = make_head(gym.spaces.MultiDiscrete([2, 4]))
    params = torch.randn(16, 6)
    sample = head.sample(params, None)
    log_prob, entropy = head.log_prob_entropy(params, sample)
    parts = [Categorical(logits=params[:, :2]), Categorical(logits=params[:, 2:])]
    assert torch.allclose(log_prob, parts[0].log_prob(sample[:, 0]) + parts[1].log_prob(sample[:, 1]), atol=1e-6)
    assert torch.allclose(entropy, parts[0].entropy() + parts[1].entropy(), atol=1e-6)


def test_gaussian_log_prob_and_entropy_are_torchs() -> None:
    head = make_head(gym.spaces.Box(-2.0, 2.0, (3,)))
    head.log_std.data = torch.tensor([-1.0, 0.0, 0.5])
    params = torch.randn(16, 3)
    sample = head.sample(params, None)
    log_prob, entropy = head.log_prob_entropy(params, sample)
    reference = Independent(Normal(params, head.log_std.exp()), 1)
    assert torch.allclose(log_prob, reference.log_prob(sample), atol=1e-5)
    assert torch.allclose(entropy, reference.entropy(), atol=1e-5)


def test_executed_actions_are_scaled_and_inside_the_bounds() -> None:
    space = gym.spaces.Box(np.array([-2.0, 0.0], np.float32), np.array([2.0, 10.0], np.float32))
    head = make_head(space)
    sample = torch.tensor([[0.0, 0.0], [5.0, -5.0], [0.5, 0.5]])
    action = head.to_action(sample)
    assert torch.allclose(action, torch.tensor([[0.0, 5.0], [2.0, 0.0], [1.0, 7.5]]))
    assert torch.allclose(head.from_action(action[2:]), sample[2:])


@pytest.mark.parametrize(
    "space",
    [gym.spaces.Discrete(4, start=-1), gym.spaces.MultiDiscrete([[2, 3], [4, 2]]), gym.spaces.Box(-1, 1, (2, 2))],
)
def test_actions_are_in_the_space_and_come_back_as_samples(space: gym.Space) -> None:
    head = make_head(space)
    sample = head.sample(torch.randn(8, head.size), torch.Generator().manual_seed(0)).detach()
    action = head.to_action(sample)
    for row in action.numpy():
        assert space.contains(row if row.shape else row[()])
    if not isinstance(space, gym.spaces.Box):
        assert torch.equal(head.from_action(action), sample)


def test_an_unsupported_space_is_named() -> None:
    with pytest.raises(InputError, match="Text"):
        make_head(gym.spaces.Text(3))
