"""Logged metrics as curves: thinned for drawing, and averaged over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gail.report.load import SeedRun, Training

MAX_POINTS = 240
"""A figure a few hundred pixels wide shows no more."""


@dataclass(frozen=True)
class Curve:
    """One metric against steps."""

    steps: np.ndarray
    """``[P]`` ascending."""
    values: np.ndarray
    """``[P]``, nan where there is a gap."""
    error: np.ndarray | None = None
    """``[P]`` standard error over seeds, or None for a single seed."""


def seed_curves(run: Training, metric: str) -> list[Curve]:
    """One curve for each seed that logged ``metric`` at least once."""
    curves = (_seed_curve(seed, metric) for seed in run.seeds)
    return [curve for curve in curves if curve is not None]


def _seed_curve(seed: SeedRun, metric: str) -> Curve | None:
    values = seed.metrics.get(metric)
    if values is None or not np.isfinite(values).any():
        return None
    return thin(Curve(seed.metrics["step"], values))


def thin(curve: Curve, points: int = MAX_POINTS) -> Curve:
    """At most ``points`` points, each the mean of as many neighbours (of those that are not nan)."""
    count = len(curve.steps)
    if count <= points:
        return curve
    edges = np.linspace(0, count, points + 1).astype(int)[:-1]
    finite = np.isfinite(curve.values)
    sums = np.add.reduceat(np.where(finite, curve.values, 0.0), edges)
    counts = np.add.reduceat(finite.astype(np.float64), edges)
    with np.errstate(invalid="ignore"):
        values = sums / counts
    return Curve(np.add.reduceat(curve.steps, edges) / np.diff([*edges, count]), values)


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """The mean over seeds, with its standard error, at the steps that all of them reached.

    Args:
        curves: at least one, of one metric; each has a finite value.

    Returns:
        The single curve itself, or the mean on the steps of the shortest one; empty where they share no steps.
    """
    if len(curves) == 1:
        return curves[0]
    finite = [Curve(c.steps[np.isfinite(c.values)], c.values[np.isfinite(c.values)]) for c in curves]
    start, end = max(c.steps[0] for c in finite), min(c.steps[-1] for c in finite)
    grid = min(finite, key=lambda c: float(c.steps[-1])).steps
    grid = grid[(grid >= start) & (grid <= end)]
    stacked = np.stack([np.interp(grid, c.steps, c.values) for c in finite])
    return Curve(grid, stacked.mean(axis=0), stacked.std(axis=0, ddof=1) / np.sqrt(len(finite)))
