"""The policy of maximum-entropy learners: a Gaussian squashed into the actions' bounds."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor

from gail.agents.policy import NetworkPolicy, PolicyOutput, RecurrentState
from gail.core.errors import InputError
from gail.core.networks import Activation, hidden_layers, mlp
from gail.envs.spaces import SpaceEncoder, is_image

_LOG_STD = (-20.0, 2.0)
"""The reference implementation's bounds."""


class SquashedGaussianPolicy(NetworkPolicy):
    """``tanh`` of a diagonal Gaussian whose mean and spread depend on the state (Haarnoja et al. 2018, appendix C).

    A *sample* is the action in units where the bounds are -1 and 1.

    Args:
        observation_space: any supported space of vectors, its parts concatenated.
        action_space: Box with finite bounds.
        hidden: widths of the hidden layers.
        activation: between them.

    Raises:
        InputError: where the actions are not bounded numbers, or observations are images.
    """

    kind = "squashed"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        hidden: tuple[int, ...] = (256, 256),
        activation: Activation = "relu",
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Box) or not action_space.is_bounded():
            raise InputError(f"action space {action_space} is not supported by sac; supported is a bounded Box")
        if is_image(observation_space):
            raise InputError(f"observation space {observation_space} is not supported by sac; supported are vectors")
        self.hidden, self.activation = tuple(hidden), activation
        self.encoder = SpaceEncoder(observation_space)
        self.actions = SpaceEncoder(action_space, scale_bounded=True)
        self.shape, self.size = tuple(action_space.shape), int(np.prod(action_space.shape))
        self.trunk = hidden_layers(self.encoder.size, hidden, activation)
        self.output = mlp(hidden[-1] if hidden else self.encoder.size, (), 2 * self.size)
        self.uniform = False
        """Whether sampled actions are uniform: before there is anything to learn from."""

    def config(self) -> dict[str, Any]:
        """See :meth:`NetworkPolicy.config`."""
        return {"hidden": list(self.hidden), "activation": self.activation}

    def features(self, obs: Tensor) -> Tensor:
        """Float rows ``[B, D]``."""
        return self.encoder(obs)

    def distribution(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation ``[B, size]`` before squashing."""
        mean, log_std = self.output(self.trunk(features)).chunk(2, dim=1)
        return mean, log_std.clamp(*_LOG_STD)

    def draw(self, features: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Samples ``[B, size]`` made of standard normal ``noise`` ``[B, size]``, and their log-density ``[B]``."""
        mean, log_std = self.distribution(features)
        raw = mean + log_std.exp() * noise
        # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)), which does not cancel where tanh saturates.
        squashing = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
        density = -0.5 * noise.square() - log_std - 0.5 * math.log(2.0 * math.pi) - squashing
        return raw.tanh(), density.sum(dim=1)

    def to_action(self, sample: Tensor) -> Tensor:
        """Samples in the space's units ``[B, ...]``."""
        assert self.actions.half_range is not None and self.actions.center is not None
        return (sample * self.actions.half_range + self.actions.center).reshape(sample.shape[0], *self.shape)

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """Choose actions for ``obs`` ``[N, ...]``: sampled, or the squashed mean."""
        features = self.features(obs)
        if deterministic:
            sample = self.distribution(features)[0].tanh()
        else:
            shape, device = (features.shape[0], self.size), features.device
            if self.uniform:
                sample = torch.rand(shape, generator=generator, device=device) * 2.0 - 1.0
            else:
                sample, _ = self.draw(features, torch.randn(shape, generator=generator, device=device))
        return PolicyOutput(self.to_action(sample), sample)
