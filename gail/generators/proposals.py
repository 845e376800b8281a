"""The generative player of the imitation game: it learns the expert's transitions and proposes more of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gail.core.engine import Turn
from gail.core.player import Player
from gail.core.random import make_generator
from gail.demos.types import Demonstrations, Transitions
from gail.generators.generative_player import GenerativePlayer
from gail.generators.generator import Minibatch
from gail.generators.transitions import transition_rows

_REFERENCE = 1000
"""Real rows whose distances to the others say what is near and what is far."""
_NEAR, _FAR = 0.01, 0.99
"""A proposal is a copy below this quantile of those distances, and off the data above that one."""
_CHUNK = 64
"""Rows whose distances to all real ones are in memory at a time."""


class Proposals:
    """A generator of any kind that learns from transitions; see :class:`gail.imitation.pseudo.Proposer`.

    Args:
        kind: for example ``vae``.
        demos: the expert's.
        expert: their rows to learn from, on the device to train on.
        seed: of the initial weights and of everything that is drawn.

    Raises:
        InputError: where the demonstrations cannot be learned as transitions.
    """

    def __init__(self, kind: str, demos: Demonstrations, expert: Transitions, seed: int) -> None:
        device = expert.actions.device
        items, self.codec = transition_rows(demos, expert)
        self.real = self.codec.encode(items).to(device)
        self.generative = GenerativePlayer(
            kind,
            self.codec,
            classes=0,
            name="proposer",
            seed=seed,
            generator=make_generator(seed, "proposals", device),
        )
        self.players: Mapping[str, Player] = self.generative.players
        picks = torch.linspace(0, len(self.real) - 1, min(len(self.real), _REFERENCE), device=device).long()
        distances = self._nearest(self.real[picks], leave_out=picks)
        self.near, self.far = distances.quantile(torch.tensor([_NEAR, _FAR], device=device)).tolist()

    def turns(self) -> Iterator[Turn]:
        """One step of training."""
        yield from self.generative.turns(self._draw)

    def propose(self, n: int) -> tuple[Transitions, Tensor]:
        """``n`` rows, and which of them ``[n]`` are neither copies nor far from all real rows."""
        samples = self.generative.sample(n)
        distances = self._nearest(samples)
        rows, device = self.codec.transitions(samples), samples.device
        on_device = Transitions(
            rows.obs.to(device), rows.actions.to(device), rows.next_obs.to(device), rows.terminated.to(device)
        )
        return on_device, (distances >= self.near) & (distances <= self.far)

    def state_dict(self) -> dict[str, Any]:
        """The random stream."""
        return self.generative.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.generative.load_state_dict(state)

    def _draw(self) -> Minibatch:
        return Minibatch(self.generative.pick(self.real, self.generative.batch_size))

    def _nearest(self, rows: Tensor, leave_out: Tensor | None = None) -> Tensor:
        """Distances ``[N]`` to the nearest real row, without the one that ``leave_out`` ``[N]`` names."""
        parts = []
        for start in range(0, len(rows), _CHUNK):
            distance = torch.cdist(rows[start : start + _CHUNK], self.real)
            if leave_out is not None:
                distance.scatter_(1, leave_out[start : start + _CHUNK, None], torch.inf)
            parts.append(distance.amin(1))
        return torch.cat(parts)
