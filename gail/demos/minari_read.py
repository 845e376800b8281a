"""Minari datasets: HDF5, Arrow and Parquet folders, read without building anything that they name.

Layout: Farama-Foundation/Minari 0.5.4, ``minari/dataset/_storages``. Minari itself is not used to read,
because it makes the environment of an ``EnvSpec`` found in a file (whose entry point can run a command)
where the spaces are missing. Here the spec is JSON text: its id and keyword arguments are read, no more.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gail.core.leaves import Leaves, map_leaves, named_leaves
from gail.demos.errors import DemosError
from gail.demos.fields import (
    last_flag,
    read_env_id,
    read_json_file,
    read_json_object,
    require_numbers,
    require_rows,
)
from gail.demos.recorded import ReadOptions, RecordedEpisode, assemble
from gail.demos.types import Demonstrations
from gail.envs.atari import PROTOCOL_KEYWORDS, is_atari

FORMAT = "minari"
UNKNOWN_END = "gail_unknown_end"
ENV_ID, ENV_KWARGS = "gail_env_id", "gail_env_kwargs"
"""Where the environment stands that has no spec in Gymnasium's registry."""
_FLAGS = ("terminations", "truncations")


def local_minari_folder(dataset_id: str) -> Path:
    """Where Minari keeps ``dataset_id`` on this machine (nothing is downloaded)."""
    root = os.environ.get("MINARI_DATASETS_PATH") or str(Path.home() / ".minari" / "datasets")
    return Path(root) / dataset_id


def minari_data_folder(path: Path) -> Path | None:
    """The folder with ``metadata.json`` of the dataset at ``path``, or None where it is no dataset."""
    for folder in (path, path / "data"):
        if (folder / "metadata.json").is_file():
            return folder
    return None


def read_minari(path: Path, options: ReadOptions) -> Demonstrations:
    """Read a Minari dataset folder (the dataset's own, or its ``data`` folder).

    Raises:
        DemosError: one line naming the file, the field, what was found and what was expected.
    """
    folder = minari_data_folder(path)
    if folder is None:
        raise DemosError(f"{path}: expected a Minari dataset with metadata.json, found none")
    metadata = read_json_file(folder / "metadata.json")
    layout = metadata.get("data_format", "hdf5")
    readers = {"hdf5": _hdf5_episodes, "arrow": _arrow_episodes, "parquet": _arrow_episodes}
    if layout not in readers:
        raise DemosError(f"{folder}: field 'data_format': expected one of {sorted(readers)}, found {layout!r}")
    trajectories, dropped = assemble(
        folder, readers[layout](folder, metadata), has_last_successor=True, action_shift=options.action_shift
    )
    env_id, env_kwargs = _environment(folder, metadata)
    generator = metadata.get("gail_generator")
    return Demonstrations(
        trajectories,
        env_id=env_id,
        env_kwargs=env_kwargs,
        source=str(metadata.get("gail_source") or metadata.get("dataset_id", "")),
        kind=str(metadata.get("gail_kind", "episodes")),
        generator=generator if isinstance(generator, dict) else None,
        path=path,
        format=FORMAT,
        dropped=dropped,
    )


def _environment(folder: Path, metadata: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    if ENV_ID in metadata:
        kwargs = metadata.get(ENV_KWARGS)
        where = folder / "metadata.json"
        return read_env_id(where, metadata[ENV_ID]), kwargs if isinstance(kwargs, dict) else {}
    text = metadata.get("env_spec")
    if not isinstance(text, str):
        return None, {}
    spec = read_json_object(folder / "metadata.json", "env_spec", text)
    kwargs = spec.get("kwargs") or {}
    if not isinstance(kwargs, dict):
        raise DemosError(f"{folder}: field 'env_spec': expected kwargs as a JSON object, found {kwargs!r:.60}")
    env_id = read_env_id(folder / "metadata.json", spec.get("id"))
    if is_atari(env_id):
        # Gymnasium's class observes the screen as it is where nothing else is said.
        return env_id, {"obs_type": "rgb", **{name: kwargs[name] for name in kwargs if name in PROTOCOL_KEYWORDS}}
    # Drawing is no part of the task, and what the registry says itself was not asked for.
    usual: dict[str, Any] = {"render_mode": kwargs.get("render_mode")}
    if kwargs:
        import gymnasium as gym

        registered = gym.registry.get(env_id)
        usual |= registered.kwargs if registered else {}
    asked = {name: value for name, value in kwargs.items() if name not in usual or usual[name] != value}
    return env_id, asked


def _hdf5_episodes(folder: Path, metadata: dict[str, Any]) -> Iterator[RecordedEpisode]:
    import h5py

    path = folder / "main_data.hdf5"
    try:
        with h5py.File(path, "r") as file:
            names = [name for name in file if name.startswith("episode_")]
            for index, name in enumerate(sorted(names, key=lambda name: int(name.removeprefix("episode_")))):
                yield _hdf5_episode(path, index, file[name], metadata)
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, DemosError):
            raise
        raise DemosError(f"{path}: expected Minari's HDF5 layout ({str(error)[:120]})") from error


def _hdf5_episode(path: Path, index: int, group: Any, metadata: dict[str, Any]) -> RecordedEpisode:
    def read(name: str) -> Leaves:
        import h5py

        where = f"episode {index}: {name}"
        link = group.get(name, getlink=True)
        if link is None:
            raise DemosError(f"{path}: {where} is missing; found {', '.join(group)}")
        item = group[name] if isinstance(link, h5py.HardLink) else None
        if isinstance(item, h5py.Group):
            if name != "observations" and not name.startswith("observations/"):
                raise DemosError(f"{path}: {where}: expected one array, found parts {', '.join(item)}")
            parts: dict[str, Any] = {}
            for key in item:
                # Minari calls the parts of a tuple _index_0 and so on.
                inner, short = read(f"{name}/{key}"), key.removeprefix("_index_")
                parts |= dict(named_leaves(short, inner))
            return parts
        # Links and external storage would read other files of this machine.
        if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
            raise DemosError(f"{path}: {where}: expected an array in the file itself, found a link elsewhere")
        return np.asarray(item[()])

    images = {
        name: _is_jpeg(metadata, space)
        for name, space in (("observations", "observation_space"), ("actions", "action_space"))
    }
    arrays = {
        name: _decode_images(path, read(name))
        if is_jpeg
        else map_leaves(lambda rows, name=name: require_numbers(path, name, rows), read(name))
        for name, is_jpeg in images.items()
    }
    seed = group.attrs.get("seed")
    return _episode(
        path,
        index,
        arrays | {name: read(name) for name in ("rewards", *_FLAGS)},
        seed,
        unknown_end=bool(group.attrs.get(UNKNOWN_END, False)),
    )


def _arrow_episodes(folder: Path, metadata: dict[str, Any]) -> Iterator[RecordedEpisode]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    layout = metadata["data_format"]
    parts = sorted((part for part in folder.iterdir() if part.name.isdecimal()), key=lambda part: int(part.name))
    for index, part in enumerate(parts):
        try:
            files = sorted(str(file) for file in part.glob("part-*"))
            table = ds.dataset(files, format=layout).to_table().combine_chunks()
            columns = {name: table.column(name).combine_chunks() for name in ("observations", "actions")}
            arrays = {name: np.asarray(table.column(name)) for name in ("rewards", *_FLAGS)}
        except (pa.ArrowException, OSError, KeyError) as error:
            raise DemosError(f"{part}: expected Minari's {layout} layout ({str(error)[:120]})") from error
        for name, space in (("observations", "observation_space"), ("actions", "action_space")):
            arrays[name] = _decode_column(part, name, columns[name], metadata, space)
        # One row per observation: the last row of everything else is padding.
        steps = {name: value if name == "observations" else value[:-1] for name, value in arrays.items()}
        about = part / "metadata.json"
        seed = None
        if about.is_file():
            seed = read_json_file(about).get("seed")
        yield _episode(part, index, steps, seed, unknown_end=False)


def _decode_column(path: Path, name: str, column: Any, metadata: dict[str, Any], space: str) -> np.ndarray:
    import pyarrow as pa

    if _is_jpeg(metadata, space):
        return _decode_images(path, column.to_numpy(zero_copy_only=False))
    if pa.types.is_struct(column.type):
        raise DemosError(f"{path}: {name}: expected one array, found parts of a dict or tuple space")
    if pa.types.is_fixed_size_list(column.type):
        shape = _space(metadata, space).get("shape", [-1])
        values = column.flatten().to_numpy(zero_copy_only=False)
        return require_numbers(path, name, values.reshape(len(column), *shape))
    return require_numbers(path, name, column.to_numpy(zero_copy_only=False))


def _episode(
    path: Path, index: int, arrays: dict[str, np.ndarray], seed: object, *, unknown_end: bool
) -> RecordedEpisode:
    steps = len(arrays["actions"])
    for name in _FLAGS:
        require_rows(path, f"episode {index}: {name}", arrays[name], steps, "one per action")
    if steps == 0:
        raise DemosError(f"{path}: episode {index}: expected at least one step, found none")
    terminated, truncated = (last_flag(path, name, index, arrays[name].astype(bool)) for name in _FLAGS)
    return RecordedEpisode(
        arrays["observations"],
        arrays["actions"],
        require_numbers(path, "rewards", arrays["rewards"]),
        None if unknown_end else terminated,
        None if unknown_end else truncated,
        int(seed) if isinstance(seed, int | np.integer) else None,
    )


def _space(metadata: dict[str, Any], name: str) -> dict[str, Any]:
    try:
        space = json.loads(metadata[name])
    except (KeyError, TypeError, ValueError):
        return {}
    return space if isinstance(space, dict) else {}


def _is_jpeg(metadata: dict[str, Any], name: str) -> bool:
    """Minari's rule for which spaces it stores as (lossy) JPEG, from the space's JSON."""
    space = _space(metadata, name)
    shape = space.get("shape", [])
    return (
        bool(metadata.get("jpeg_encoding", True))
        and space.get("type") == "Box"
        and space.get("dtype") == "uint8"
        and len(shape) in (2, 3)
        and min(shape[:2]) >= 32
        and not np.any(space.get("low"))
        and bool(np.all(np.asarray(space.get("high")) == 255))
    )


def _decode_images(path: Path, frames: np.ndarray) -> np.ndarray:
    from PIL import Image

    try:
        return np.stack([np.asarray(Image.open(io.BytesIO(bytes(frame)), formats=("JPEG",))) for frame in frames])
    except (OSError, ValueError) as error:
        raise DemosError(f"{path}: expected JPEG images of equal size ({str(error)[:120]})") from error
