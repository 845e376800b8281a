"""The audit's measures on sets whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gail.generators.audit_classifier import area_under_curve, blocks, separability
from gail.generators.audit_distances import correlation_gap, kolmogorov_smirnov, nearest_distances, neighbourhood


def test_kolmogorov_smirnov_is_the_largest_gap_of_the_distribution_functions() -> None:
    a = np.array([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    b = np.array([[2.5, 1.0], [3.5, 1.0]])
    assert kolmogorov_smirnov(a, b).tolist() == [0.75, 0.0]


def test_area_under_the_curve_equals_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 5, 200).astype(float), rng.random(200) < 0.3
    assert area_under_curve(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_correlation_gap_of_a_column_that_changes_sign() -> None:
    x = np.random.default_rng(0).normal(size=1000)
    constant = np.ones(1000)
    a, b = np.column_stack([x, x, constant]), np.column_stack([x, -x, constant])
    assert correlation_gap(a, b) == pytest.approx(2.0) and correlation_gap(a, a) == 0.0


def test_neighbourhoods_of_equal_distant_and_collapsed_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 3))
    alike = neighbourhood(a, b)
    assert min(alike.coverage, alike.precision, alike.recall) > 0.85 and alike.density == pytest.approx(1.0, abs=0.15)
    apart = neighbourhood(a, b + 100.0)
    assert (apart.coverage, apart.density, apart.precision, apart.recall) == (0.0, 0.0, 0.0, 0.0)
    collapsed = neighbourhood(a, a[:20].repeat(20, axis=0) + 1e-6 * b)
    assert collapsed.precision == 1.0 and collapsed.coverage < 0.4 and collapsed.recall < 0.1


def test_rows_of_one_owner_are_no_neighbours() -> None:
    base = np.array([[0.0], [1.0], [5.0]])
    owner = np.array([0, 0, 1])
    assert nearest_distances(base, base).tolist() == pytest.approx([0.0, 0.0, 0.0])
    assert nearest_distances(base, base, (owner, owner)).tolist() == pytest.approx([5.0, 4.0, 4.0])


def test_trees_that_could_memorize_episodes_do_not_separate_like_sets() -> None:
    rng = np.random.default_rng(0)
    # Every episode has a place of its own: split by rows, the trees would know whose it is.
    place = rng.normal(size=(40, 2)).repeat(25, axis=0)
    episode = np.arange(40).repeat(25)
    values = place + 0.01 * rng.normal(size=place.shape)
    first = episode < 20
    alike = separability(values[first], episode[first], values[~first], episode[~first], seed=0)
    assert alike < 0.75
    apart = separability(values[first], episode[first], values[first] + 3.0, episode[first], seed=0)
    assert apart > 0.9


def test_rows_that_repeat_exactly_lie_at_distance_zero() -> None:
    rows = np.random.default_rng(0).normal(size=(300, 25)) * 3
    assert (nearest_distances(rows, rows.copy()) == 0).all()
    repeated = rows[:30].repeat(10, axis=0)
    found = neighbourhood(repeated, repeated.copy())
    assert (found.coverage, found.density, found.precision, found.recall) == (1.0, 2.0, 1.0, 1.0)


def test_an_episode_with_most_of_the_rows_is_split_into_runs() -> None:
    assert blocks(np.array([0, 1, 1, 1, 1, 1]), 2).tolist() == [0, 0, 0, 1, 1, 1]
    assert blocks(np.array([0, 0, 1, 1]), 4, runs=2).tolist() == [0, 0, 1, 1]


def test_few_episodes_are_split_into_runs_of_rows() -> None:
    assert blocks(np.array([0, 0, 1, 1]), 2).tolist() == [0, 0, 1, 1]
    assert blocks(np.zeros(6, dtype=np.int64), 3).tolist() == [0, 0, 1, 1, 2, 2]
