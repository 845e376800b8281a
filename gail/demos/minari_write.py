"""Writing Minari datasets in its HDF5 layout, with image observations raw (byte-exact), never as JPEG."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from gail.core.errors import InputError
from gail.core.leaves import Leaves, named_leaves
from gail.demos.archive import refuse_existing
from gail.demos.minari_read import ENV_ID, ENV_KWARGS, UNKNOWN_END
from gail.demos.types import Demonstrations
from gail.envs.ids import names_code


def write_minari(demos: Demonstrations, path: Path, *, overwrite: bool = False) -> None:
    """Write ``demos`` as the Minari dataset folder ``path``; its last component is the dataset's id.

    With ``MINARI_DATASETS_PATH`` set to the parent folder, ``minari.load_dataset(path.name)`` reads it.
    Unknown end flags are stored as False with an attribute that this project's reader understands.

    Raises:
        InputError: where ``path`` exists and ``overwrite`` is False, the name is no Minari id, rewards are
            missing (Minari has no place for unknown ones), or the folder cannot be written.
    """
    refuse_existing(path, overwrite)
    require_minari_id(path)
    if not demos.trajectories:
        raise InputError(f"{path}: nothing to write: expected at least one episode")
    for index, trajectory in enumerate(demos):
        if trajectory.rewards is None:
            raise InputError(f"{path}: episode {index} has no rewards, which Minari requires; write a .npz instead")
    metadata = _metadata(demos, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            data = temporary / "new" / "data"
            data.mkdir(parents=True)
            _write_hdf5(demos, data / "main_data.hdf5")
            metadata["dataset_size"] = round((data / "main_data.hdf5").stat().st_size / 1e6, 1)
            (data / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
            # A folder cannot be replaced in one step: the old one moves aside first.
            if path.exists():
                path.rename(temporary / "old")
            (temporary / "new").rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error


def require_minari_id(path: Path) -> None:
    """Refuse a folder that Minari would not find.

    Raises:
        InputError: where its name is no Minari id.
    """
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(path.name)
    except (ValueError, TypeError):  # TypeError: a name without a version
        raise InputError(
            f"{path}: expected a folder named like 'hopper-expert-v0' (a Minari dataset id), or a name that ends in "
            ".npz"
        ) from None


def _write_hdf5(demos: Demonstrations, path: Path) -> None:
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        for index, trajectory in enumerate(demos):
            group = file.create_group(f"episode_{index}")
            group.attrs["id"] = index
            group.attrs["total_steps"] = len(trajectory)
            if trajectory.seed is not None:
                group.attrs["seed"] = trajectory.seed
            if trajectory.terminated is None or trajectory.truncated is None:
                group.attrs[UNKNOWN_END] = True
            last = np.zeros(len(trajectory), dtype=bool)
            last[-1] = True
            arrays = {
                **_parts("observations", trajectory.observations),
                "actions": trajectory.actions,
                "rewards": trajectory.rewards,
                "terminations": last & bool(trajectory.terminated),
                "truncations": last & bool(trajectory.truncated),
            }
            for name, value in arrays.items():
                group.create_dataset(name, data=value, chunks=True, compression="gzip", compression_opts=4)


def _parts(name: str, rows: Leaves) -> dict[str, np.ndarray]:
    """Datasets by their path in the group; Minari calls the parts of a tuple ``_index_0`` and so on."""
    return {
        "/".join(f"_index_{part}" if part.isdecimal() else part for part in path.split("/")): leaf
        for path, leaf in named_leaves(name, rows)
    }


def _metadata(demos: Demonstrations, path: Path) -> dict[str, Any]:
    from minari.serialization import serialize_space

    observation_space, action_space = _spaces(demos)
    metadata: dict[str, Any] = {
        "total_episodes": len(demos),
        "total_steps": demos.steps,
        "data_format": "hdf5",
        "jpeg_encoding": False,
        "observation_space": serialize_space(observation_space),
        "action_space": serialize_space(action_space),
        "dataset_id": path.name,
        "minari_version": importlib.metadata.version("minari"),
        "gail_source": demos.source,
        "gail_kind": demos.kind,
    }
    if demos.generator is not None:
        metadata["gail_generator"] = demos.generator
    if demos.env_id is not None:
        metadata |= _environment(demos.env_id, demos.env_kwargs)
    try:
        json.dumps(metadata)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: expected JSON values in env_kwargs and generator ({error})") from error
    return metadata


def _environment(env_id: str, env_kwargs: dict[str, Any]) -> dict[str, Any]:
    """How the metadata names the environment: by its spec, or by its id alone where the registry has none."""
    registered = _registered(env_id)
    if registered is None:
        return {ENV_ID: env_id, ENV_KWARGS: env_kwargs}
    # A copy: the registry's own object stays as it is.
    spec = copy.deepcopy(registered)
    spec.kwargs = {**spec.kwargs, **env_kwargs}
    return {"env_spec": str(spec.to_json())}


def _registered(env_id: str) -> Any:
    """The registry's spec where JSON can hold it, else None; nothing that only the user may choose is imported."""
    from gail.envs.resolve import find_spec

    try:
        spec = None if names_code(env_id) else find_spec(env_id)
    except InputError:
        return None
    return spec if spec is not None and isinstance(spec.entry_point, str) else None


def _spaces(demos: Demonstrations) -> tuple[Any, Any]:
    """The environment's spaces where it can be made and they fit the data, else the plainest that do."""
    known: tuple[Any, Any] = (None, None)
    registered = _registered(demos.env_id) if demos.env_id is not None else None
    if registered is not None:
        try:
            from gail.envs.chunk import make_env

            env = make_env(registered, demos.env_kwargs)
        except Exception:
            # A missing simulator (Atari, Box2D) is no reason to refuse the file.
            pass
        else:
            known = env.observation_space, env.action_space
            env.close()
    first = demos.trajectories[0]
    return _observation_space(first.observations, known[0]), _space(
        first.actions, known[1], max(t.actions.max() for t in demos)
    )


def _observation_space(sample: Leaves, known: Any) -> Any:
    if not isinstance(sample, dict):
        return _space(sample, known)
    from gail.envs.leaves import leaf_spaces

    leaves = leaf_spaces(known) if known is not None else {}
    return known if isinstance(leaves, dict) and leaves.keys() == sample.keys() else _nested(sample)


def _nested(sample: dict[str, np.ndarray]) -> Any:
    """The plainest Dict or Tuple space around leaves named by their paths."""
    from gymnasium import spaces

    groups: dict[str, dict[str, np.ndarray]] = {}
    for path, leaf in sample.items():
        key, _, rest = path.partition("/")
        groups.setdefault(key, {})[rest] = leaf
    parts = {key: _space(group[""], None) if "" in group else _nested(group) for key, group in groups.items()}
    return spaces.Tuple(tuple(parts.values())) if all(key.isdecimal() for key in parts) else spaces.Dict(parts)


def _space(sample: np.ndarray, known: Any, largest: Any = None) -> Any:
    from gymnasium import spaces

    dtype, shape = sample.dtype, sample.shape[1:]
    if isinstance(known, spaces.Box) and known.shape == shape and known.dtype.kind == dtype.kind:
        return spaces.Box(known.low.astype(dtype), known.high.astype(dtype), shape, dtype.type)
    if isinstance(known, spaces.Discrete) and dtype.kind in "iu" and shape == ():
        return known
    if largest is not None and dtype.kind in "iu" and shape == ():
        return spaces.Discrete(int(largest) + 1)
    if dtype == np.uint8:
        return spaces.Box(0, 255, shape, np.uint8)
    if dtype.kind == "f":
        return spaces.Box(-np.inf, np.inf, shape, dtype.type)
    limits = np.iinfo(dtype if dtype.kind in "iu" else np.uint8)
    return spaces.Box(limits.min, limits.max, shape, dtype.type)
