"""What a set of demonstrations holds, as plain data for printing."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from gail.core.errors import InputError
from gail.core.leaves import map_leaves
from gail.demos.types import Demonstrations


def describe(demos: Demonstrations) -> dict[str, Any]:
    """A JSON-able summary of ``demos``.

    Returns:
        ``env_id``, ``env_kwargs``, ``episodes``, ``steps``, ``return`` and ``length`` (each with mean,
        std, min, max; ``return`` is None where rewards are not recorded), ``ends`` (episodes by end flag,
        unknown counted apart), ``observations`` and ``actions`` (shape and dtype of a row; by leaf, if several),
        ``source``, ``format``, ``kind``, ``dropped``, ``path``, ``hash`` (None where not read from a file),
        ``synthetic`` and ``generator``.

    Raises:
        InputError: where the file that they were read from has gone.
    """
    returns = demos.returns
    first = demos.trajectories[0]
    return {
        "env_id": demos.env_id,
        "env_kwargs": demos.env_kwargs,
        "episodes": len(demos),
        "steps": demos.steps,
        "return": None if returns is None else _summary(returns),
        "length": _summary(np.asarray([len(t) for t in demos])),
        "ends": {
            "terminated": sum(t.terminated is True for t in demos),
            "truncated": sum(t.truncated is True for t in demos),
            "neither": sum(t.terminated is False and t.truncated is False for t in demos),
            "unknown": sum(not (t.terminated or t.truncated) and None in (t.terminated, t.truncated) for t in demos),
        },
        "observations": map_leaves(_row_layout, first.observations),
        "actions": _row_layout(first.actions),
        "source": demos.source,
        "format": demos.format,
        "kind": demos.kind,
        "dropped": demos.dropped,
        "path": None if demos.path is None else str(demos.path),
        "hash": None if demos.path is None else file_hash(demos.path),
        "synthetic": demos.generator is not None,
        "generator": demos.generator,
    }


def _row_layout(rows: np.ndarray) -> dict[str, Any]:
    return {"shape": list(rows.shape[1:]), "dtype": str(rows.dtype)}


def file_hash(path: str | Path) -> str:
    """The SHA-256 of a file, in hex; of a folder, over its files' relative names and contents in order.

    Raises:
        InputError: where nothing readable is there.
    """
    path = Path(path)
    digest = hashlib.sha256()
    try:
        if path.is_dir():
            for file in sorted(item for item in path.rglob("*") if item.is_file()):
                digest.update(file.relative_to(path).as_posix().encode() + b"\0")
                digest.update(bytes.fromhex(file_hash(file)))
        else:
            with open(path, "rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()


def _summary(values: np.ndarray) -> dict[str, float | None]:
    numbers = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    # JSON has no NaN.
    return {name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}
