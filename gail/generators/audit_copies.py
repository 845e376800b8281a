"""The audit's test of copies: which rows are nearer to a training item than held-out real rows are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gail.generators.audit_classifier import FOLDS, blocks
from gail.generators.audit_distances import nearest_distances
from gail.generators.audit_view import View, some
from gail.generators.steps import Array, Steps, steps_of

NEAR = 0.01
"""A near-copy is nearer to a training item than this share of held-out rows is."""
_RUNS = 10
"""Runs of rows held out in turn, where whole episodes cannot be."""


@dataclass(frozen=True)
class CopyTest:
    """Distances to the nearest training item, and from which on they are ordinary."""

    base: Array
    """``[M, C]``: training items, in units of the real rows' spread."""
    held_out: Array
    """``[H]``: distances of real rows that are not training items to those that are."""
    described: str
    """Which rows were held out."""

    @classmethod
    def of(cls, view: View) -> CopyTest:
        """Hold out the real episodes that are no training items, or each training episode in turn."""
        learned = view.learned
        training = view.all_real if learned is view.recorded else steps_of(learned)
        base = view.scaled(training)
        fresh = [] if learned is view.recorded else _unseen(view, training)
        # Of fewer rows the percentile would be the smallest distance.
        if np.isin(view.all_real.episode, fresh).sum() * NEAR >= 1:
            held = some(view.all_real, view.config.rows, view.rng, among=fresh)
            unit = "transitions" if view.recorded.kind == "transitions" else "episodes"
            described = f"{len(fresh)} real {unit} that are not among the training items"
            return cls(base, nearest_distances(view.scaled(held), base), described)
        owner = blocks(training.episode, FOLDS, runs=_RUNS)
        unit = (
            "training episode" if owner is training.episode else "tenth of the training rows (few or uneven episodes)"
        )
        rows = np.sort(view.rng.permutation(len(training))[: view.config.rows])
        held_out = nearest_distances(base[rows], base, (owner[rows], owner))
        return cls(base, held_out, f"each {unit} in turn, against the others")

    @property
    def near(self) -> float:
        """The distance below which a row is a near-copy."""
        return float(np.quantile(self.held_out, NEAR))

    def distances(self, rows: Array) -> Array:
        """``[N]``: how far rows ``[N, C]``, in units of the real rows' spread, are from the nearest training item."""
        return nearest_distances(rows, self.base)

    def near_copies(self, distances: Array) -> NDArray[np.bool_]:
        """Which of ``distances`` ``[N]`` are a near-copy's."""
        # Recorded rows that repeat exactly (a deterministic start) make the percentile 0.
        return distances < self.near if self.near > 0 else distances == 0


def _unseen(view: View, training: Steps) -> list[int]:
    """The real episodes that are no training items: by rows, since the training file may hold the same steps as
    transitions, in pieces, or as other numbers of bits.
    """
    learned, rows = (steps.columns(view.layout).astype(np.float32) + 0.0 for steps in (training, view.all_real))
    known = {row.tobytes() for row in learned}
    seen = np.fromiter((row.tobytes() in known for row in rows), bool, len(rows))
    owner = view.all_real.episode
    # A few rows may repeat in unlike trajectories.
    return np.flatnonzero(np.bincount(owner, seen) <= np.bincount(owner) / 2).tolist()


def least_difference(share: float, n: int, expected: float, m: int) -> float:
    """The lower 95% bound of ``share``, of ``n`` rows, minus ``expected``, of ``m`` other ones.

    Newcombe 1998 ("Interval estimation for the difference between independent proportions", method 10): both shares are
    uncertain, and neither interval collapses at 0 or 1. Rows count as independent.
    """
    low, _ = _wilson(share, n)
    _, high = _wilson(expected, m)
    return float(share - expected - np.hypot(share - low, high - expected))


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of ``n``."""
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)))
    return middle - half, middle + half
