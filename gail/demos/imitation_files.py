"""The `imitation` library's demonstrations: its old npz, and the Hugging Face folder that replaced it.

Both hold ``obs`` (T + 1 rows per episode), ``acts``, ``terminal``, optionally ``rews``, and ``infos``.
``terminal`` is True where the episode ended, by the task *or* a time limit (so the flags are unknown), and
False for a piece cut by the recorder. ``infos`` are pickles in the npz and jsonpickle texts in the folder:
either can run code, so they are never decoded. Layout: HumanCompatibleAI/imitation 1.0.1,
``data/serialize.py``, ``data/huggingface_utils.py``, ``data/rollout.py`` (``terminal=done``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gail.demos.archive import read_npz
from gail.demos.errors import DemosError
from gail.demos.fields import (
    read_json_file,
    require_numbers,
    require_rows,
    require_vector,
    squeeze_discrete,
)
from gail.demos.recorded import ReadOptions, RecordedEpisode, assemble, split_rows
from gail.demos.types import Demonstrations

NPZ_FORMAT = "imitation-npz"
FOLDER_FORMAT = "imitation-huggingface"


def read_imitation_npz(path: Path, options: ReadOptions) -> Demonstrations:
    """Read the old npz: flat arrays, cut before the steps in ``indices`` ``[E - 1]``.

    (The library's own loader counts ``len(indices)`` episodes after cutting at ``indices``, so that
    ``obs`` is cut at ``indices + arange(1, E)``: one more row per episode than ``acts``.)

    Raises:
        DemosError: one line naming the file, the field, what was found and what was expected.
    """
    data = read_npz(path, ("obs", "acts", "indices", "terminal"), ("rews",))
    for name, value in data.items():
        require_numbers(path, name, value)
    steps, indices = len(data["acts"]), data["indices"].reshape(-1)
    if indices.size and indices.dtype.kind not in "iu":
        raise DemosError(f"{path}: field 'indices': expected integers, found {indices.dtype}")
    bounds = [0, *(int(index) for index in indices), steps]
    lengths = np.diff(bounds).tolist()
    if min(lengths) < 1:
        raise DemosError(f"{path}: field 'indices': expected rising cuts within {steps} steps")
    episodes = len(lengths)
    require_rows(path, "obs", data["obs"], steps + episodes, f"{steps} steps in {episodes} episodes")
    require_vector(path, "terminal", data["terminal"], episodes, "one per episode")
    rewards: list[np.ndarray] | list[None] = [None] * episodes
    if "rews" in data:
        require_vector(path, "rews", data["rews"], steps, "one per step")
        rewards = split_rows(data["rews"], lengths)
    recorded = map(
        _episode,
        split_rows(data["obs"], [length + 1 for length in lengths]),
        split_rows(data["acts"], lengths),
        rewards,
        data["terminal"].astype(bool).tolist(),
    )
    trajectories, dropped = assemble(path, recorded, has_last_successor=True, action_shift=options.action_shift)
    return Demonstrations(trajectories, path=path, format=NPZ_FORMAT, dropped=dropped)


def read_imitation_folder(path: Path, options: ReadOptions) -> Demonstrations:
    """Read the folder that ``datasets.save_to_disk`` wrote: Arrow files with one episode per row.

    Raises:
        DemosError: one line naming the file, the field, what was found and what was expected.
    """
    import pyarrow as pa

    state = read_json_file(path / "state.json")
    recorded: list[RecordedEpisode] = []
    for name in _data_files(path, state):
        try:
            with pa.memory_map(str(path / name)) as source, pa.ipc.open_stream(source) as reader:
                for batch in reader:
                    recorded += _episodes_of_batch(path / name, batch)
        except (pa.ArrowException, OSError) as error:
            raise DemosError(f"{path / name}: expected an Arrow stream ({str(error)[:120]})") from error
    trajectories, dropped = assemble(path, recorded, has_last_successor=True, action_shift=options.action_shift)
    return Demonstrations(trajectories, path=path, format=FOLDER_FORMAT, dropped=dropped)


def _data_files(path: Path, state: dict[str, Any]) -> list[str]:
    if state.get("_indices_data_files"):
        raise DemosError(f"{path}: field '_indices_data_files': expected a set saved after flatten_indices()")
    entries = state.get("_data_files")
    found = [entry.get("filename") for entry in entries if isinstance(entry, dict)] if entries else []
    # A name from the file must not lead out of the folder.
    names = [name for name in found if isinstance(name, str) and Path(name).name == name]
    if not names or len(names) < len(found):
        raise DemosError(f"{path}: field '_data_files': expected file names in the folder, found {found}")
    return names


def _episodes_of_batch(path: Path, batch: Any) -> list[RecordedEpisode]:
    for name in ("obs", "acts", "terminal"):
        if name not in batch.schema.names:
            raise DemosError(f"{path}: column {name!r} is missing; found {', '.join(batch.schema.names)}")
    has_rewards = "rews" in batch.schema.names
    return [
        _episode(
            _rows(path, "obs", batch.column("obs")[row]),
            _rows(path, "acts", batch.column("acts")[row]),
            _rows(path, "rews", batch.column("rews")[row]) if has_rewards else None,
            bool(batch.column("terminal")[row].as_py()),
        )
        for row in range(batch.num_rows)
    ]


def _rows(path: Path, name: str, cell: Any) -> np.ndarray:
    """The nested list in one cell as an array ``[rows, ...]``."""
    import pyarrow as pa

    values, shape = cell.values, []
    while pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        widths = values.value_lengths().unique().to_pylist()
        if len(widths) != 1:
            raise DemosError(f"{path}: column {name!r}: expected rows of equal length, found {len(widths)} lengths")
        shape.append(widths[0])
        values = values.flatten()
    array = values.to_numpy(zero_copy_only=False)
    return require_numbers(path, name, array.reshape(len(cell.values), *shape))


def _episode(obs: np.ndarray, acts: np.ndarray, rews: np.ndarray | None, terminal: bool) -> RecordedEpisode:
    if terminal:
        return RecordedEpisode(obs, squeeze_discrete(acts), rews)
    return RecordedEpisode(obs, squeeze_discrete(acts), rews, terminated=False, truncated=True)
