"""The audit's test of copies: which rows are nearer to a training item than held-out real rows are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gail.demos import Trajectory
from gail.generators.audit_classifier import blocks
from gail.generators.audit_distances import nearest_distances
from gail.generators.audit_view import View, some
from gail.generators.steps import Array, steps_of

NEAR = 0.01
"""A near-copy is nearer to a training item than this share of held-out rows is."""


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
        """Hold out the real trajectories that are no training items, or each training episode in turn."""
        learned = view.learned
        training = view.all_real if learned is view.recorded else steps_of(learned)
        base, owner = view.scaled(training), blocks(training.episode, 2)
        seen = {_fingerprint(trajectory) for trajectory in learned}
        fresh = [place for place, trajectory in enumerate(view.recorded) if _fingerprint(trajectory) not in seen]
        if fresh:
            held = some(view.all_real, view.config.rows, view.rng, among=fresh)
            described = f"{len(fresh)} real trajectories that are not among the training items"
            return cls(base, nearest_distances(view.scaled(held), base), described)
        rows = np.sort(view.rng.permutation(len(training))[: view.config.rows])
        held_out = nearest_distances(base[rows], base, (owner[rows], owner))
        return cls(base, held_out, "each training episode in turn, against the others")

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


def _fingerprint(trajectory: Trajectory) -> bytes:
    return np.ascontiguousarray(trajectory.observations).tobytes() + np.ascontiguousarray(trajectory.actions).tobytes()
