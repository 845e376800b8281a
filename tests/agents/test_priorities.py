"""Priorities: draws follow them, sums stay true."""

from __future__ import annotations

import numpy as np
import pytest

from gail.agents.priorities import Priorities


def test_rows_are_drawn_in_proportion_to_their_priorities() -> None:
    priorities = Priorities(1000)
    rows = np.array([0, 255, 256, 700, 999])
    shares = np.array([1.0, 2.0, 3.0, 0.5, 3.5])
    priorities.set(rows, shares)
    count = 100_000
    drawn = priorities.draw((np.arange(count) + np.random.default_rng(0).random(count)) / count)
    found, counts = np.unique(drawn, return_counts=True)
    assert found.tolist() == rows.tolist()
    # One draw from each of equal shares of the total: counts are exact up to the edges.
    assert np.abs(counts - shares * count / 10.0).max() <= 1.0


def test_the_ends_of_the_unit_interval_hit_rows_with_priority() -> None:
    priorities = Priorities(3000)
    for row in (0, 1, 1500, 2999):
        priorities.set(np.arange(3000), 0.0)
        priorities.set(np.array([row]), 0.1)
        assert priorities.draw(np.array([0.0, np.nextafter(1.0, 0.0)])).tolist() == [row, row]


def test_a_share_that_rounds_up_to_one_draws_the_last_row_with_priority() -> None:
    share = (31 + np.nextafter(1.0, 0.0)) / 32  # the last of 32 equal shares, as a batch of 32 draws it
    assert share == 1.0
    priorities = Priorities(3000)
    priorities.set(np.array([5, 700]), np.array([0.3, 0.1]))
    assert priorities.draw(np.array([0.0, share])).tolist() == [5, 700]


def test_changes_leave_no_trace_in_the_sums() -> None:
    priorities, generator = Priorities(2000), np.random.default_rng(1)
    for _ in range(200):
        priorities.set(generator.integers(2000, size=50), generator.random(50) * 10.0 ** generator.integers(-6, 6))
    assert priorities.total == pytest.approx(priorities.values.sum(), rel=1e-12)
    priorities.set(np.arange(2000), 0.0)
    assert priorities.total == 0.0


def test_of_a_row_named_twice_the_last_priority_counts() -> None:
    priorities = Priorities(10)
    priorities.set(np.array([4, 4]), np.array([1.0, 5.0]))
    assert priorities.total == priorities.values[4] == 5.0
