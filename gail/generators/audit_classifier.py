"""The audit's two-sample test: whether gradient-boosted trees can tell one set of rows from the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gail.core.errors import InputError
from gail.generators.steps import Array

FOLDS = 4
"""Of the cross-fitting: every row is judged by trees that saw no row of its episode."""
_LARGEST_EPISODE = 0.6
"""An episode with more than this share of the rows leaves too few for what is compared with it."""
_LEAF = 20
"""Rows in a leaf, where there are enough."""


def area_under_curve(scores: Array, labels: NDArray[np.bool_]) -> float:
    """The chance that a row with the label scores above one without, ties counting half (Mann-Whitney)."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(count) - (count - 1) / 2.0)[place]
    positive = int(labels.sum())
    above = ranks[labels].sum() - positive * (positive + 1) / 2.0
    return float(above / (positive * (len(labels) - positive)))


def blocks(episode: NDArray[np.int64], at_least: int, *, runs: int | None = None) -> NDArray[np.int64]:
    """``[N]``: what is split as a whole: episodes; where there are fewer than ``at_least``, or one holds most of the
    rows, ``runs`` (None: ``at_least``) runs of rows.
    """
    _, counts = np.unique(episode, return_counts=True)
    if len(counts) >= at_least and counts.max() <= _LARGEST_EPISODE * len(episode):
        return episode
    return np.arange(len(episode)) * (runs or at_least) // len(episode)


def separability(
    first: Array, first_episode: NDArray[np.int64], second: Array, second_episode: NDArray[np.int64], seed: int
) -> float:
    """The cross-fitted area under the ROC curve of trees that tell the rows ``first`` from ``second``.

    Args:
        first: ``[N, C]``.
        first_episode: ``[N]``: episodes are never split between training and judging.
        second: ``[M, C]``.
        second_episode: ``[M]``.
        seed: of the folds.

    Returns:
        0.5 where they cannot be told apart, 1 where always.

    Raises:
        InputError: where scikit-learn is not installed.
    """
    labels = np.arange(len(first) + len(second)) >= len(first)
    scores, fold = cross_fitted_scores(first, first_episode, second, second_episode, seed)
    # Scores of different trees are not comparable: each fold has its own curve.
    judged = [fold == held for held in range(FOLDS)]
    return float(np.mean([area_under_curve(scores[rows], labels[rows]) for rows in judged]))


def cross_fitted_scores(
    first: Array, first_episode: NDArray[np.int64], second: Array, second_episode: NDArray[np.int64], seed: int
) -> tuple[Array, NDArray[np.int64]]:
    """How much like ``second`` each row looks to trees that saw no row of its episode.

    Args:
        first: ``[N, C]``.
        first_episode: ``[N]``.
        second: ``[M, C]``.
        second_episode: ``[M]``.
        seed: of the folds.

    Returns:
        Probabilities of ``second`` for the rows of both ``[N + M]``, and each row's fold; probabilities of different
        folds are not comparable.

    Raises:
        InputError: where scikit-learn is not installed.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise InputError(
            "the two-sample test needs scikit-learn, which is not installed (pip install 'gail-toolkit[audit]')"
        ) from error
    rng = np.random.default_rng(seed)
    fold = np.concatenate([_folds(first_episode, rng), _folds(second_episode, rng)])
    rows = np.concatenate([first, second])
    labels = np.arange(len(rows)) >= len(first)
    scores = np.empty(len(rows))
    # A leaf of 20 of a few dozen rows would be the root: no two sets could be told apart.
    leaf = int(np.clip(len(rows) // (2 * _LEAF), 2, _LEAF))
    for held in range(FOLDS):
        trees = HistGradientBoostingClassifier(early_stopping=False, min_samples_leaf=leaf, random_state=seed)
        trees.fit(rows[fold != held], labels[fold != held])
        scores[fold == held] = trees.predict_proba(rows[fold == held])[:, 1]
    return scores, fold


def _folds(episode: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    groups, place = np.unique(blocks(episode, FOLDS), return_inverse=True)
    return np.asarray((rng.permutation(len(groups)) % FOLDS)[place])
