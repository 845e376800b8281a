"""Writing demonstrations: flat npz or Minari."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from gail.core.errors import InputError
from gail.demos.minari_write import require_minari_id, write_minari
from gail.demos.npz import write_flat_npz
from gail.demos.types import Demonstrations


class _Writer(Protocol):
    def __call__(self, demos: Demonstrations, path: Path, *, overwrite: bool) -> None: ...


WRITERS: dict[str, _Writer] = {"npz": write_flat_npz, "minari": write_minari}
"""Every kind of file that is written, and its writer."""


def save_demos(demos: Demonstrations, path: str | Path, format: str | None = None, *, overwrite: bool = False) -> Path:
    """Write ``demos`` to ``path`` and return it; converting a file is loading and saving it.

    Args:
        demos: what to write.
        path: a file for flat npz, a folder for Minari (its last component is the dataset's id).
        format: ``npz`` or ``minari``; None: npz where ``path`` ends in ``.npz``, else Minari.
        overwrite: whether an existing ``path`` may be replaced.

    Raises:
        InputError: where ``path`` exists and ``overwrite`` is False, or ``demos`` does not fit the layout.
    """
    path = Path(path)
    WRITERS[require_name(path, format)](demos, path, overwrite=overwrite)
    return path


def require_name(path: Path, format: str | None = None) -> str:
    """The format that :func:`save_demos` writes to ``path``: asked before the work whose result is to go there.

    Raises:
        InputError: where there is no such format, or none of its files has such a name.
    """
    kind = format or ("npz" if path.suffix == ".npz" else "minari")
    if kind not in WRITERS:
        raise InputError(f"{path}: format: expected {' or '.join(WRITERS)}, found {kind!r}")
    if kind == "minari":
        require_minari_id(path)
    return kind
