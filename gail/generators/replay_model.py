"""The generative player of an agent's replay: it learns the transitions that the agent made and draws more of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import gymnasium as gym
import torch
import torch.nn.functional as F
from torch import Tensor

from gail.agents.synthetic import SyntheticConfig
from gail.core.engine import Turn
from gail.core.losses import Metrics
from gail.core.networks import mlp
from gail.core.player import Player
from gail.core.random import make_generator, seeded_initialization
from gail.demos.types import Transitions
from gail.generators.fields import Scaling, field_of
from gail.generators.generative_player import GenerativePlayer
from gail.generators.generator import Draw, Minibatch
from gail.generators.transitions import TransitionCodec, rows_and_codec

_ENDS_HIDDEN, _ENDS_RATE = (256, 256), 1e-3
"""Widths of the classifier of ends and Adam's rate at the start of each training."""

_ENDS_LEARNED = 0.25
"""Least share of a minibatch that is terminations: a class of which few examples are shown is not learned."""


class ReplayModel:
    """A generator of any kind that learns from a replay; see :class:`gail.agents.synthetic.Synthesizer`.

    Each training scales the columns anew, by the replay as it is then, and lowers learning rates from their start.
    Transitions that end an episode are a class of their own: as a column that is nearly always 0, a GAN drops them, and
    what falls would be said to go on. Ends are at least a quarter of each minibatch that is learned, and as many of the
    rows that are drawn as in the replay, or ``config.rare`` of them. Where the replay holds none, all rows are others.

    With the policy's actions, states and actions are given and only what comes of them is learned, each transition as
    often as the replay has it. Whether an outcome ends the episode is then said by a classifier that sees state, action
    and change (see :class:`_Ends`).

    Args:
        config: hyperparameters.
        observations: the space of one observation: Box, Discrete or MultiDiscrete.
        samples: the space of one action as the replay holds it.
        seed: of the initial weights and of everything that is drawn.
        device: to train on.
    """

    def __init__(
        self, config: SyntheticConfig, observations: gym.Space, samples: gym.Space, seed: int, device: torch.device
    ) -> None:
        self.config, self.device = config, device
        obs, action = field_of(observations), field_of(samples)
        unknown = torch.zeros(2 * obs.columns + action.columns + 2)
        self.codec = TransitionCodec(obs, action, True, Scaling(unknown, unknown, unknown, unknown))
        self._given = torch.arange(len(unknown), device=device) < obs.columns + action.columns
        self.generative = GenerativePlayer(
            config.generator,
            self.codec,
            classes=0 if config.actions == "policy" else 2,
            name="synthetic",
            seed=seed,
            generator=make_generator(seed, "synthetic model", device),
        )
        self.players: Mapping[str, Player] = self.generative.players
        self._ends = 0.0
        self._classifier: _Ends | None = None
        if config.actions == "policy":
            self._classifier = _Ends(2 * obs.columns + action.columns, seed, device)
            self.players = {**self.players, **self._classifier.players}

    def turns(self, rows: Transitions) -> Iterator[Turn]:
        """One training on ``rows``, with rewards."""
        items, self.codec = rows_and_codec(rows, self.codec.obs, self.codec.action, rewards=True)
        encoded = self.codec.encode(items).to(self.device)
        ended = rows.terminated.to(self.device)
        parts = encoded[~ended], encoded[ended]
        share = len(parts[1]) / len(encoded)
        size, pick = self.generative.batch_size, self.generative.pick
        if self._classifier is None:
            draw = self._by_class(parts, share)
        else:
            self._classifier.share = share

            def draw() -> Minibatch:
                return Minibatch(pick(encoded, size), given=self._given)

        for step in range(self.config.updates):
            for player in self.players.values():
                player.set_progress(step / self.config.updates)
            yield from self.generative.turns(draw)
            if self._classifier is not None and 0 < share < 1:
                both = torch.cat([pick(part, size // 2) for part in parts])
                batch = Minibatch(both, _labels(len(both), size // 2, self.device))
                yield Turn("synthetic_ends", batch, float(len(both)))

    def _by_class(self, parts: tuple[Tensor, Tensor], share: float) -> Draw:
        """Minibatches of transitions that go on and, as ``share`` of all are, that end, each with its class."""
        # Where one of the classes is empty, all rows are of the other.
        self._ends = self.config.rare if self.config.rare > 0 and 0 < share < 1 else share
        size = self.generative.batch_size
        count = round(max(self._ends, _ENDS_LEARNED if share > 0 else 0.0) * size)
        labels = _labels(size, count, self.device)

        def draw() -> Minibatch:
            picked = [self.generative.pick(part, n) for part, n in zip(parts, (size - count, count), strict=True) if n]
            return Minibatch(torch.cat(picked), labels)

        return draw

    def sample(self, n: int) -> Transitions:
        """``n`` rows like those of the last training."""
        labels = _labels(n, round(self._ends * n), self.device)
        rows = self._decoded(self.generative.sample(n, labels))
        return replace(rows, terminated=labels.bool())

    def outcomes(self, obs: Tensor, actions: Tensor) -> Transitions:
        """Rows with the successors, rewards and ends that are drawn for ``actions`` ``[n, k]`` in ``obs`` ``[n, ...]``.

        The model has to have learned with ``config.actions`` "policy".
        """
        known = torch.cat([self.codec.obs.to_columns(obs.cpu()), self.codec.action.to_columns(actions.cpu())], dim=1)
        rest = known.new_zeros(len(known), len(self._given) - known.shape[1])
        items = self.codec.encode(torch.cat([known, rest], dim=1)).to(self.device)
        assert self._classifier is not None
        completed = self.generative.complete(items, self._given)
        ends = self._classifier.draw(completed, self.generative.generator)
        # What was given comes back exactly, not as its scaled float.
        return replace(self._decoded(completed), obs=obs, actions=actions, terminated=ends)

    def _decoded(self, samples: Tensor) -> Transitions:
        rows = self.codec.transitions(samples)
        assert rows.rewards is not None
        rows = replace(rows, rewards=rows.rewards.float())
        return Transitions(**{name: column.to(self.device) for name, column in vars(rows).items()})

    def state_dict(self) -> dict[str, Any]:
        """The random stream, and the scales and the share of ends of the last training."""
        share = 0.0 if self._classifier is None else self._classifier.share
        return {**self.generative.state_dict(), "scaling": self.codec.scaling.to_tree(), "share": share}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.generative.load_state_dict(state)
        self.codec = replace(self.codec, scaling=Scaling.from_tree(state["scaling"]))
        if self._classifier is not None:
            self._classifier.share = float(state["share"])


class _Ends:
    """Says how probable it is that a transition ends its episode, from state, action and change of the state.

    One transition in a hundred ends one, and as a column of the diffusion model most of them are lost. Minibatches are
    therefore half ends, and the odds are corrected by the replay's share of them (King & Zeng 2001), so that they are
    those of the environment, also where the same action ends an episode only sometimes.

    Args:
        columns: of state, action and change, the first of a row.
        seed: of the initial weights.
        device: to train on.
    """

    def __init__(self, columns: int, seed: int, device: torch.device) -> None:
        self.columns = columns
        with seeded_initialization(seed, "synthetic ends"):
            self.network = mlp(columns, _ENDS_HIDDEN, 1, activation="relu").to(device)
        player = Player("synthetic_ends", self.network, self._loss, learning_rate=_ENDS_RATE, anneal=True)
        self.players: Mapping[str, Player] = {player.name: player}
        self.share = 0.0
        """Of the last training's transitions."""

    @torch.no_grad()
    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Whether encoded ``rows`` ``[n, D]`` end the episode ``[n]`` (bool), drawn by its probability."""
        if self.share in (0.0, 1.0):
            return torch.full((len(rows),), self.share == 1.0, device=rows.device)
        logits = self._logits(rows) + math.log(self.share / (1.0 - self.share))
        return torch.rand(len(rows), generator=generator, device=rows.device) < logits.sigmoid()

    def _logits(self, rows: Tensor) -> Tensor:
        return self.network(rows[:, : self.columns])[:, 0]

    def _loss(self, batch: Minibatch) -> tuple[Tensor, Metrics]:
        assert batch.labels is not None
        return F.binary_cross_entropy_with_logits(self._logits(batch.x), batch.labels.float()), {}


def _labels(n: int, ends: int, device: torch.device) -> Tensor:
    """Classes ``[n]``, of which the last ``ends`` end an episode."""
    return (torch.arange(n, device=device) >= n - ends).long()
