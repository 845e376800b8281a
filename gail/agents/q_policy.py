"""The value-based policy: a network of action values, played greedily or nearly so."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import gymnasium as gym
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gail.agents.policy import NetworkPolicy, PolicyOutput, RecurrentState
from gail.core.errors import InputError
from gail.core.networks import Activation, hidden_layers, mlp
from gail.core.pixels import PixelConfig, PixelTrunk, TrunkName
from gail.core.precision import Precision
from gail.envs.spaces import MaskedBox, SpaceEncoder, is_image


class QPolicy(NetworkPolicy):
    """Action values of vectors or images, optionally duelling: ``Q = V + A - mean(A)``.

    Source: Mnih et al. 2015; Wang et al. 2016, equation 9 (here both streams are one layer on the shared trunk).

    Args:
        observation_space: Box, Discrete or MultiDiscrete; images get a convolutional trunk.
        action_space: Discrete.
        hidden: widths of the hidden layers (vectors).
        activation: between them.
        dueling: whether values and advantages are told apart.
        trunk: the convolutional network (images), see :class:`gail.core.pixels.PixelConfig`.
        precision: its arithmetic, likewise.
        epsilon: share of uniform actions where the best ones are not asked for.

    Raises:
        InputError: where the actions are not Discrete or can be illegal (an action mask), or images are too small.
    """

    kind = "q"

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        hidden: tuple[int, ...] = (128, 128),
        activation: Activation = "relu",
        dueling: bool = True,
        trunk: TrunkName = "nature",
        precision: Precision = "auto",
        epsilon: float = 0.01,
    ) -> None:
        super().__init__(observation_space, action_space)
        if not isinstance(action_space, spaces.Discrete):
            raise InputError(f"action space {action_space} is not supported by dqn; supported is Discrete")
        if isinstance(observation_space, MaskedBox):
            raise InputError("observations with an action mask are not supported by dqn; ppo keeps to legal actions")
        if not isinstance(observation_space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete):
            raise InputError(
                f"observation space {observation_space} is not supported by dqn; supported are Box, Discrete and "
                "MultiDiscrete"
            )
        self.hidden, self.activation, self.dueling = tuple(hidden), activation, dueling
        self.pixels, self.epsilon = PixelConfig(trunk, precision), epsilon
        self.count, self.start = int(action_space.n), int(action_space.start)
        self.encoder: SpaceEncoder | None = None
        self.trunk: nn.Module
        if is_image(observation_space):
            images = PixelTrunk(observation_space.shape, self.pixels)
            self.trunk, size = images, images.size
        else:
            self.encoder = SpaceEncoder(observation_space)
            self.trunk = hidden_layers(self.encoder.size, hidden, activation)
            size = hidden[-1] if hidden else self.encoder.size
        self.advantage = mlp(size, (), self.count)
        self.value = mlp(size, (), 1) if dueling else None

    def config(self) -> dict[str, Any]:
        """See :meth:`NetworkPolicy.config`."""
        names = ("activation", "dueling", "epsilon")
        return {"hidden": list(self.hidden), **{name: getattr(self, name) for name in names}, **asdict(self.pixels)}

    def features(self, obs: Tensor) -> Tensor:
        """Images as bytes, laid out for the trunk; everything else as float rows ``[B, D]``."""
        if self.encoder is not None:
            return self.encoder(obs)
        assert isinstance(self.trunk, PixelTrunk)
        return self.trunk.prepare(obs)

    def q_values(self, features: Tensor) -> Tensor:
        """Action values ``[B, actions]`` of the result of :meth:`features`."""
        hidden = self.trunk(features)
        advantage = self.advantage(hidden)
        if self.value is None:
            return advantage
        return self.value(hidden) + advantage - advantage.mean(dim=1, keepdim=True)

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: RecurrentState = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """The best actions for ``obs`` ``[N, ...]``; unless ``deterministic``, each is uniform with ``epsilon``."""
        sample = self.q_values(self.features(obs)).argmax(dim=1)
        if not deterministic:
            explore = torch.rand(sample.shape, device=sample.device, generator=generator) < self.epsilon
            uniform = torch.randint(self.count, sample.shape, device=sample.device, generator=generator)
            sample = torch.where(explore, uniform, sample)
        return PolicyOutput(sample + self.start, sample[:, None])
