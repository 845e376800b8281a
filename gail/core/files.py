"""Atomic files: a reader sees the old content or the new one, never half of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from gail.core.errors import InputError

_TEMPORARY = ".unfinished-"


def write_atomic(path: str | Path, write: Callable[[Path], None]) -> None:
    """Call ``write(temporary)`` beside ``path``, fsync, and rename over ``path``.

    A kill at any moment leaves either the previous file or the complete new one.

    Args:
        path: the final place; its folder is created where it is missing.
        write: writes the whole content to the path that it is given (same suffix as ``path``).

    Raises:
        InputError: where the disk is full or the folder cannot be written; ``path`` is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f"{_TEMPORARY}{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes private files; a result should have the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sweep_temporaries(directory: Path) -> None:
    """Remove what writes that were killed left in ``directory`` and below."""
    for leftover in directory.rglob(f"{_TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def is_unused(directory: Path) -> bool:
    """Whether ``directory`` does not exist, or holds nothing but what a killed write left."""
    if not directory.exists():
        return True
    return directory.is_dir() and all(item.name.startswith(_TEMPORARY) for item in directory.iterdir())


def write_text_atomic(path: str | Path, text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, atomically (see :func:`write_atomic`)."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomic(path, write)
