"""Aggregates against rliable on the same inputs, and by hand where rliable says nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rliable import library, metrics

from gail.core.aggregates import (
    aggregates,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    performance_profile,
)

SHAPES = [(1, 1), (1, 26), (2, 3), (3, 1), (5, 26), (10, 57)]
OURS = {"median": median, "iqm": interquartile_mean, "mean": mean, "optimality_gap": optimality_gap}
THEIRS = {
    "median": metrics.aggregate_median,
    "iqm": metrics.aggregate_iqm,
    "mean": metrics.aggregate_mean,
    "optimality_gap": metrics.aggregate_optimality_gap,
}


def matrix(runs: int, tasks: int, seed: int = 0) -> np.ndarray:
    """Scores as they look on Atari: a few tasks far above 1, some below 0, runs that differ."""
    generator = np.random.default_rng(seed)
    return generator.lognormal(-0.3, 1.2, tasks) + generator.normal(0, 0.3, (runs, tasks))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OURS)
def test_point_estimates_are_rliables(name: str, shape: tuple[int, int]) -> None:
    scores = matrix(*shape)
    assert OURS[name](scores) == pytest.approx(THEIRS[name](scores), rel=0, abs=1e-12)
    assert aggregates(scores, repetitions=10)[name].value == OURS[name](scores)


def test_bootstrap_intervals_are_rliables_within_resampling_noise() -> None:
    scores = matrix(5, 26)
    np.random.seed(1)  # rliable draws from numpy's global stream, whatever random state it is given
    _, theirs = library.get_interval_estimates(
        {"ours": scores}, lambda x: np.array([function(x) for function in THEIRS.values()]), reps=2_000
    )
    ours = aggregates(scores, repetitions=20_000)
    for column, name in enumerate(THEIRS):
        low, high = theirs["ours"][:, column]
        width = high - low
        assert ours[name].low == pytest.approx(low, abs=0.06 * width), name
        assert ours[name].high == pytest.approx(high, abs=0.06 * width), name


def test_performance_profiles_are_rliables() -> None:
    scores, taus = matrix(5, 26), np.linspace(-0.5, 8, 81)
    taus[7] = scores[2, 3]  # a threshold that one score equals: above means strictly above
    np.random.seed(1)
    profiles, bands = library.create_performance_profile({"ours": scores}, taus, reps=500)
    profile = performance_profile(scores, taus)
    assert np.array_equal(profile.share, profiles["ours"])
    low, high = bands["ours"]
    # One run more or less of the 130 is the finest step that a band's end can take.
    assert np.abs(profile.low - low).max() <= 2 / scores.size
    assert np.abs(profile.high - high).max() <= 2 / scores.size


def test_equal_seeds_give_equal_intervals_and_bands() -> None:
    scores = matrix(3, 8)
    first, again = (aggregates(scores, repetitions=500, seed=4) for _ in range(2))
    assert first == again and first != aggregates(scores, repetitions=500, seed=5)
    bands = [performance_profile(scores, [0.5, 1.0], repetitions=200, seed=seed).low for seed in (4, 4, 5)]
    assert np.array_equal(bands[0], bands[1]) and not np.array_equal(bands[0], bands[2])


def test_intervals_do_not_depend_on_how_many_samples_fit_into_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = matrix(3, 8)
    whole = aggregates(scores, repetitions=400)
    monkeypatch.setattr("gail.core.aggregates._CHUNK", 7 * scores.size)
    assert aggregates(scores, repetitions=400) == whole


def test_resampling_stays_within_each_task() -> None:
    # Runs of a task that agree leave nothing to resample, however unlike the tasks are.
    scores = np.tile([0.0, 1.0, 10.0, 300.0], (4, 1))
    for name, estimate in aggregates(scores, repetitions=200).items():
        assert estimate.low == estimate.high == pytest.approx(estimate.value, abs=1e-12), name


def test_a_single_run_has_no_interval() -> None:
    assert all(math.isnan(e.low) and math.isnan(e.high) for e in aggregates([[0.5, 2.0]]).values())
    profile = performance_profile([[0.5, 2.0]], [0.0, 1.0, 2.0])
    assert profile.share.tolist() == [1.0, 0.5, 0.0]
    assert np.isnan(profile.low).all() and np.isnan(profile.high).all()


def test_aggregates_by_hand() -> None:
    # Task means 0.5, 1.5, 4; sorted runs 0, 1, 1, 2, 3, 5; a quarter of six is 1.5, so one is cut at each end.
    scores = [[0.0, 1.0, 3.0], [1.0, 2.0, 5.0]]
    assert (mean(scores), median(scores)) == (2.0, 1.5)
    assert interquartile_mean(scores) == (1 + 1 + 2 + 3) / 4
    assert optimality_gap(scores) == pytest.approx(1 / 6)


@pytest.mark.parametrize("scores", [[], [1.0, 2.0], [[]], [[0.5, float("nan")]]])
def test_what_is_no_matrix_of_scores_is_refused(scores: list[object]) -> None:
    with pytest.raises(ValueError, match="scores"):
        aggregates(scores)  # type: ignore[arg-type]
