from __future__ import annotations

import numpy as np

from gail.report.curves import Curve, mean_curve, thin


def test_thinned_curve_keeps_the_mean_and_skips_gaps() -> None:
    values = np.arange(1000.0)
    values[:10] = np.nan
    curve = thin(Curve(np.arange(1000.0), values), points=50)
    assert len(curve.steps) == 50
    assert curve.values[0] == np.mean(np.arange(10, 20))
    np.testing.assert_allclose(curve.values[1:], curve.steps[1:])


def test_short_curve_is_not_touched() -> None:
    curve = Curve(np.arange(5.0), np.arange(5.0))
    assert thin(curve, points=5) is curve


def test_mean_over_seeds_spans_the_steps_that_all_reached() -> None:
    a = Curve(np.array([1.0, 2.0, 3.0, 4.0]), np.array([np.nan, 2.0, 4.0, 6.0]))
    b = Curve(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 0.0]))
    mean = mean_curve([a, b])
    assert mean.steps.tolist() == [2.0, 3.0]
    assert mean.values.tolist() == [1.0, 2.0]
    # The standard error of {0, x} is x / 2.
    assert mean.error is not None
    np.testing.assert_allclose(mean.error, [1.0, 2.0])


def test_seeds_without_shared_steps_have_an_empty_mean() -> None:
    a, b = Curve(np.array([1.0]), np.array([1.0])), Curve(np.array([2.0]), np.array([1.0]))
    assert len(mean_curve([a, b]).steps) == 0
