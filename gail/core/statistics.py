"""Statistics of scores: means with intervals, interquartile means, normalization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval."""

    mean: float
    low: float
    high: float
    count: int
    """How many values it is made of."""

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def mean_interval(values: Sequence[float] | np.ndarray, confidence: float = 0.95) -> Interval:
    """The mean of ``values`` with Student's t interval; one value has no interval (low = high = nan).

    Raises:
        ValueError: with no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("no values to take the mean of")
    mean = float(array.mean())
    if array.size == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    half = float(stats.sem(array) * stats.t.ppf(0.5 + confidence / 2, array.size - 1))
    return Interval(mean, mean - half, mean + half, int(array.size))


def normalized(value: float, random: float, expert: float) -> float:
    """``(value - random) / (expert - random)``: 0 plays like random, 1 like the expert; nan where both are equal."""
    span = expert - random
    return (value - random) / span if span != 0 else float("nan")
