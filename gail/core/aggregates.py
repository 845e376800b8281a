"""Aggregates of scores over runs and tasks, with stratified bootstrap intervals, and performance profiles.

Definitions of Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice". A matrix of
scores is ``[runs, tasks]``: row r holds one training run (seed) of every task.

Glossary:
    stratum   the runs of one task; a bootstrap sample draws as many runs of each task as there are, with replacement.
    tau       a score; a performance profile says which share of all runs scores above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores = NDArray[np.float64]

_CHUNK = 2_000_000
"""Scores held in memory at a time while resampling."""


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PerformanceProfile:
    """Which share of the runs scores above each of T thresholds."""

    taus: Scores
    """``[T]`` thresholds."""
    share: Scores
    """``[T]`` in [0, 1]: the share of all runs of all tasks with a score above."""
    low: Scores
    """``[T]``: the pointwise interval's lower end."""
    high: Scores
    """``[T]``: its upper end."""


def mean(scores: ArrayLike) -> float:
    """The mean over tasks of each task's mean over runs; a few large scores dominate it."""
    return float(_means(_matrix(scores)[None])[0])


def median(scores: ArrayLike) -> float:
    """The median over tasks of each task's mean over runs."""
    return float(_medians(_matrix(scores)[None])[0])


def interquartile_mean(scores: ArrayLike) -> float:
    """The mean of the middle half of all runs of all tasks (IQM): a quarter is cut at each end, rounded down."""
    return float(_interquartile_means(_matrix(scores)[None])[0])


def optimality_gap(scores: ArrayLike) -> float:
    """How far the runs stay below a score of 1 on average; scores above 1 count as 1. Lower is better."""
    return float(_optimality_gaps(_matrix(scores)[None])[0])


def aggregates(
    scores: ArrayLike, *, repetitions: int = 50_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Estimate]:
    """All four aggregates with percentile intervals of one stratified bootstrap over runs.

    Args:
        scores: ``[runs, tasks]``, normalized.
        repetitions: bootstrap samples.
        confidence: of the intervals.
        seed: of the resampling; equal seeds give equal intervals.

    Returns:
        ``median, iqm, mean, optimality_gap``. With a single run there is nothing to resample: low = high = nan.

    Raises:
        ValueError: where ``scores`` is no such matrix, is empty, or holds nan.
    """
    matrix = _matrix(scores)
    values = {name: float(function(matrix[None])[0]) for name, function in _AGGREGATES.items()}
    if len(matrix) == 1:
        return {name: Estimate(value, float("nan"), float("nan")) for name, value in values.items()}
    drawn: dict[str, list[Scores]] = {name: [] for name in _AGGREGATES}
    for samples in _resamples(matrix, repetitions, seed):
        for name, function in _AGGREGATES.items():
            drawn[name].append(function(samples))
    result = {}
    for name, value in values.items():
        low, high = _percentiles(np.concatenate(drawn[name]), confidence)
        result[name] = Estimate(value, float(low), float(high))
    return result


def performance_profile(
    scores: ArrayLike, taus: ArrayLike, *, repetitions: int = 2_000, confidence: float = 0.95, seed: int = 0
) -> PerformanceProfile:
    """The score distribution over all runs of all tasks, with a pointwise stratified bootstrap band.

    Args:
        scores: ``[runs, tasks]``, normalized.
        taus: ``[T]`` thresholds.
        repetitions: bootstrap samples.
        confidence: of the band at each threshold.
        seed: of the resampling; equal seeds give equal bands.

    Returns:
        The profile. With a single run there is nothing to resample: the band is nan.

    Raises:
        ValueError: where ``scores`` is no such matrix, is empty, or holds nan.
    """
    matrix, thresholds = _matrix(scores), np.asarray(taus, dtype=np.float64)
    share = _shares_above(matrix[None], thresholds)[0]
    if len(matrix) == 1:
        unknown = np.full_like(share, np.nan)
        return PerformanceProfile(thresholds, share, unknown, unknown)
    drawn = [_shares_above(samples, thresholds) for samples in _resamples(matrix, repetitions, seed)]
    low, high = _percentiles(np.concatenate(drawn), confidence)
    return PerformanceProfile(thresholds, share, low, high)


def _matrix(scores: ArrayLike) -> Scores:
    matrix = np.asarray(scores, dtype=np.float64)
    if matrix.ndim != 2 or matrix.size == 0:
        raise ValueError(f"scores have shape {list(matrix.shape)}, expected [runs, tasks], neither empty")
    if np.isnan(matrix).any():
        raise ValueError("scores hold nan")
    return matrix


def _resamples(matrix: Scores, repetitions: int, seed: int) -> Iterator[Scores]:
    """Bootstrap samples, several ``[B, runs, tasks]`` at a time."""
    generator = np.random.default_rng(seed)
    runs, tasks = matrix.shape
    batch = max(1, _CHUNK // matrix.size)
    for start in range(0, repetitions, batch):
        rows = generator.integers(runs, size=(min(batch, repetitions - start), runs, tasks))
        yield matrix[rows, np.arange(tasks)]


def _percentiles(values: NDArray[np.float64], confidence: float) -> Scores:
    tail = 50.0 * (1.0 - confidence)
    return np.percentile(values, [tail, 100.0 - tail], axis=0)


def _means(samples: Scores) -> Scores:
    return samples.mean(axis=1).mean(axis=1)


def _medians(samples: Scores) -> Scores:
    return np.median(samples.mean(axis=1), axis=1)


def _interquartile_means(samples: Scores) -> Scores:
    flat = np.sort(samples.reshape(len(samples), -1), axis=1)
    cut = flat.shape[1] // 4
    return flat[:, cut : flat.shape[1] - cut].mean(axis=1)


def _optimality_gaps(samples: Scores) -> Scores:
    return 1.0 - np.minimum(samples, 1.0).reshape(len(samples), -1).mean(axis=1)


def _shares_above(samples: Scores, taus: Scores) -> Scores:
    """``[B, T]``: for each sample, the share of its scores above each threshold."""
    flat = np.sort(samples.reshape(len(samples), -1), axis=1)
    return np.stack([(len(row) - np.searchsorted(row, taus, side="right")) / len(row) for row in flat])


_AGGREGATES: Final[dict[str, Callable[[Scores], Scores]]] = {
    "median": _medians,
    "iqm": _interquartile_means,
    "mean": _means,
    "optimality_gap": _optimality_gaps,
}
