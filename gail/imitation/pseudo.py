"""Pseudo-demonstrations: rows that a generative player proposes beside the expert's own.

Each round the player trains a little on the expert's rows and proposes some of its own. An audit without a simulator
keeps those that are neither copies nor off the expert's data, the discriminator those that it takes for the expert's as
readily as it takes real ones. What is kept is replayed by priority: the discriminator's present belief in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.leaves import join_leaves
from gail.core.player import Player
from gail.demos.types import Demonstrations, Transitions
from gail.imitation.discriminator import Discriminator


@dataclass(frozen=True)
class PseudoConfig:
    """Hyperparameters of pseudo-demonstrations."""

    share: float = 0.0
    """Share of the discriminator's expert rows that are pseudo-demonstrations, once there are any; 0: none, ever."""
    generator: Literal["diffusion", "vae", "gan"] = "diffusion"
    """The generative player, with the hyperparameters of `gail fit`."""
    warmup: int = 1500
    """Training steps of the generative player in the first round, before it proposes anything."""
    updates_per_round: int = 4
    """Its training steps per rollout after that."""
    proposals: int = 128
    """Rows that it proposes per rollout."""
    capacity: int = 4096
    """Rows that are kept, the newest ones."""
    threshold: float = 0.5
    """Kept is what the discriminator takes for the expert's more readily than this share of the real rows."""

    def __post_init__(self) -> None:
        lowest = {"warmup": 1, "updates_per_round": 0, "proposals": 1, "capacity": 1}
        require("pseudo", self, at_least=lowest, shares=("share", "threshold"))


class Proposer(Protocol):
    """A generative player, as the game sees it."""

    players: Mapping[str, Player]
    """Its networks, by names that no other player of the game has."""

    def turns(self) -> Iterator[Turn]:
        """One step of its training on the expert's rows."""

    def propose(self, n: int) -> tuple[Transitions, Tensor]:
        """``n`` rows, and which of them ``[n]`` (bool) are neither copies of the expert's rows nor far from all."""

    def state_dict(self) -> dict[str, Any]:
        """All but the players."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""


MakeProposer = Callable[[str, Demonstrations, Transitions, int], Proposer]
"""From a kind, demonstrations, their rows that the expert is known by (on the device to train on) and a seed."""


class PseudoDemonstrations:
    """The replay of what was kept.

    Args:
        config: hyperparameters.
        proposer: the generative player.
        expert: the real rows.
    """

    def __init__(self, config: PseudoConfig, proposer: Proposer, expert: Transitions) -> None:
        self.config, self.proposer, self.expert = config, proposer, expert
        self.rows = expert[:0]
        self.rounds = 0
        self.kept = 0.0
        """Share of the last proposals that were kept."""
        self.plausible = 0.0
        """Share of them that the audit let pass."""

    def turns(self) -> Iterator[Turn]:
        """A round of the generative player's training."""
        for _ in range(self.config.updates_per_round if self.rounds else self.config.warmup):
            yield from self.proposer.turns()
        self.rounds += 1

    @torch.no_grad()
    def refill(self, discriminator: Discriminator) -> None:
        """Ask for proposals and keep the good ones."""
        config = self.config
        proposed, plausible = self.proposer.propose(config.proposals)
        real = discriminator.logits_expert_is_high(discriminator.features(self.expert))
        logits = discriminator.logits_expert_is_high(discriminator.features(proposed))
        good = plausible & (logits >= real.quantile(config.threshold))
        self.plausible, self.kept = float(plausible.float().mean()), float(good.float().mean())
        self.rows = _joined(self.rows, proposed[good])[-config.capacity :]

    @torch.no_grad()
    def draw(self, discriminator: Discriminator, n: int, generator: torch.Generator) -> Tensor:
        """Feature rows ``[n, D]`` of kept rows, drawn as probable as the discriminator finds each of them the expert's.

        There must be some.
        """
        features = discriminator.features(self.rows)
        belief = torch.sigmoid(discriminator.logits_expert_is_high(features)).clamp(min=1e-6)
        return features[torch.multinomial(belief, n, replacement=True, generator=generator)]

    def metrics(self) -> dict[str, float]:
        """How many rows there are and what became of the last proposals."""
        return {
            "pseudo/rows": float(len(self.rows)),
            "pseudo/plausible": self.plausible,
            "pseudo/kept": self.kept,
        }

    def state_dict(self) -> dict[str, Any]:
        """The rows, and what the proposer holds beside its players."""
        rows = self.rows
        return {
            "rows": {
                "obs": rows.obs,
                "actions": rows.actions,
                "next_obs": rows.next_obs,
                "terminated": rows.terminated,
            },
            "rounds": self.rounds,
            "proposer": self.proposer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.rows, self.rounds = Transitions(**state["rows"]), int(state["rounds"])
        self.proposer.load_state_dict(state["proposer"])


def _joined(a: Transitions, b: Transitions) -> Transitions:
    return Transitions(
        join_leaves(torch.cat, [a.obs, b.obs]),
        torch.cat([a.actions, b.actions]),
        join_leaves(torch.cat, [a.next_obs, b.next_obs]),
        torch.cat([a.terminated, b.terminated]),
    )
