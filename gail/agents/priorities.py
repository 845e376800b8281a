"""Drawing rows in proportion to their priorities, and changing priorities, both in much less than linear time."""

from __future__ import annotations

import numpy as np

_BLOCK = 256
"""Rows whose sum is kept: a draw looks at one sum per block, then at one block."""


class Priorities:
    """``size`` non-negative numbers, all zero at first, that rows are drawn by.

    Sums are recomputed from their parts and never adjusted by differences, so they do not drift.
    """

    def __init__(self, size: int) -> None:
        blocks = -(-size // _BLOCK)
        self._values = np.zeros((blocks, _BLOCK), dtype=np.float64)
        self._sums = np.zeros(blocks, dtype=np.float64)
        self.values = self._values.reshape(-1)[:size]
        """``[size]``; read only: :meth:`set` keeps the sums."""

    @property
    def total(self) -> float:
        """The sum of all."""
        return float(self._sums.sum())

    def set(self, rows: np.ndarray, values: np.ndarray | float) -> None:
        """Make the priorities of ``rows`` ``[B]`` (where one is named twice, the last counts) ``values``."""
        self.values[rows] = values
        touched = np.unique(rows // _BLOCK)
        self._sums[touched] = self._values[touched].sum(axis=1)

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        """Rows ``[B]`` for uniform numbers ``[B]`` in [0, 1]: row i where the cumulative share passes the number."""
        edges = np.cumsum(self._sums)
        # A number that was rounded up to 1 would lie behind the last block.
        targets = np.minimum(uniform * edges[-1], np.nextafter(edges[-1], 0.0))
        block = np.searchsorted(edges, targets, side="right")
        inner = np.cumsum(self._values[block], axis=1)
        rest = targets - (edges[block] - self._sums[block])
        # Rounding can leave a target on or past its block's end, behind which rows may have no priority.
        rest = np.clip(rest, 0.0, np.nextafter(inner[:, -1], 0.0))
        return block * _BLOCK + (inner <= rest[:, None]).sum(axis=1)
