"""Demonstrations that come with the package, made by `gail expert` and `gail demos collect` (see the README)."""

from __future__ import annotations

from pathlib import Path

from gail.core.errors import InputError

_FOLDER = Path(__file__).parent


def bundled_demos(env_id: str) -> Path:
    """The bundled file for an environment.

    Raises:
        InputError: where there is none, naming those that there are.
    """
    path = _FOLDER / f"{env_id}.npz"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in _FOLDER.glob("*.npz")))
        raise InputError(f"no bundled demonstrations of {env_id!r}; there are: {known}")
    return path
