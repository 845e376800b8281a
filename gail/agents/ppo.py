"""Proximal policy optimization (Schulman et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from gail.agents.gae import advantages
from gail.agents.policy import ActorCritic
from gail.agents.rollout import Rollout, time_first
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.networks import Activation
from gail.core.pixels import PixelConfig
from gail.core.player import Player


@dataclass(frozen=True)
class PPOConfig:
    """Hyperparameters of PPO."""

    horizon: int = 64
    """Steps of each environment per rollout."""
    learning_rate: float = 3e-4
    """Adam's, at the start."""
    anneal: bool = True
    """Lower the learning rate linearly to zero over the run."""
    gamma: float = 0.99
    """Discount."""
    gae_lambda: float = 0.95
    """Trace decay of the advantage estimation."""
    epochs: int = 10
    """Passes over each rollout."""
    minibatch_size: int = 128
    """Rows per gradient step."""
    clip: float = 0.2
    """Range of the probability ratio."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    value_coef: float = 0.5
    """Weight of the value loss."""
    max_grad_norm: float = 0.5
    """Global gradient norm after clipping."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the policy's and the value function's hidden layers."""
    activation: Activation = "tanh"
    """Between the layers."""
    shared: bool = False
    """Whether policy and value function share their hidden layers."""
    pixels: PixelConfig = field(default_factory=PixelConfig)
    """How they look at images."""

    def __post_init__(self) -> None:
        require("ppo", self, at_least={"horizon": 1, "epochs": 1, "minibatch_size": 1, "hidden": 1})
        require("ppo", self, at_least={"learning_rate": 0.0, "gamma": 0.0, "gae_lambda": 0.0, "clip": 0.0})
        if self.gamma >= 1.0:
            raise InputError(f"ppo.gamma: {self.gamma}, expected less than 1 (absorbing states go on for ever)")

    @property
    def network(self) -> dict[str, Any]:
        """The part that shapes the policy."""
        return {"hidden": self.hidden, "activation": self.activation, "shared": self.shared, "pixels": self.pixels}


@dataclass(frozen=True)
class PPOBatch:
    """One minibatch of B rows."""

    features: Tensor
    """``[B, ...]``: observations as the policy's trunk takes them."""
    samples: Tensor
    """``[B, k]``: what the policy drew."""
    log_prob: Tensor
    """``[B]``: of the samples, under the policy that drew them."""
    advantage: Tensor
    """``[B]``: normalized over the rollout."""
    target: Tensor
    """``[B]``: value targets, scaled."""
    weight: Tensor
    """``[B]``: 1, or 0 in rows that were not played."""


class ValueScale:
    """Keeps the critic's targets near zero mean and unit variance while rewards change.

    The critic predicts scaled returns; when the scale moves, its last layer is rewritten so that the unscaled
    prediction stays the same (PopArt, van Hasselt et al. 2016, equations 3-5). GAIL needs it more than most: the
    discriminator's rewards have no fixed scale.
    """

    _RATE = 0.2

    def __init__(self, policy: ActorCritic) -> None:
        layer = policy.critic[-1]
        assert isinstance(layer, nn.Linear)
        self.layer, device = layer, layer.weight.device
        # Mean and mean square of the returns, and the weight that they have seen. In float64: their difference
        # cancels where returns vary little around a large mean.
        self.moments = torch.zeros(3, dtype=torch.float64, device=device)
        self.mean = torch.zeros((), device=device)
        self.std = torch.ones((), device=device)

    @torch.no_grad()
    def update(self, returns: Tensor, weight: Tensor) -> None:
        """Move towards the moments of ``returns`` ``[T, N]``, counting rows by ``weight`` ``[T, N]``."""
        returns, weight = returns.double(), weight.double()
        played = weight.sum()
        total = played.clamp(min=1.0)
        new = torch.stack(
            [(returns * weight).sum() / total, (returns.square() * weight).sum() / total, torch.ones_like(total)]
        )
        moments = self.moments + self._RATE * (new - self.moments)
        first, second = moments[0] / moments[2], moments[1] / moments[2]
        std = (second - first.square()).clamp(min=1e-8).sqrt()
        # Where nothing was played (agents may be absent for a whole rollout) there is nothing to move towards.
        self.moments = torch.where(played > 0, moments, self.moments)
        std = torch.where(played > 0, torch.maximum(std, 1e-3 * first.abs()).float(), self.std)
        first = torch.where(played > 0, first.float(), self.mean)
        self.layer.weight.mul_(self.std / std)
        self.layer.bias.copy_((self.std * self.layer.bias + self.mean - first) / std)
        self.mean, self.std = first, std

    def scale(self, returns: Tensor) -> Tensor:
        """Returns to critic units."""
        return (returns - self.mean) / self.std

    def unscale(self, values: Tensor) -> Tensor:
        """Critic outputs to returns."""
        return values * self.std + self.mean

    def state_dict(self) -> dict[str, Tensor]:
        """The moments."""
        return {"moments": self.moments, "mean": self.mean, "std": self.std}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of :meth:`state_dict`."""
        for name, value in state.items():
            getattr(self, name).copy_(value)


class PPO:
    """Turns rollouts with rewards into the policy's minibatches.

    Args:
        policy: on its device.
        config: hyperparameters.
        generator: shuffles the rows; on the policy's device.
        name: of the player.
    """

    def __init__(
        self, policy: ActorCritic, config: PPOConfig, generator: torch.Generator, *, name: str = "policy"
    ) -> None:
        self.policy, self.config, self.generator = policy, config, generator
        self.scale = ValueScale(policy)
        # Of the surrogate (maximized), the value error and the entropy bonus.
        self.coefficients = torch.tensor(
            [-1.0, config.value_coef, -config.entropy_coef], device=next(policy.parameters()).device
        )
        self.player = Player(
            name,
            policy,
            self.loss,
            learning_rate=config.learning_rate,
            anneal=config.anneal,
            max_grad_norm=config.max_grad_norm,
        )

    def loss(self, batch: PPOBatch) -> tuple[Tensor, Metrics]:
        """Clipped surrogate, value error and entropy bonus (equation 9), means over valid rows."""
        config = self.config
        log_prob, entropy, value = self.policy.evaluate_features(batch.features, batch.samples)
        if config.entropy_coef == 0.0:
            entropy = entropy.detach()  # only a metric: no gradient through it
        log_ratio = log_prob - batch.log_prob
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1.0 - config.clip, 1.0 + config.clip)
        surrogate = torch.minimum(ratio * batch.advantage, clipped * batch.advantage)
        # One product takes every mean over valid rows: on small networks each kernel counts.
        weight = batch.weight / batch.weight.sum().clamp(min=1.0)
        terms = weight @ torch.stack([surrogate, (value - batch.target).square(), entropy], dim=1)
        loss = (terms * self.coefficients).sum()
        with torch.no_grad():
            kl, clip_fraction = weight @ torch.stack([ratio - 1.0 - log_ratio, (ratio != clipped).float()], dim=1)
            surrogate_mean, value_loss, entropy_mean = terms
            metrics = {
                "surrogate": -surrogate_mean,
                "value_loss": value_loss,
                "entropy": entropy_mean,
                "kl": kl,
                "clip_fraction": clip_fraction,
            }
        return loss, metrics

    def turns(self, rollout: Rollout, rewards: Tensor) -> Iterator[Turn]:
        """The policy's turns on one rollout, judged by ``rewards`` ``[T, N]``."""
        config, policy = self.config, self.policy
        with torch.no_grad():
            features = policy.features(time_first(rollout.obs))
            samples = rollout.samples.flatten(0, 1)
            log_prob, _, value = policy.evaluate_features(features, samples)
            next_value = _next_values(policy, rollout, value)
            shape = rewards.shape
            values = self.scale.unscale(value).view(shape)
            gae = advantages(
                rewards,
                values,
                self.scale.unscale(next_value).view(shape),
                rollout.terminated,
                rollout.truncated | _beside_unplayed(rollout.valid),
                gamma=config.gamma,
                gae_lambda=config.gae_lambda,
            )
            returns, weight = gae + values, rollout.valid.float()
            self.scale.update(returns, weight)
            total = weight.sum().clamp(min=1.0)
            mean = (gae * weight).sum() / total
            std = (((gae - mean).square() * weight).sum() / total).sqrt()
            batch = PPOBatch(
                features,
                samples,
                log_prob,
                ((gae - mean) / (std + 1e-8)).flatten(),
                self.scale.scale(returns).flatten(),
                weight.flatten(),
            )
        rows = features.shape[0]
        for _ in range(config.epochs):
            order = torch.randperm(rows, device=features.device, generator=self.generator)
            # One gather per epoch and views from then on: on small networks indexing costs as much as the step.
            shuffled = [getattr(batch, field.name).index_select(0, order) for field in fields(batch)]
            for parts in zip(*(column.split(config.minibatch_size) for column in shuffled), strict=True):
                minibatch = PPOBatch(*parts)
                yield Turn(self.player.name, minibatch, minibatch.weight.sum())
        # Only now: within a round the policy that is trained must be the one that acted.
        policy.update_normalizer(time_first(rollout.obs), weight.flatten())

    def state_dict(self) -> dict[str, Any]:
        """What the player does not hold: the value scale and the shuffling."""
        return {"scale": self.scale.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.scale.load_state_dict(state["scale"])
        self.generator.set_state(state["generator"])


def _next_values(policy: ActorCritic, rollout: Rollout, value: Tensor) -> Tensor:
    """Critic outputs ``[T * N]`` of the true successors, given those of the states acted in."""
    if not policy.costly:
        return policy.values(policy.features(time_first(rollout.next_obs)))
    # A successor is the next state acted in, unless the episode ended or nothing was played there.
    other = rollout.terminated | rollout.truncated | _beside_unplayed(rollout.valid)
    other[-1] = True
    rows = other.flatten().nonzero().squeeze(1)
    following = torch.cat([value[rollout.valid.shape[1] :], torch.zeros_like(value[: rollout.valid.shape[1]])])
    looked_up = policy.values(policy.features(time_first(rollout.next_obs)[rows]))
    return following.index_copy(0, rows, looked_up)


def _beside_unplayed(valid: Tensor) -> Tensor:
    """Rows ``[T, N]`` that were not played, and those right before one: no advantage may pass between them."""
    unplayed = ~valid
    return unplayed | torch.cat([unplayed[1:], torch.zeros_like(unplayed[:1])])
