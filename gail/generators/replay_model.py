"""The generative player of an agent's replay: it learns the transitions that the agent made and draws more of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium as gym
import torch
from torch import Tensor

from gail.agents.synthetic import SyntheticConfig
from gail.core.engine import Turn
from gail.core.player import Player
from gail.core.random import make_generator
from gail.demos.types import Transitions
from gail.generators.fields import Scaling, field_of
from gail.generators.generative_player import GenerativePlayer
from gail.generators.generator import Minibatch
from gail.generators.transitions import TransitionCodec, rows_and_codec


class ReplayModel:
    """A generator of any kind that learns from a replay; see :class:`gail.agents.synthetic.Synthesizer`.

    Each training scales the columns anew, by the replay as it is then, and lowers learning rates from their start.
    With ``config.rare`` it learns two classes, transitions that end an episode and others: that share of each of its
    minibatches, and of what it draws, are ends. Where the replay holds none, all are others.

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
        self.generative = GenerativePlayer(
            config.generator,
            self.codec,
            classes=2 if config.rare > 0 else 0,
            name="synthetic",
            seed=seed,
            generator=make_generator(seed, "synthetic model", device),
        )
        self.players: Mapping[str, Player] = self.generative.players
        self._ends = 0.0

    def turns(self, rows: Transitions) -> Iterator[Turn]:
        """One training on ``rows``, with rewards."""
        items, self.codec = rows_and_codec(rows, self.codec.obs, self.codec.action, rewards=True)
        encoded = self.codec.encode(items).to(self.device)
        ended = rows.terminated.to(self.device)
        others, ends = encoded[~ended], encoded[ended]
        # Where one of the classes is empty, all rows are of the other.
        self._ends = 0.0 if not len(ends) else 1.0 if not len(others) else self.config.rare

        def draw() -> Minibatch:
            size = self.generative.batch_size
            labels = self._labels(size)
            if labels is None:
                return Minibatch(self.generative.pick(encoded, size))
            count = round(self._ends * size)
            picked = [self.generative.pick(others, size - count)] if count < size else []
            picked += [self.generative.pick(ends, count)] if count else []
            return Minibatch(torch.cat(picked), labels)

        for step in range(self.config.updates):
            for player in self.players.values():
                player.set_progress(step / self.config.updates)
            yield from self.generative.turns(draw)

    def sample(self, n: int) -> Transitions:
        """``n`` rows like those of the last training."""
        labels = self._labels(n)
        rows = self.codec.transitions(self.generative.sample(n, labels))
        assert rows.rewards is not None
        # Asked for as a class, that an episode ends is known and need not be read from a column.
        return Transitions(
            rows.obs.to(self.device),
            rows.actions.to(self.device),
            rows.next_obs.to(self.device),
            rows.terminated.to(self.device) if labels is None else labels.bool(),
            rows.rewards.float().to(self.device),
        )

    def _labels(self, n: int) -> Tensor | None:
        """Which of ``n`` rows are to end an episode, those last; None where that is not asked for."""
        if self.config.rare == 0:
            return None
        return (torch.arange(n, device=self.device) >= n - round(self._ends * n)).long()

    def state_dict(self) -> dict[str, Any]:
        """The random stream; scales are of the next training."""
        return self.generative.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.generative.load_state_dict(state)
