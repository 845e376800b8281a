"""The project's own layout: flat npz.

==================  ==========================================================================
``observations``    ``[sum(T_i + 1), ...]``: each episode's states, its last successor included
                    (Dict and Tuple spaces: one array per leaf, ``observations/key``)
``actions``         ``[sum(T_i), ...]``
``rewards``         ``[sum(T_i)]``; absent where not recorded
``lengths``         ``[E]`` integers: T_i
``terminated``      ``[E]`` bool, or int8 with -1 for *unknown*; absent means unknown throughout
``truncated``       as ``terminated``
``env_id``          text; absent where not known
``env_kwargs``      a JSON object as text
``seeds``           optional ``[E]`` integers, -1 for unknown
``agents``          optional ``[E]`` texts: whose trajectory it is, empty for unknown
``source``          optional text
``kind``            optional text: ``episodes`` or ``transitions`` (then every T_i is 1)
``generator``       JSON object as text, present exactly when the data is synthetic
``stack``           optional integer S: ``observations`` holds one frame each, and the observation is the last S
                    frames of its episode, the newest last, zeros before the first
==================  ==========================================================================
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from gail.core.errors import InputError
from gail.core.leaves import Leaves, gather_leaves, join_leaves, map_leaves, named_leaves
from gail.demos.archive import npz_members, read_npz, stream_npz, stream_npz_blocks, write_npz
from gail.demos.errors import DemosError
from gail.demos.fields import (
    read_env_id,
    read_json_object,
    read_text,
    require_numbers,
    require_rows,
    require_vector,
)
from gail.demos.frames import DEEPEST, single_frames, stack_frames
from gail.demos.recorded import ReadOptions, RecordedEpisode, assemble, split_rows
from gail.demos.types import Demonstrations

FORMAT = "npz"
UNKNOWN = -1
TEXTS = ("env_id", "env_kwargs", "source", "kind", "generator")
"""What is said of the whole set."""
_OPTIONAL = ("rewards", "terminated", "truncated", "seeds", "agents", "stack", *TEXTS)


def read_flat_npz(path: Path, options: ReadOptions) -> Demonstrations:
    """Read the flat npz layout (see the module's docstring).

    Raises:
        DemosError: one line naming the file, the field, what was found and what was expected.
    """
    parts = [name for name in npz_members(path) if name.startswith("observations/")]
    return parse_flat_npz(
        path, read_npz(path, ("actions", "lengths", *(parts or ["observations"])), _OPTIONAL), options
    )


def parse_flat_npz(path: Path, data: Mapping[str, np.ndarray], options: ReadOptions) -> Demonstrations:
    """What :func:`read_flat_npz` makes of the file's arrays.

    Raises:
        DemosError: as there.
    """
    lengths = _read_lengths(path, data["lengths"])
    episodes, steps = len(lengths), sum(lengths)
    stored = gather_leaves("observations", data)
    for name, rows in (
        *((name, steps + episodes) for name, _ in named_leaves("observations", stored)),
        ("actions", steps),
    ):
        require_numbers(path, name, data[name])
        require_rows(path, name, data[name], rows, f"{steps} steps in {episodes} episodes")
    rewards: list[np.ndarray] | list[None] = [None] * episodes
    if "rewards" in data:
        require_vector(path, "rewards", require_numbers(path, "rewards", data["rewards"]), steps, "one per step")
        rewards = split_rows(data["rewards"], lengths)
    texts = {name: read_text(path, name, data[name]) for name in TEXTS if name in data}
    kind = texts.get("kind", "episodes")
    if kind not in ("episodes", "transitions"):
        raise DemosError(f"{path}: field 'kind': expected 'episodes' or 'transitions', found {kind[:40]!r}")
    observations = _split(stored, [length + 1 for length in lengths])
    if "stack" in data and not isinstance(stored, dict):
        depth = _read_stack(path, data["stack"])
        observations = [stack_frames(frames, depth) for frames in observations]
    recorded = map(
        RecordedEpisode,
        observations,
        split_rows(data["actions"], lengths),
        rewards,
        _read_flags(path, "terminated", data.get("terminated"), episodes),
        _read_flags(path, "truncated", data.get("truncated"), episodes),
        _read_seeds(path, data.get("seeds"), episodes),
        _read_agents(path, data.get("agents"), episodes),
    )
    trajectories, dropped = assemble(path, recorded, has_last_successor=True, action_shift=options.action_shift)
    return Demonstrations(
        trajectories,
        env_id=read_env_id(path, texts["env_id"]) if texts.get("env_id") else None,
        env_kwargs=read_json_object(path, "env_kwargs", texts.get("env_kwargs", "{}")),
        source=texts.get("source", ""),
        kind=kind,
        generator=read_json_object(path, "generator", texts["generator"]) if "generator" in texts else None,
        path=path,
        format=FORMAT,
        dropped=dropped,
    )


def write_flat_npz(demos: Demonstrations, path: Path, *, overwrite: bool = False) -> None:
    """Write ``demos`` in the flat npz layout, compressed and atomically.

    Raises:
        InputError: where ``path`` exists and ``overwrite`` is False, or ``demos`` cannot be laid out flat
            (no episodes, rewards in some episodes only, differing shapes or dtypes, values that JSON lacks).
    """
    arrays = _all_but_observations(demos, path)
    observations = [t.observations for t in demos]
    frames = [None if isinstance(rows, dict) else single_frames(rows) for rows in observations]
    once = [rows for rows in frames if rows is not None]
    if len(once) == len(observations):
        arrays["stack"] = np.asarray(observations[0].shape[1])
        observations = once
    joined = named_leaves("observations", join_leaves(np.concatenate, observations))
    write_npz(path, {**dict(joined), **arrays}, overwrite=overwrite)


def _split(rows: Leaves, lengths: list[int]) -> list[Leaves]:
    pieces = map_leaves(lambda leaf: split_rows(leaf, lengths), rows)
    return [map_leaves(lambda cut, index=index: cut[index], pieces) for index in range(len(lengths))]


def write_flat_npz_streamed(
    path: Path, shape: tuple[int, ...], rows: Iterable[np.ndarray], demos: Callable[[], Demonstrations]
) -> None:
    """As :func:`write_flat_npz`, with observations that are never in memory together.

    Args:
        path: the new file.
        shape: of all observations ``[sum(T_i + 1), ...]``, which are uint8.
        rows: the observations, one by one.
        demos: called when they are written; all but its observations is used.

    Raises:
        InputError: where ``path`` exists.
    """
    stream_npz(path, "observations", shape, rows, lambda: _all_but_observations(demos(), path))


def write_flat_npz_blocks(path: Path, blocks: Iterable[Demonstrations]) -> None:
    """As :func:`write_flat_npz`, of a set that comes in parts and never is in memory as a whole.

    Args:
        path: the new file.
        blocks: the set's next trajectories; what is said of the whole set is taken from the last one.

    Raises:
        InputError: where ``path`` exists, or a block does not fit the layout or the first one.
    """
    texts: dict[str, np.ndarray] = {}

    def columns() -> Iterator[dict[str, np.ndarray]]:
        for demos in blocks:
            arrays = _all_but_observations(demos, path)
            texts.update({name: arrays.pop(name) for name in TEXTS if name in arrays})
            joined = named_leaves("observations", join_leaves(np.concatenate, [t.observations for t in demos]))
            yield {**dict(joined), **arrays}

    stream_npz_blocks(path, columns(), lambda: texts)


def _all_but_observations(demos: Demonstrations, path: Path) -> dict[str, np.ndarray]:
    trajectories = demos.trajectories
    if not trajectories:
        raise InputError(f"{path}: nothing to write: expected at least one episode")
    for field in ("observations", "actions"):
        leaves = [named_leaves(field, getattr(t, field)) for t in trajectories]
        if len({tuple((name, rows.dtype, rows.shape[1:]) for name, rows in episode) for episode in leaves}) > 1:
            raise InputError(f"{path}: field {field!r}: expected one dtype and shape in all episodes, found several")
        for name, rows in leaves[0]:
            require_numbers(path, name, rows)
    arrays = {
        "actions": np.concatenate([t.actions for t in trajectories]),
        "lengths": np.asarray([len(t) for t in trajectories], dtype=np.int64),
        "terminated": _write_flags([t.terminated for t in trajectories]),
        "truncated": _write_flags([t.truncated for t in trajectories]),
        "env_kwargs": _json(path, "env_kwargs", demos.env_kwargs),
        "source": np.asarray(demos.source),
        "kind": np.asarray(demos.kind),
    }
    rewards = [t.rewards for t in trajectories if t.rewards is not None]
    if rewards and len(rewards) < len(trajectories):
        found = f"{len(rewards)} of {len(trajectories)}"
        raise InputError(f"{path}: field 'rewards': expected all episodes or none, found {found}")
    if rewards:
        arrays["rewards"] = np.concatenate(rewards)
    if any(t.seed is not None for t in trajectories):
        arrays["seeds"] = np.asarray([UNKNOWN if t.seed is None else t.seed for t in trajectories], dtype=np.int64)
    if any(t.agent is not None for t in trajectories):
        arrays["agents"] = np.asarray([t.agent or "" for t in trajectories])
    if demos.env_id is not None:
        arrays["env_id"] = np.asarray(demos.env_id)
    if demos.generator is not None:
        arrays["generator"] = _json(path, "generator", demos.generator)
    return arrays


def _read_stack(path: Path, value: np.ndarray) -> int:
    if value.size != 1 or value.dtype.kind not in "iu" or not 1 <= int(value.reshape(-1)[0]) <= DEEPEST:
        raise DemosError(f"{path}: field 'stack': expected an integer from 1 to {DEEPEST}, found {value!r:.60}")
    return int(value.reshape(-1)[0])


def _read_lengths(path: Path, value: np.ndarray) -> list[int]:
    if value.ndim != 1 or value.size == 0:
        raise DemosError(f"{path}: field 'lengths': expected [E] with at least one episode, found {value.shape}")
    if value.dtype.kind not in "iu":
        raise DemosError(f"{path}: field 'lengths': expected integers, found {value.dtype}")
    lengths = [int(length) for length in value]
    if min(lengths) < 1:
        raise DemosError(f"{path}: field 'lengths': expected at least 1 step per episode, found {min(lengths)}")
    return lengths


def _read_flags(path: Path, name: str, value: np.ndarray | None, episodes: int) -> list[bool | None]:
    if value is None:
        return [None] * episodes
    require_vector(path, name, value, episodes, "one per episode")
    if value.dtype.kind not in "biu" or not np.isin(value, (UNKNOWN, 0, 1)).all():
        raise DemosError(f"{path}: field {name!r}: expected bool, or -1 (unknown), 0, 1; found {value.dtype}")
    return [None if flag == UNKNOWN else bool(flag) for flag in value.tolist()]


def _read_seeds(path: Path, value: np.ndarray | None, episodes: int) -> list[int | None]:
    if value is None:
        return [None] * episodes
    require_vector(path, "seeds", value, episodes, "one per episode")
    if value.dtype.kind not in "iu":
        raise DemosError(f"{path}: field 'seeds': expected integers, found {value.dtype}")
    return [None if seed < 0 else int(seed) for seed in value.tolist()]


def _read_agents(path: Path, value: np.ndarray | None, episodes: int) -> list[str | None]:
    if value is None:
        return [None] * episodes
    require_vector(path, "agents", value, episodes, "one per episode")
    if value.dtype.kind != "U":
        raise DemosError(f"{path}: field 'agents': expected texts, found {value.dtype}")
    return [str(agent) or None for agent in value]


def _write_flags(flags: list[bool | None]) -> np.ndarray:
    if None not in flags:
        return np.asarray(flags, dtype=bool)
    return np.asarray([UNKNOWN if flag is None else int(flag) for flag in flags], dtype=np.int8)


def _json(path: Path, name: str, value: object) -> np.ndarray:
    try:
        return np.asarray(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: field {name!r}: expected JSON values, found {str(error)[:100]}") from error
