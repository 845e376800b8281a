"""One loader for every kind of demonstration file: it sniffs the kind and calls that kind's reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gail.core.errors import InputError
from gail.demos import baselines, imitation_files, jsonl, minari_read, npy, npz, text
from gail.demos.archive import npz_members
from gail.demos.columns import Columns
from gail.demos.errors import DemosError
from gail.demos.recorded import ReadOptions
from gail.demos.types import Demonstrations
from gail.envs.ids import same_environment

READERS: dict[str, Callable[[Path, ReadOptions], Demonstrations]] = {
    npz.FORMAT: npz.read_flat_npz,
    baselines.FORMAT: baselines.read_baselines_npz,
    imitation_files.NPZ_FORMAT: imitation_files.read_imitation_npz,
    imitation_files.FOLDER_FORMAT: imitation_files.read_imitation_folder,
    minari_read.FORMAT: minari_read.read_minari,
    npy.FORMAT: npy.read_npy,
    text.FORMAT: text.read_csv,
    jsonl.FORMAT: jsonl.read_jsonl,
}
"""Every kind of file and its reader."""

_TABLES = (npy.FORMAT, text.FORMAT, jsonl.FORMAT)


def load_demos(
    path: str | Path,
    *,
    env_id: str | None = None,
    env_kwargs: dict[str, Any] | None = None,
    columns: Columns | None = None,
    action_shift: int = 0,
    episodes: int | None = None,
) -> Demonstrations:
    """Read demonstrations from a file or folder of any kind in :data:`READERS`, or from a local Minari id.

    Args:
        path: a file, a folder, or the id of a Minari dataset in ``MINARI_DATASETS_PATH`` (no download).
        env_id: the environment of a file that does not name one. A file that names another is refused:
            use ``dataclasses.replace`` on the result to claim that the two are the same.
        env_kwargs: what that environment was made with; used only where the file names no environment.
        columns: which columns hold what, for ``.npy``, CSV and JSONL.
        action_shift: 1 mends a file whose row t holds the action that led *to* row t (``check_demos``
            finds such files, rule ``shifted-actions``). One transition per episode is dropped for it.
        episodes: keep this many episodes from the start; None keeps all.

    Raises:
        InputError: one line naming the file, the field, what was found and what was expected.
    """
    place = locate(path)
    kind = sniff(place)
    if columns is not None and kind not in _TABLES:
        raise InputError(f"{place}: columns are for {', '.join(_TABLES)} files, this is {kind}")
    demos = READERS[kind](place, ReadOptions(columns, action_shift, env_id, dict(env_kwargs or {})))
    demos = replace(claim_env(demos, place, env_id, env_kwargs), read_as=_told(columns, action_shift, env_id))
    if episodes is not None:
        if not 1 <= episodes <= len(demos):
            raise InputError(f"{place}: episodes: expected 1 to {len(demos)}, found {episodes}")
        demos = demos.first(episodes)
    return demos


def _told(columns: Columns | None, action_shift: int, env_id: str | None) -> dict[str, Any]:
    """What decides how rows become steps, beside the file; the environment, where it says which rows begin episodes."""
    said: dict[str, Any] = {"action_shift": action_shift}
    if columns is not None:
        usual = asdict(Columns())
        said["columns"] = {name: value for name, value in asdict(columns).items() if value != usual[name]}
        said["env_id"] = env_id if columns.episode_by_jump else None
    return {name: value for name, value in said.items() if value}


def locate(path: str | Path) -> Path:
    """``path``; or the folder of the local Minari dataset that it is the id of."""
    if not Path(path).exists():
        folder = minari_read.local_minari_folder(str(path))
        if minari_read.minari_data_folder(folder):
            return folder
    return Path(path)


def claim_env(
    demos: Demonstrations, path: Path, env_id: str | None, env_kwargs: dict[str, Any] | None
) -> Demonstrations:
    """``demos`` of the file ``path`` with the environment that the user says they are of.

    Raises:
        InputError: where the file names another one.
    """
    if env_id is None:
        return demos
    if demos.env_id is None:
        return replace(demos, env_id=env_id, env_kwargs=dict(env_kwargs or {}))
    if not same_environment(env_id, demos.env_id):
        raise InputError(f"{path}: field 'env_id': expected {env_id!r}, found {demos.env_id!r}")
    return demos


def is_table(path: Path) -> bool:
    """Whether ``path`` is a file of one of the kinds that ``columns`` describe.

    Raises:
        InputError: as :func:`sniff`, where something is there.
    """
    return path.exists() and sniff(path) in _TABLES


def sniff(path: Path) -> str:
    """Which of :data:`READERS` can read ``path``, by its content first and its suffix second.

    Raises:
        InputError: where nothing is there, or no reader fits; pickles are named and refused.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, and no local Minari dataset of that id")
    return _sniff_folder(path) if path.is_dir() else _sniff_file(path)


def _sniff_folder(path: Path) -> str:
    if (path / "state.json").is_file():
        return imitation_files.FOLDER_FORMAT
    if minari_read.minari_data_folder(path):
        return minari_read.FORMAT
    if text.is_csv_folder(path):
        return text.FORMAT
    found = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
    raise DemosError(f"{path}: expected a Minari or Hugging Face folder, or obs* and act* text files; found {found}")


def _sniff_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise DemosError(f"{path}: cannot be read ({error.strerror})") from error
    if magic.startswith(b"PK"):
        members = set(npz_members(path))
        if "acts" in members:
            return imitation_files.NPZ_FORMAT
        return baselines.FORMAT if {"obs", "episode_starts"} <= members else npz.FORMAT
    if magic.startswith(b"\x93NUMPY"):
        return npy.FORMAT
    if magic.startswith(b"\x80"):
        raise DemosError(f"{path}: expected data, found a pickle, which can run code (nothing was decoded)")
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson", ".json"):
        return jsonl.FORMAT
    if suffix in text.SUFFIXES:
        return text.FORMAT
    if suffix == ".npz":
        raise DemosError(f"{path}: expected an npz archive, found a damaged or empty file")
    raise DemosError(f"{path}: no reader fits; expected one of {', '.join(READERS)}")
