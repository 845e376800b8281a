"""A generator that learns inside another game, beside that game's own players."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from gail.core.engine import Turn
from gail.core.player import Player
from gail.core.random import seeded_initialization
from gail.generators.dataset import Codec
from gail.generators.diffusion import Diffusion
from gail.generators.generator import Draw
from gail.generators.kinds import build, kind_named


class GenerativePlayer:
    """A generator of any kind, with the hyperparameters of `gail fit` and one random stream for all that it draws.

    Args:
        kind: for example ``vae``.
        codec: of what it learns.
        classes: how many classes that has; 0 for none.
        name: of its part in the game; its networks are called after it, as a GAN has a discriminator too.
        seed: of the initial weights.
        generator: on the device to train on.
    """

    def __init__(
        self, kind: str, codec: Codec, *, classes: int, name: str, seed: int, generator: torch.Generator
    ) -> None:
        found = kind_named(kind)
        with seeded_initialization(seed, name):
            model = build(kind, codec, classes, found.config, found.training.precision)
        self.model, self.generator = model.to(generator.device), generator
        self.batch_size = found.training.batch_size
        self._prefix = f"{name}_"
        self.players: Mapping[str, Player] = {self._prefix + name: p for name, p in self.model.players().items()}
        for name, player in self.players.items():
            player.name = name

    def turns(self, draw: Draw) -> Iterator[Turn]:
        """One step of training on minibatches that ``draw`` gives."""
        for turn in self.model.turns(draw, self.generator):
            yield replace(turn, player=self._prefix + turn.player)

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """As :meth:`gail.generators.generator.Generator.sample`, by averaged weights."""
        with self.model.sampling(self.players):
            return self.model.sample(n, condition, generator=self.generator)

    def complete(self, items: Tensor, given: Tensor) -> Tensor:
        """As :meth:`gail.generators.diffusion.Diffusion.complete`, by averaged weights; of a diffusion model only."""
        assert isinstance(self.model, Diffusion)
        with self.model.sampling(self.players):
            return self.model.complete(items, given, generator=self.generator)

    def pick(self, rows: Tensor, n: int) -> Tensor:
        """``n`` of ``rows`` ``[N, ...]``, each as probable, with replacement."""
        return rows[torch.randint(len(rows), (n,), generator=self.generator, device=rows.device)]

    def state_dict(self) -> dict[str, Any]:
        """The random stream."""
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.generator.set_state(state["generator"])
