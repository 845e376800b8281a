"""The discriminator: tells the expert's transitions from the policy's."""

from __future__ import annotations

import gymnasium as gym
import torch
from torch import Tensor, nn

from gail.core.networks import Activation, Normalizer, mlp
from gail.demos.types import Transitions
from gail.envs.spaces import SpaceEncoder

_ABSORBING_MARK = 10.0
"""How far the absorbing state lies from every real one, in standard deviations.

The gradient penalty limits how fast logits change with the inputs, so a mark of 1 would limit how unlike an expert the
absorbing state can look: dying would then be better than being in a bad real state.
"""


class Discriminator(nn.Module):
    """A small MLP over ``(s, a)`` or ``(s, a, s')``, with one more input that marks the absorbing state.

    Args:
        observation_space: any supported space.
        action_space: Box, Discrete, MultiDiscrete or MultiBinary.
        hidden: widths of the hidden layers.
        activation: between the layers.
        use_next_obs: whether it sees the successor.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        hidden: tuple[int, ...] = (64, 64),
        activation: Activation = "tanh",
        use_next_obs: bool = False,
    ) -> None:
        super().__init__()
        self.use_next_obs = use_next_obs
        self.obs_encoder = SpaceEncoder(observation_space)
        self.action_encoder = SpaceEncoder(action_space, scale_bounded=True)
        self.normalizer = Normalizer(self.obs_encoder.size)
        obs_parts = 2 if use_next_obs else 1
        self.size = obs_parts * self.obs_encoder.size + self.action_encoder.size + 1
        self.network = mlp(self.size, hidden, 1, activation=activation)

    def update_normalizer(self, obs: Tensor, mask: Tensor | None = None) -> None:
        """Merge ``obs`` ``[B, ...]``, of which ``mask`` ``[B]`` (all, where None) count, into the inputs' moments."""
        self.normalizer.update(self.obs_encoder(obs), mask)

    def features(self, transitions: Transitions) -> Tensor:
        """Input rows ``[B, size]``; rewards are never looked at."""
        obs = self.normalizer(self.obs_encoder(transitions.obs))
        parts = [obs, self.action_encoder(transitions.actions)]
        if self.use_next_obs:
            successor = self.normalizer(self.obs_encoder(transitions.next_obs))
            # The successor of a terminal step is the absorbing state, which has no coordinates.
            parts.append(successor * ~transitions.terminated[:, None])
        return torch.cat([*parts, torch.zeros_like(obs[:, :1])], dim=1)

    def absorbing_features(self) -> Tensor:
        """The input row ``[1, size]`` of the absorbing state: nothing but its mark."""
        row = torch.zeros(1, self.size, device=self.normalizer.mean.device)
        row[:, -1] = _ABSORBING_MARK
        return row

    def logits_expert_is_high(self, features: Tensor) -> Tensor:
        """Logits ``[B]`` of input rows ``[B, size]``; high where they look like the expert."""
        return self.network(features).squeeze(-1)
