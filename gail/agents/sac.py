"""Soft actor-critic (Haarnoja et al. 2018, "Algorithms and applications"): twin critics, a learned temperature."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from gail.agents.off_policy import OffPolicy
from gail.agents.replay import Replay
from gail.agents.squashed_policy import SquashedGaussianPolicy
from gail.agents.synthetic import Synthesizer, SyntheticConfig
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.networks import Activation, mlp
from gail.core.player import Player
from gail.envs.vec import VecEnv

_ADAM_EPS = 1e-8


@dataclass(frozen=True)
class SACConfig:
    """Hyperparameters of SAC."""

    learning_rate: float = 3e-4
    """Adam's, of policy, critics and temperature; constant."""
    gamma: float = 0.99
    """Discount."""
    batch_size: int = 256
    """Transitions per gradient step."""
    buffer_size: int = 1_000_000
    """Steps that the replay holds."""
    learning_starts: int = 5_000
    """Environment steps with uniform actions before the first gradient step."""
    steps_per_update: float = 1.0
    """Environment steps per gradient step; 0.25 takes four at each."""
    target_rate: float = 0.005
    """How far the target critics move to the online ones after each gradient step."""
    initial_temperature: float = 1.0
    """Weight of the entropy at the start."""
    target_entropy: float | None = None
    """What the temperature is learned for, in nats; where not given, minus the number of actions."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers."""
    activation: Activation = "relu"
    """Between them."""
    save_replay: bool = True
    """Whether checkpoints hold the replay; without it a resumed run collects a new one first."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """Transitions of a generative player beside the replay's."""

    def __post_init__(self) -> None:
        require("sac", self, at_least=dict.fromkeys(("batch_size", "learning_starts", "hidden"), 1))
        require("sac", self, at_least={"buffer_size": 16, "learning_rate": 0.0, "gamma": 0.0})
        for name in ("steps_per_update", "initial_temperature", "target_rate"):
            if getattr(self, name) <= 0.0:
                raise InputError(f"sac.{name}: {getattr(self, name)}, expected more than 0")
        for name in ("gamma", "target_rate"):
            if getattr(self, name) > 1.0:
                raise InputError(f"sac.{name}: {getattr(self, name)}, expected at most 1")
        self.synthetic.count(self.batch_size)

    @property
    def network(self) -> dict[str, Any]:
        """The part that shapes the policy."""
        return {"hidden": self.hidden, "activation": self.activation}


@dataclass(frozen=True)
class SACBatch:
    """B transitions, with all the noise that the losses need."""

    features: Tensor
    """``[B, D]``: the states acted in, as the networks take them."""
    samples: Tensor
    """``[B, k]``: the actions, in units where the bounds are -1 and 1."""
    returns: Tensor
    """``[B]``: rewards."""
    next_features: Tensor
    """``[B, D]``: the successors."""
    discount: Tensor
    """``[B]``: of the successor's value; 0 where there is none."""
    noise: Tensor
    """``[B, k]`` standard normal, for the policy's action in the state."""
    next_noise: Tensor
    """``[B, k]``: in the successor."""


class TwinCritic(nn.Module):
    """Two independent estimates of the value of an action."""

    def __init__(self, inputs: int, hidden: tuple[int, ...], activation: Activation) -> None:
        super().__init__()
        self.first, self.second = (mlp(inputs, hidden, 1, activation=activation) for _ in range(2))

    def forward(self, features: Tensor, samples: Tensor) -> Tensor:
        """Estimates ``[B, 2]``."""
        both = torch.cat([features, samples], dim=1)
        return torch.cat([self.first(both), self.second(both)], dim=1)


class Temperature(nn.Module):
    """The weight of the entropy, positive by its logarithm."""

    def __init__(self, initial: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.full((1,), math.log(initial)))


class SACLearner:
    """Policy, critics, target critics and temperature with their losses.

    Args:
        policy: on its device.
        config: hyperparameters.
    """

    def __init__(self, policy: SquashedGaussianPolicy, config: SACConfig) -> None:
        self.policy, self.config = policy, config
        device = next(policy.parameters()).device
        inputs = policy.encoder.size + policy.size
        self.critic = TwinCritic(inputs, config.hidden, config.activation).to(device)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.temperature = Temperature(config.initial_temperature).to(device)
        self.target_entropy = -float(policy.size) if config.target_entropy is None else config.target_entropy
        self.log_density: Tensor | None = None
        """``[B]``: of the actions that the policy's last loss drew."""
        parts: dict[str, tuple[nn.Module, Any]] = {
            "critic": (self.critic, self.critic_loss),
            "policy": (policy, self.policy_loss),
            "temperature": (self.temperature, self.temperature_loss),
        }
        self.players: Mapping[str, Player] = {
            name: Player(name, module, loss, learning_rate=config.learning_rate, eps=_ADAM_EPS)
            for name, (module, loss) in parts.items()
        }

    def critic_loss(self, batch: SACBatch) -> tuple[Tensor, Metrics]:
        """Half the squared errors of both estimates (equations 5 and 6)."""
        values = self.critic(batch.features, batch.samples)
        with torch.no_grad():
            actions, log_density = self.policy.draw(batch.next_features, batch.next_noise)
            after = self.target(batch.next_features, actions).amin(dim=1) - self._alpha() * log_density
            targets = batch.returns + batch.discount * after
        loss = 0.5 * (values - targets[:, None]).square().sum(dim=1).mean()
        return loss, {"q_value": values.detach().mean()}

    def policy_loss(self, batch: SACBatch) -> tuple[Tensor, Metrics]:
        """Negative of value and entropy (equation 9)."""
        actions, log_density = self.policy.draw(batch.features, batch.noise)
        value = self.critic(batch.features, actions).amin(dim=1)
        self.log_density = log_density.detach()
        return (self._alpha() * log_density - value).mean(), {"entropy": -self.log_density.mean()}

    def temperature_loss(self, log_density: Tensor) -> tuple[Tensor, Metrics]:
        """Rises where the entropy is below its target, on the logarithm as in the reference code (equation 17)."""
        loss = -(self.temperature.log * (log_density + self.target_entropy)).mean()
        return loss, {"alpha": self._alpha().mean()}

    def _alpha(self) -> Tensor:
        return self.temperature.log.detach().exp()

    @torch.no_grad()
    def follow(self) -> None:
        """Move the target critics."""
        torch._foreach_lerp_(list(self.target.parameters()), list(self.critic.parameters()), self.config.target_rate)


class SAC(OffPolicy):
    """A game of three players, policy, critics and temperature, that learn from a replay, perhaps a synthetic one too.

    Args:
        env: batched environments.
        config: hyperparameters.
        policy: on the environment's device.
        total_steps: environment steps of the run.
        seed: of the environments.
        generators: random streams named ``actions`` and ``noise`` (on the environment's device) and ``replay`` (on the
            host); with a synthesizer also ``synthetic`` (on the environment's device).
        clip_rewards: learn from the sign of each reward.
        synthesizer: the generative player, where ``config.synthetic.share`` is above 0.
    """

    config: SACConfig
    policy: SquashedGaussianPolicy

    def __init__(
        self,
        env: VecEnv,
        config: SACConfig,
        *,
        policy: SquashedGaussianPolicy,
        total_steps: int,
        seed: int,
        generators: Mapping[str, torch.Generator],
        clip_rewards: bool = False,
        synthesizer: Synthesizer | None = None,
    ) -> None:
        replay = Replay(
            env.observation_space,
            env.num_envs,
            capacity=config.buffer_size,
            n_step=1,
            gamma=config.gamma,
            alpha=0.0,
            stacked=False,
        )
        super().__init__(
            env,
            config,
            policy=policy,
            replay=replay,
            total_steps=total_steps,
            seed=seed,
            generators=generators,
            clip_rewards=clip_rewards,
            synthesizer=synthesizer,
        )
        self.learner, self.noise = SACLearner(policy, config), generators["noise"]
        self.players = {**self.learner.players, **({} if synthesizer is None else synthesizer.players)}

    def explore(self) -> None:
        """Uniform actions until there is something to learn from."""
        self.policy.uniform = not self.learning

    def update(self) -> Iterator[Turn]:
        """One turn of each of the three."""
        drawn, rows = self.draw(), float(self.config.batch_size)
        noise = torch.randn((2, *drawn.samples.shape), generator=self.noise, device=self.env.device)
        batch = SACBatch(
            self.policy.features(drawn.obs),
            drawn.samples,
            drawn.returns,
            self.policy.features(drawn.next_obs),
            drawn.discount,
            noise[0],
            noise[1],
        )
        yield Turn("critic", batch, rows)
        yield Turn("policy", batch, rows)
        yield Turn("temperature", self.learner.log_density, rows)
        self.learner.follow()

    def learner_state(self) -> dict[str, Any]:
        """Target critics and the noise."""
        return {"target": dict(self.learner.target.state_dict()), "noise": self.noise.get_state()}

    def load_learner_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`learner_state`."""
        self.learner.target.load_state_dict(state["target"])
        self.noise.set_state(state["noise"])
