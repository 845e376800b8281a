"""Some rows of a set of transitions that need not fit into memory: every row is read and checked, few are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gail.demos.archive import NpzRows, npz_members, read_npz
from gail.demos.errors import DemosError
from gail.demos.fields import read_text, require_numbers
from gail.demos.load import claim_env, sniff
from gail.demos.npz import FORMAT, TEXTS, parse_flat_npz
from gail.demos.recorded import ReadOptions
from gail.demos.types import Demonstrations

_BLOCK = 10_000
"""Rows in memory at a time."""
_PER_ROW = ("actions", "rewards", "lengths", "terminated", "truncated", "seeds", "agents")
_NUMBERS = ("observations", "actions", "rewards")


def count_transitions(path: Path) -> int | None:
    """How many rows the file holds, where :func:`read_some` can read it: flat npz of kind ``transitions``, with
    observations of one part. None for everything else.

    Raises:
        DemosError: where the file is damaged.
    """
    if path.is_dir() or not path.exists() or sniff(path) != FORMAT:
        return None
    members = set(npz_members(path))
    if not {"kind", "observations", "lengths"} <= members or "stack" in members:
        return None
    if read_text(path, "kind", read_npz(path, ["kind"])["kind"]) != "transitions":
        return None
    with NpzRows(path, ["lengths"]) as rows:
        return rows.shapes["lengths"][0]


def read_some(
    path: Path, chosen: np.ndarray, *, env_id: str | None = None, env_kwargs: dict[str, Any] | None = None
) -> Demonstrations:
    """The transitions ``chosen`` of a file that :func:`count_transitions` counts.

    Args:
        path: the file.
        chosen: numbers of the rows, rising.
        env_id: as of :func:`gail.load_demos`.
        env_kwargs: likewise.

    Raises:
        InputError: one line naming file and field: where any row of the file is damaged, not finite or no single step.
    """
    present = npz_members(path)
    names = ["observations", *(name for name in _PER_ROW if name in present)]
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with NpzRows(path, names) as rows:
        total = rows.shapes["lengths"][0]
        for name in names:
            expected = 2 * total if name == "observations" else total
            if rows.shapes[name][0] != expected:
                raise DemosError(
                    f"{path}: field {name!r}: expected {expected} rows ({total} transitions), "
                    f"found {rows.shapes[name][0]}"
                )
        for start in range(0, total, _BLOCK):
            count = min(_BLOCK, total - start)
            picks = chosen[np.searchsorted(chosen, start) : np.searchsorted(chosen, start + count)] - start
            for name in names:
                per_row = 2 if name == "observations" else 1
                block = rows.read(name, per_row * count).reshape(count, per_row, *rows.shapes[name][1:])
                _check(path, name, block, start)
                kept[name].append(block[picks].reshape(-1, *rows.shapes[name][1:]))
    data = {name: np.concatenate(parts) for name, parts in kept.items()}
    texts = read_npz(path, [name for name in TEXTS if name in present])
    return claim_env(parse_flat_npz(path, {**data, **texts}, ReadOptions()), path, env_id, env_kwargs)


def _check(path: Path, name: str, block: np.ndarray, start: int) -> None:
    """Refuse a block ``[count, rows per transition, ...]`` whose first transition has number ``start``."""
    if name == "lengths" and not (block == 1).all():
        raise DemosError(f"{path}: field 'lengths': expected 1 step in each transition, found others")
    if name in _NUMBERS:
        finite = np.isfinite(require_numbers(path, name, block))
        if not finite.all():
            row = start + int(np.argmin(finite.reshape(len(block), -1).all(axis=1)))
            raise DemosError(f"{path}: field {name!r} of transition {row} holds NaN or infinity, expected numbers")
