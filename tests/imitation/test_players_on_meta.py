"""Every player's training step runs on the meta device, where nothing can be read back."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.bc import BCConfig, BehaviourCloning
from gail.agents.dqn import DQNBatch, DQNConfig, QLearner
from gail.agents.policy import MLPPolicy, PixelPolicy
from gail.agents.ppo import PPO, PPOBatch, PPOConfig
from gail.agents.q_policy import QPolicy
from gail.agents.sac import SACBatch, SACConfig, SACLearner
from gail.agents.squashed_policy import SquashedGaussianPolicy
from gail.core.losses import bce_loss, with_gradient_penalty
from gail.core.player import Player
from gail.demos.types import Transitions
from gail.imitation.discriminator import Discriminator

B = 8
OBS = gym.spaces.Box(-1.0, 1.0, (3,))
ACTIONS = {
    "discrete": gym.spaces.Discrete(3),
    "multi-discrete": gym.spaces.MultiDiscrete([2, 3]),
    "continuous": gym.spaces.Box(-2.0, 2.0, (2,)),
}


def ppo(space: gym.Space, device: str) -> tuple[Player, Any]:
    policy = MLPPolicy(OBS, space, hidden=(4,)).to(device)
    player = PPO(policy, PPOConfig(entropy_coef=0.01), torch.Generator()).player
    sample = policy.head.sample(torch.randn(B, policy.head.size, device=device), None).detach()
    columns = [torch.rand(B, device=device) for _ in range(4)]
    return player, PPOBatch(torch.randn(B, 3, device=device), sample, *columns)


def ppo_on_images(space: gym.Space, device: str) -> tuple[Player, Any]:
    policy = PixelPolicy(gym.spaces.Box(0, 255, (1, 36, 36), np.uint8), space).to(device)
    player = PPO(policy, PPOConfig(), torch.Generator()).player
    sample = policy.head.sample(torch.randn(B, policy.head.size, device=device), None).detach()
    images = torch.zeros((B, 1, 36, 36), dtype=torch.uint8, device=device)
    return player, PPOBatch(policy.features(images), sample, *(torch.rand(B, device=device) for _ in range(4)))


def dqn(space: gym.Space, device: str) -> tuple[Player, Any]:
    observations = gym.spaces.Box(0, 255, (1, 36, 36), np.uint8) if isinstance(space, gym.spaces.Discrete) else OBS
    policy = QPolicy(observations, gym.spaces.Discrete(3), hidden=(4,)).to(device)
    shape = (B, 1, 36, 36) if policy.encoder is None else (B, 3)
    obs = torch.zeros(shape, dtype=torch.uint8 if policy.encoder is None else torch.float32, device=device)
    features = policy.features(obs)
    samples = torch.zeros((B, 1), dtype=torch.int64, device=device)
    returns, discount, weight = (torch.rand(B, device=device) for _ in range(3))
    return QLearner(policy, DQNConfig()).player, DQNBatch(features, samples, returns, features, discount, weight)


def sac(space: gym.Space, device: str, *, player: str) -> tuple[Player, Any]:
    bounded = space if isinstance(space, gym.spaces.Box) else gym.spaces.Box(-1.0, 1.0, (3,))
    learner = SACLearner(SquashedGaussianPolicy(OBS, bounded, hidden=(4,)).to(device), SACConfig(hidden=(4,)))
    obs = torch.randn(B, 3, device=device)
    samples, noise, next_noise = (torch.randn(B, learner.policy.size, device=device) for _ in range(3))
    numbers = [torch.rand(B, device=device) for _ in range(2)]
    batch = SACBatch(obs, samples, numbers[0], obs, numbers[1], noise, next_noise)
    return learner.players[player], numbers[0] if player == "temperature" else batch


def discriminator(space: gym.Space, device: str) -> tuple[Player, Any]:
    network = Discriminator(OBS, space, hidden=(4,), use_next_obs=True).to(device)
    penalized = with_gradient_penalty(bce_loss, 1.0)
    rows = [torch.randn(B, network.size, device=device) for _ in range(2)]
    batch = (*rows, torch.rand(B, 1, device=device))
    return Player("d", network, lambda b: penalized(network.logits_expert_is_high, *b), learning_rate=1e-3), batch


def cloning(space: gym.Space, device: str) -> tuple[Player, Any]:
    policy = MLPPolicy(OBS, space, hidden=(4,)).to(device)
    actions = policy.head.to_action(policy.head.sample(torch.randn(B, policy.head.size, device=device), None)).detach()
    obs = torch.randn(B, 3, device=device)
    expert = Transitions(obs, actions, obs, torch.zeros(B, dtype=torch.bool, device=device))
    game = BehaviourCloning(policy, expert, BCConfig(), torch.Generator(), env_id="x", env_kwargs={})
    return game.players["policy"], (game.features, game.samples)


SAC_PLAYERS = [partial(sac, player=name) for name in ("critic", "policy", "temperature")]
BUILDERS = [ppo, ppo_on_images, dqn, *SAC_PLAYERS, discriminator, cloning]


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS.keys())
@pytest.mark.parametrize("build", BUILDERS)
def test_the_training_step_needs_no_read_back(build: Callable[..., tuple[Player, Any]], space: gym.Space) -> None:
    player, batch = build(space, "meta")
    player.step(batch, 8.0)
    player.step(batch, torch.ones((), device="meta"))
    assert player.weights.grad is not None and player.weights.grad.is_meta


@pytest.mark.parametrize("space", ACTIONS.values(), ids=ACTIONS.keys())
@pytest.mark.parametrize("build", BUILDERS)
def test_the_training_step_copies_and_draws_nothing(
    build: Callable[..., tuple[Player, Any]], space: gym.Space, forbid_copies_and_draws: Callable[[], None]
) -> None:
    """What the meta device lets pass: copies between devices, new constants, random draws."""
    player, batch = build(space, "cpu")
    player.step(batch, 8.0)  # the optimizer makes its state in the first step
    forbid_copies_and_draws()
    player.step(batch, 8.0)
