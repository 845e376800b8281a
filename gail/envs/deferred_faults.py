"""Faults of batches that live on another device, found there and read back rarely: no step waits for the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gail.core.leaves import Leaves, named_leaves

_STEPS_BETWEEN_LOOKS = 256
"""Reading back waits for the device; a fault is told at most so many steps late, with the step it came in."""


class DeferredFaults:
    """Of each environment the first step that returned NaN or infinity, and what was played in it."""

    def __init__(self, actions: Tensor) -> None:
        """Remember nothing yet; ``actions`` ``[N, ...]`` gives the layout and the device."""
        self._when = torch.zeros(2, len(actions), dtype=torch.int64, device=actions.device)  # step, episode
        self._actions = torch.zeros_like(actions)
        self._unread = 0

    def note(self, seen: Sequence[Leaves], step: Tensor, episode: Tensor, actions: Tensor) -> None:
        """Look at one step without reading anything back.

        Args:
            seen: observations and rewards, each ``[N, ...]``.
            step: ``[N]`` int64, from 1 on: which one it was in its episode.
            episode: ``[N]`` int64.
            actions: ``[N, ...]``.
        """
        leaves = (rows for part in seen for _, rows in named_leaves("", part) if rows.is_floating_point())
        # x - x is 0, but of NaN and infinity it is NaN, which is unequal to 0.
        bad = torch.stack([(rows - rows).reshape(len(rows), -1).sum(dim=1) for rows in leaves]).sum(dim=0) != 0
        first = bad & (self._when[0] == 0)
        self._when = torch.where(first, torch.stack((step, episode)), self._when)
        self._actions = torch.where(first.view(-1, *[1] * (actions.dim() - 1)), actions, self._actions)
        self._unread += 1

    @property
    def due(self) -> bool:
        """Whether it is time for :meth:`first`."""
        return self._unread >= _STEPS_BETWEEN_LOOKS

    def first(self) -> tuple[int, int, int, Tensor] | None:
        """Row, step, episode and action of the first environment that has a fault; reads back."""
        self._unread = 0
        steps, episodes = self._when.cpu()
        rows = torch.nonzero(steps)
        if not len(rows):
            return None
        row = int(rows[0])
        return row, int(steps[row]), int(episodes[row]), self._actions[row].cpu()
