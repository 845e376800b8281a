"""Policies for images: chosen by the space, bytes until the trunk, files, learning on both kinds of players."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.bc import BCConfig, BehaviourCloning
from gail.agents.policy import MLPPolicy, PixelPolicy, load_policy, new_policy, save_policy
from gail.agents.ppo import PPO, PPOConfig, _next_values
from gail.agents.rollout import Rollout
from gail.core.pixels import PixelConfig
from gail.core.random import seeded_initialization
from gail.demos.types import Transitions
from gail.envs.spaces import space_from_json, space_to_json

IMAGES = gym.spaces.Box(0, 255, (2, 40, 36), np.uint8)
ACTIONS = gym.spaces.Discrete(2)


def pixel_policy() -> PixelPolicy:
    with seeded_initialization(0, "policy"):
        return PixelPolicy(IMAGES, ACTIONS, precision="fp32")


def sided_images(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with one bright half ``[count, 2, 40, 36]``, and which half ``[count]``."""
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 100, (count, *IMAGES.shape), dtype=torch.uint8, generator=generator)
    side = torch.randint(2, (count,), generator=generator)
    images[side == 0, :, :20] += 100
    images[side == 1, :, 20:] += 100
    return images, side


def test_the_observation_space_chooses_the_policy() -> None:
    class Spaces:
        device = torch.device("cpu")
        observation_space: gym.Space = IMAGES
        action_space = ACTIONS

    made = new_policy(Spaces(), 0, hidden=(8,), pixels=PixelConfig("impala", "fp32"))  # type: ignore[arg-type]
    assert isinstance(made, PixelPolicy) and made.pixels == PixelConfig("impala", "fp32")
    for space in (gym.spaces.Box(0, 255, (128,), np.uint8), gym.spaces.Box(0.0, 1.0, (2, 40, 36))):
        Spaces.observation_space = space
        assert isinstance(new_policy(Spaces(), 0, hidden=(8,)), MLPPolicy)  # type: ignore[arg-type]


def test_a_file_gives_the_same_policy_back(tmp_path: Path) -> None:
    with seeded_initialization(0, "policy"):
        policy = PixelPolicy(IMAGES, ACTIONS, trunk="impala", precision="fp32")
    save_policy(policy, tmp_path / "policy.safetensors", env_id="ALE/Pong-v5", env_kwargs={"mode": 1})
    loaded = load_policy(tmp_path)
    assert isinstance(loaded.policy, PixelPolicy) and loaded.policy.pixels == policy.pixels
    assert (loaded.env_id, loaded.env_kwargs) == ("ALE/Pong-v5", {"mode": 1})
    assert loaded.policy.observation_space == IMAGES
    images, actions = sided_images(5)
    for ours, theirs in zip(policy.evaluate(images, actions), loaded.policy.evaluate(images, actions), strict=True):
        assert torch.equal(ours, theirs)


def test_an_image_space_is_described_briefly_and_exactly() -> None:
    assert len(str(space_to_json(IMAGES))) < 200
    odd = gym.spaces.Box(np.array([[[0, 1]]], np.uint8), np.array([[[9, 255]]], np.uint8))
    for space in (IMAGES, odd, gym.spaces.Box(-np.inf, 1.5, (3,)), gym.spaces.Box(-1.0, 1.0, ())):
        assert space_from_json(space_to_json(space)) == space


def test_images_stay_bytes_until_they_are_in_the_minibatch() -> None:
    policy = pixel_policy()
    images, side = sided_images(16)
    data = rollout(images, side)
    ppo = PPO(policy, PPOConfig(epochs=1, minibatch_size=8), torch.Generator())
    for turn in ppo.turns(data, data.rewards):
        assert turn.batch.features.dtype == torch.uint8
    expert = Transitions(images, side, images, torch.zeros(16, dtype=torch.bool))
    game = BehaviourCloning(policy, expert, BCConfig(batch_size=4), torch.Generator(), env_id="x", env_kwargs={})
    assert game.features.dtype == torch.uint8
    assert next(iter(game.round())).batch[0].dtype == torch.uint8


def rollout(images: torch.Tensor, side: torch.Tensor) -> Rollout:
    """Four environments that were paid for naming the bright half."""
    steps = len(images) // 4
    samples = torch.randint(2, (steps, 4, 1), generator=torch.Generator().manual_seed(1))
    never = torch.zeros((steps, 4), dtype=torch.bool)
    return Rollout(
        obs=images.view(steps, 4, *IMAGES.shape),
        samples=samples,
        actions=samples[..., 0],
        next_obs=images.view(steps, 4, *IMAGES.shape),
        rewards=(samples[..., 0] == side.view(steps, 4)).float(),
        terminated=~never,
        truncated=never,
        valid=~never,
        finished_lengths=torch.ones((steps, 4), dtype=torch.int64),
    )


def clone(policy: PixelPolicy) -> None:
    images, side = sided_images(64)
    expert = Transitions(images, side, images, torch.zeros(64, dtype=torch.bool))
    game = BehaviourCloning(policy, expert, BCConfig(batch_size=32), torch.Generator(), env_id="x", env_kwargs={})
    for _, turn in zip(range(20), game.round(), strict=False):
        game.players["policy"].step(turn.batch, turn.rows)


def reinforce(policy: PixelPolicy) -> None:
    data = rollout(*sided_images(64))
    ppo = PPO(policy, PPOConfig(epochs=10, minibatch_size=32, learning_rate=1e-3), torch.Generator())
    for turn in ppo.turns(data, data.rewards):
        ppo.player.step(turn.batch, turn.rows)


@pytest.mark.parametrize(("learn", "probability"), [(clone, 0.9), (reinforce, 0.55)])
def test_both_learners_find_what_is_in_the_image(learn: Callable[[PixelPolicy], None], probability: float) -> None:
    policy = pixel_policy()
    images, side = sided_images(200)
    before = policy.evaluate(images, side)[0].detach().exp()
    assert float(before.mean()) == pytest.approx(0.5, abs=0.01)
    learn(policy)
    assert float(policy.evaluate(images, side)[0].detach().exp().mean()) > probability


def test_values_of_successors_are_spared_only_where_they_are_known() -> None:
    policy = pixel_policy()
    images, side = sided_images(40)
    data = rollout(images, side)
    # In a row that goes on, the successor is the next row's state; elsewhere it is something else.
    ends = torch.zeros((10, 4), dtype=torch.bool)
    ends[2, 1] = ends[9, 0] = True
    cuts, valid = torch.zeros_like(ends), torch.ones_like(ends)
    cuts[5, 2], valid[7, 3] = True, False
    others = (ends | cuts).clone()
    others[-1] = True
    others[6:8, 3] = True
    successors = torch.cat([data.obs[1:], data.obs[:1]])
    successors[others] = 255 - successors[others]
    data = replace(data, next_obs=successors, terminated=ends, truncated=cuts, valid=valid)
    with torch.no_grad():
        value = policy.values(policy.features(data.obs.flatten(0, 1)))
        expected = policy.values(policy.features(successors.flatten(0, 1)))
        assert torch.allclose(_next_values(policy, data, value), expected, atol=1e-5)
