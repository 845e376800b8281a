"""Intervals against a printed t-table; normalization by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gail.core.statistics import Interval, mean_interval, normalized


@pytest.mark.parametrize(("confidence", "quantile"), [(0.90, 2.132), (0.95, 2.776), (0.99, 4.604)])
def test_the_interval_is_the_t_tables_for_four_degrees_of_freedom(confidence: float, quantile: float) -> None:
    # 1..5: mean 3, sample variance (4 + 1 + 0 + 1 + 4) / 4 = 2.5, standard error sqrt(2.5 / 5) = 0.70711
    interval = mean_interval([1, 2, 3, 4, 5], confidence)
    assert interval.mean == 3.0
    assert interval.high == pytest.approx(3.0 + quantile * 0.70711, abs=1e-3)
    assert interval.low == pytest.approx(3.0 - quantile * 0.70711, abs=1e-3)
    assert interval.count == 5


def test_the_interval_is_a_95_percent_one_unless_asked_otherwise() -> None:
    # Two values: standard error |7 - 3| / 2 = 2, one degree of freedom: 12.706.
    interval = mean_interval(np.array([3.0, 7.0]))
    assert (interval.low, interval.high) == pytest.approx((5.0 - 25.412, 5.0 + 25.412), abs=2e-3)


def test_one_value_has_a_mean_and_no_interval() -> None:
    interval = mean_interval([4.5])
    assert (interval.mean, interval.count) == (4.5, 1)
    assert math.isnan(interval.low) and math.isnan(interval.high)


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert mean_interval([2.0, 2.0, 2.0]) == Interval(2.0, 2.0, 2.0, 3)


def test_no_values_are_refused() -> None:
    with pytest.raises(ValueError, match="no values"):
        mean_interval([])


def test_an_interval_reads_as_mean_and_bounds() -> None:
    assert str(mean_interval([1, 2, 3, 4, 5])) == "3 [1.037, 4.963]"


@pytest.mark.parametrize(
    ("value", "expected"), [(20.0, 0.0), (500.0, 1.0), (260.0, 0.5), (980.0, 2.0), (-100.0, -0.25)]
)
def test_normalized_scores_put_random_at_zero_and_the_expert_at_one(value: float, expected: float) -> None:
    assert normalized(value, random=20.0, expert=500.0) == expected


def test_normalized_scores_work_where_returns_are_negative() -> None:
    # Pendulum: random -1200, expert -200; -450 is three quarters of the way.
    assert normalized(-450.0, random=-1200.0, expert=-200.0) == 0.75


def test_normalized_scores_are_unknown_where_the_expert_is_no_better_than_random() -> None:
    assert math.isnan(normalized(3.0, random=3.0, expert=3.0))
    assert math.isnan(normalized(5.0, random=3.0, expert=3.0))
