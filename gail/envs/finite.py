"""NaN and infinity in what an environment returned; imports no torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bad_value(rows: NDArray[Any], what: str) -> tuple[int, str] | None:
    """The first row of ``rows`` ``[n, ...]`` with NaN or infinity, and in words what it returned; None without one.

    Args:
        rows: one row per environment.
        what: what the rows are: "an observation", "the reward".
    """
    # One sum tells, except that finite numbers may overflow it: the exact test comes second.
    if rows.dtype.kind != "f" or math.isfinite(np.add.reduce(rows, axis=None)) or np.isfinite(rows).all():
        return None
    bad = np.argwhere(~np.isfinite(rows))[0]
    place = f" at {bad[1:].tolist()}" if len(bad) > 1 else ""
    return int(bad[0]), f"returned {rows[tuple(bad)]} in {what}{place}"
