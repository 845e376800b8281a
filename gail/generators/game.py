"""The game of fitting: the engine's rounds of a generator's turns on minibatches of one data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gail.core.engine import Turn
from gail.core.player import Player
from gail.generators.dataset import Dataset
from gail.generators.generator import Generator, Minibatch

_ROUND = 25
"""Training steps per round, short enough for a lively progress bar."""


class Fitting:
    """Trains ``model`` on ``data``. Its steps are training steps: one call of :meth:`Generator.turns` each.

    Args:
        model: on its device.
        data: what to learn.
        steps: how many steps the run has; the last round ends there.
        batch_size: items per minibatch, drawn with replacement.
        generator: draws minibatches and noise; on the model's device.
        after_round: called with the game when a round has ended; it may look and sample, but not train.
    """

    exact_resume = True

    def __init__(
        self,
        model: Generator,
        data: Dataset,
        *,
        steps: int,
        batch_size: int,
        generator: torch.Generator,
        after_round: Callable[[Fitting], None] | None = None,
    ) -> None:
        self.model, self.data, self.generator = model, data, generator
        self.total_steps, self.batch_size, self.after_round = steps, batch_size, after_round
        self.players: Mapping[str, Player] = model.players()
        self.steps = 0

    def draw(self) -> Minibatch:
        """The next minibatch."""
        device = self.model.device
        rows = torch.randint(len(self.data), (self.batch_size,), generator=self.generator, device=device)
        return Minibatch(*self.data.encoded(rows.cpu(), device))

    def round(self) -> Iterator[Turn]:
        """A few training steps."""
        for _ in range(min(_ROUND, self.total_steps - self.steps)):
            yield from self.model.turns(self.draw, self.generator)
            self.steps += 1
        if self.after_round is not None:
            self.after_round(self)

    def round_metrics(self) -> dict[str, float]:
        """None beside the players'."""
        return {}

    def shown_metrics(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The losses."""
        return {name.replace("/", " "): metrics[name] for name in metrics if name.endswith("/loss")}

    def save_policy(self, path: Path) -> None:
        """Nothing: a generator has no return to be best at."""

    def state_dict(self) -> dict[str, Any]:
        """Steps and the random stream; the model is the players'."""
        return {"steps": self.steps, "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.steps = int(state["steps"])
        self.generator.set_state(state["generator"])


def _same(batch: Minibatch) -> Minibatch:
    return batch


def held_out_metrics(game: Fitting, data: Dataset, generator: torch.Generator) -> dict[str, float]:
    """Means of the losses and metrics over ``data``, which the game has not trained on, as ``player/metric``.

    Args:
        game: after training; its averaged weights are measured.
        data: the held-out items, each of which counts once.
        generator: draws the losses' noise.
    """
    sums: dict[str, float] = {}
    with game.model.sampling(game.players):
        for rows in torch.arange(len(data)).split(game.batch_size):
            batch = Minibatch(*data.encoded(rows, game.model.device))
            for turn in game.model.turns(partial(_same, batch), generator):
                loss, metrics = game.players[turn.player].loss(turn.batch)
                for name, value in {"loss": loss, **metrics}.items():
                    key = f"{turn.player}/{name}"
                    sums[key] = sums.get(key, 0.0) + float(value) * len(rows)
    return {name: total / len(data) for name, total in sums.items()}


@torch.no_grad()
def step_likelihoods(game: Fitting, data: Dataset) -> dict[str, float]:
    """One-step log-likelihoods of the episodes ``data``, which the game has not trained on, in nats per step.

    Args:
        game: after training; its averaged weights are measured.
        data: the held-out windows of episodes.

    Returns:
        ``nats_per_step`` (the model's) and ``linear_nats_per_step`` (of the Gaussian linear model), means over
        ``scored_steps`` recorded steps; empty where the model is none of steps, or no column has a density.
    """
    sums = torch.zeros(3, dtype=torch.float64)
    places = torch.arange(len(data.items)) if data.index is None else data.index
    with game.model.sampling(game.players):
        for rows in places.split(game.batch_size):
            found = game.model.step_likelihood(data.items[rows])
            if found is None:
                return {}
            played = found.played.double()
            parts = (found.model.double() * played, found.linear.double() * played, played)
            sums += torch.stack([part.sum() for part in parts]).cpu()
    model, linear, steps = sums.tolist()
    if steps == 0:
        return {}
    return {"nats_per_step": model / steps, "linear_nats_per_step": linear / steps, "scored_steps": steps}
