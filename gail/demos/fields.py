"""What every reader asks of a file's fields; each refusal is one line that names file and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gail.demos.errors import ROW_COUNTS, STEPS_AFTER_TERMINATION, DemosError

_LONGEST_ENV_ID = 500


def read_text(path: Path, name: str, value: np.ndarray) -> str:
    """The text in a 0-dimensional (or one-element) string array."""
    if value.size != 1 or value.dtype.kind not in "US":
        raise DemosError(f"{path}: field {name!r}: expected one text, found {value.dtype} {value.shape}")
    item = value.reshape(-1)[0]
    return item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def read_json_object(path: Path, name: str, text: str) -> dict[str, Any]:
    """The JSON object in ``text``, which the file's ``name`` field holds."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DemosError(f"{path}: field {name!r}: expected a JSON object, found {text[:60]!r}")
    return value


def read_json_file(path: Path) -> dict[str, Any]:
    """The JSON object in the file ``path``."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DemosError(f"{path}: expected a JSON object in UTF-8 ({str(error)[:100]})") from error
    return read_json_object(path, "the whole file", text)


def read_env_id(path: Path, env_id: object) -> str:
    """``env_id`` itself, where it is a printable text.

    It is a name and no more: whoever makes an environment from it asks ``require_registered`` first, so that a data
    file never chooses what is imported.
    """
    if not isinstance(env_id, str) or not 0 < len(env_id) <= _LONGEST_ENV_ID or not env_id.isprintable():
        raise DemosError(f"{path}: field 'env_id': expected an id such as 'Hopper-v5', found {str(env_id)[:80]!r}")
    return env_id


def require_numbers(path: Path, name: str, value: np.ndarray) -> np.ndarray:
    """``value`` itself, where it holds rows of booleans, integers or floats."""
    if value.dtype.kind not in "biuf":
        raise DemosError(f"{path}: field {name!r}: expected numbers, found {value.dtype}")
    if value.ndim == 0:
        raise DemosError(f"{path}: field {name!r}: expected rows, found a single number")
    return value


def require_rows(path: Path, name: str, value: np.ndarray, rows: int, why: str) -> np.ndarray:
    """``value`` itself, where it holds exactly ``rows`` rows; ``why`` says what they stand for."""
    found = len(value) if value.ndim else 0
    if found != rows:
        raise DemosError(f"{path}: field {name!r}: expected {rows} rows ({why}), found {found}", ROW_COUNTS)
    return value


def require_vector(path: Path, name: str, value: np.ndarray, rows: int, why: str) -> np.ndarray:
    """``value`` itself, where it has shape ``[rows]``; ``why`` says what a row stands for."""
    if value.ndim != 1:
        raise DemosError(f"{path}: field {name!r}: expected shape ({rows},), found {value.shape}")
    return require_rows(path, name, value, rows, why)


def last_flag(path: Path, name: str, episode: int, flags: np.ndarray) -> bool:
    """The end flag of an episode from its per-step ``flags`` ``[T]``.

    Raises:
        DemosError: where a flag is set before the last step: steps would follow an end.
    """
    early = np.flatnonzero(flags[:-1])
    if early.size:
        raise DemosError(
            f"{path}: episode {episode}: {name} is set at step {int(early[0])}, expected at the last of "
            f"{len(flags)} steps only (steps follow an end)",
            STEPS_AFTER_TERMINATION,
        )
    return bool(flags[-1])


def squeeze_discrete(actions: np.ndarray) -> np.ndarray:
    """Integer actions ``[N, 1]`` as ``[N]``: the shape of Gymnasium's Discrete actions."""
    is_index = actions.dtype.kind in "iu" and actions.ndim == 2 and actions.shape[1] == 1
    return actions[:, 0] if is_index else actions
