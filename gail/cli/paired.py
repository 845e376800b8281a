"""Arms that were trained with the same seeds: each one's mean, and what it gains over the first, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gail.core.statistics import Interval, mean_interval


@dataclass(frozen=True)
class PairedScore:
    """One arm beside the first."""

    score: Interval
    """Mean over seeds."""
    gain: Interval | None
    """Mean over seeds of the difference to the first arm; None for that one itself."""


def paired_scores(scores: Sequence[Mapping[str, float]], arms: Sequence[str]) -> dict[str, PairedScore]:
    """By arm.

    Args:
        scores: of each seed, by arm.
        arms: those to look at; the others are compared with the first.
    """
    first = arms[0]
    return {
        arm: PairedScore(
            mean_interval([seed[arm] for seed in scores]),
            None if arm == first else mean_interval([seed[arm] - seed[first] for seed in scores]),
        )
        for arm in arms
    }


def ends(interval: Interval | None) -> list[float] | None:
    """An interval for tables; None where there is none, as with one seed."""
    return [interval.low, interval.high] if interval is not None and interval.count > 1 else None
