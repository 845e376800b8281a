"""The audit's comparisons of two sets of rows: one column at a time, by correlations, and by nearest neighbours.

Sources: coverage and density are of Naeem et al. 2020 ("Reliable fidelity and diversity metrics for generative
models"), precision and recall of Kynkäänniemi et al. 2019 ("Improved precision and recall metric for assessing
generative models"). Distances are Euclidean between columns in units of the real data's spread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gail.generators.steps import Array

NEIGHBOURS = 5
"""k of the balls around each row."""
_CHUNK = 512
"""Rows whose distances to all others are in memory at a time."""
_SAME = 1e-6
"""Rows that are nearer are the same row, a column that varies less is constant."""


def kolmogorov_smirnov(a: Array, b: Array) -> Array:
    """``[C]``: the largest difference between the distribution functions of columns of ``[N, C]`` and ``[M, C]``."""
    result = np.empty(a.shape[1])
    for column in range(a.shape[1]):
        first, second = np.sort(a[:, column]), np.sort(b[:, column])
        at = np.concatenate([first, second])
        shares = (np.searchsorted(rows, at, side="right") / len(rows) for rows in (first, second))
        result[column] = np.abs(np.subtract(*shares)).max()
    return result


def correlations(rows: Array) -> Array:
    """``[C, C]``: correlations between columns of ``[N, C]``, in units of about 1; 0 with one that never varies."""
    centred = rows - rows.mean(axis=0)
    spread = np.sqrt(np.mean(centred**2, axis=0))
    scaled = np.where(spread > _SAME, centred, 0.0) / np.where(spread > _SAME, spread, 1.0)
    return np.asarray(scaled.T @ scaled / len(rows))


def correlation_gap(a: Array, b: Array) -> float:
    """The mean absolute difference between correlations of different columns that vary in either set."""
    varies = (a.std(axis=0) > _SAME) | (b.std(axis=0) > _SAME)
    if varies.sum() < 2:
        return 0.0
    above = np.triu_indices(int(varies.sum()), 1)
    return float(np.mean(np.abs(correlations(a[:, varies]) - correlations(b[:, varies]))[above]))


@dataclass(frozen=True)
class Neighbourhood:
    """How two sets of equally many rows lie in each other's k-nearest-neighbour balls."""

    coverage: float
    """Share of real rows with a generated one in their ball."""
    density: float
    """How many real balls a generated row lies in, over k: 1 on average where the sets are alike."""
    precision: float
    """Share of generated rows in any real ball."""
    recall: float
    """Share of real rows in any generated ball."""


def neighbourhood(real: Array, generated: Array) -> Neighbourhood:
    """Compare ``[N, C]`` with ``[M, C]``, in scaled columns; N and M should be the same, above :data:`NEIGHBOURS`."""
    first, second = torch.from_numpy(real), torch.from_numpy(generated)
    real_radius = _nearest(first, first, NEIGHBOURS + 1)[:, -1]
    generated_radius = _nearest(second, second, NEIGHBOURS + 1)[:, -1]
    covered = torch.zeros(len(first), dtype=torch.bool)
    recalled = torch.zeros(len(first), dtype=torch.bool)
    balls: list[Tensor] = []
    for rows in second.split(_CHUNK):
        start = len(balls) * _CHUNK
        distance = _distances(rows, first)
        inside = distance <= real_radius
        balls.append(inside.sum(dim=1))
        covered |= inside.any(dim=0)
        recalled |= (distance <= generated_radius[start : start + len(rows), None]).any(dim=0)
    counts = torch.cat(balls).double()
    return Neighbourhood(
        coverage=float(covered.double().mean()),
        density=float(counts.mean()) / NEIGHBOURS,
        precision=float((counts > 0).double().mean()),
        recall=float(recalled.double().mean()),
    )


Owners = tuple[NDArray[np.int64], NDArray[np.int64]]


def nearest_distances(rows: Array, base: Array, owners: Owners | None = None) -> Array:
    """How far each row is from the nearest of others.

    Args:
        rows: ``[N, C]``.
        base: ``[M, C]``.
        owners: whose each of ``rows`` ``[N]`` and of ``base`` ``[M]`` is; rows of one owner do not count.

    Returns:
        ``[N]``.
    """
    first, second = torch.from_numpy(rows), torch.from_numpy(base)
    parts = []
    for start in range(0, len(first), _CHUNK):
        distance = _distances(first[start : start + _CHUNK], second)
        if owners is not None:
            own, other = (torch.from_numpy(ids) for ids in owners)
            distance.masked_fill_(own[start : start + _CHUNK, None] == other, torch.inf)
        parts.append(distance.amin(dim=1))
    return np.asarray(torch.cat(parts).numpy())


def _nearest(rows: Tensor, base: Tensor, k: int) -> Tensor:
    """``[N, k]``: the distances to the nearest rows of ``base``, in ascending order."""
    k = min(k, len(base))
    return torch.cat([_distances(part, base).topk(k, dim=1, largest=False).values for part in rows.split(_CHUNK)])


def _distances(rows: Tensor, base: Tensor) -> Tensor:
    """By one matrix product in float64, which leaves 1e-8 of a row's length between equal rows: that is taken as 0."""
    distances = torch.cdist(rows, base, compute_mode="use_mm_for_euclid_dist")
    return distances.masked_fill_(distances < _SAME, 0.0)
