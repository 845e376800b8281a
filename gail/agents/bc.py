"""Behaviour cloning: maximum likelihood of the expert's actions (Pomerleau 1988)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gail.agents.policy import ActorCritic, save_policy
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.losses import Metrics
from gail.core.pixels import PixelConfig
from gail.core.player import Player
from gail.demos.types import Transitions

_ROUND = 100
"""Gradient steps per round."""


@dataclass(frozen=True)
class BCConfig:
    """Hyperparameters of behaviour cloning."""

    learning_rate: float = 1e-3
    """Adam's, at the start; falls linearly to zero."""
    steps: int = 10_000
    """Gradient steps."""
    batch_size: int = 256
    """Rows per gradient step."""
    weight_decay: float = 1e-4
    """Decoupled."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the policy's hidden layers."""
    log_std_floor: float = -3.0
    """Lower bound of the log standard deviation (continuous actions): a likelihood without one has no maximum."""
    pixels: PixelConfig = field(default_factory=PixelConfig)
    """How the policy looks at images."""

    def __post_init__(self) -> None:
        require("bc", self, at_least={"steps": 1, "batch_size": 1, "hidden": 1})
        require("bc", self, at_least={"learning_rate": 0.0, "weight_decay": 0.0})


class BehaviourCloning:
    """A game with one player: the policy, on the expert's state-action pairs. Its steps are gradient steps."""

    exact_resume = True

    def __init__(
        self,
        policy: ActorCritic,
        expert: Transitions,
        config: BCConfig,
        generator: torch.Generator,
        *,
        env_id: str,
        env_kwargs: dict[str, Any],
    ) -> None:
        self.policy, self.config, self.generator = policy, config, generator
        self.env_id, self.env_kwargs = env_id, env_kwargs
        policy.update_normalizer(expert.obs)
        self.features = policy.features(expert.obs).detach()
        self.samples = policy.head.from_action(expert.actions)
        self.steps = 0
        self.players: Mapping[str, Player] = {
            "policy": Player(
                "policy",
                policy,
                self.loss,
                learning_rate=config.learning_rate,
                anneal=True,
                weight_decay=config.weight_decay,
            )
        }

    def loss(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Metrics]:
        """Negative log-likelihood of the samples ``[B, k]`` given features ``[B, ...]``."""
        features, samples = batch
        log_prob, _ = self.policy.head.log_prob_entropy(self.policy.action_params(features), samples)
        likelihood = log_prob.mean()
        return -likelihood, {"log_likelihood": likelihood.detach()}

    def round(self) -> Iterator[Turn]:
        """One hundred minibatches, drawn at random: rounds of one length, however large the data is."""
        device, size = self.features.device, self.config.batch_size
        picks = torch.randint(len(self.features), (_ROUND, size), device=device, generator=self.generator)
        log_std = getattr(self.policy.head, "log_std", None)
        for index in picks:
            yield Turn("policy", (self.features[index], self.samples[index]), float(size))
            if log_std is not None:
                log_std.data.clamp_(min=self.config.log_std_floor)
            self.steps += 1

    def round_metrics(self) -> dict[str, float]:
        """None beside the player's."""
        return {}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The likelihood."""
        return {"log-likelihood": metrics["policy/log_likelihood"]}

    def save_policy(self, path: Path) -> None:
        """Write the policy as it is now."""
        save_policy(self.policy, path, env_id=self.env_id, env_kwargs=self.env_kwargs)

    def state_dict(self) -> dict[str, Any]:
        """Steps and shuffling; the policy is the player's."""
        return {"steps": self.steps, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.steps = int(state["steps"])
        self.generator.set_state(state["generator"])
