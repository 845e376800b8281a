"""JSON lines: one step per line, or one episode per line.

A first line without steps may describe the set: ``{"env_id": "Hopper-v5", "env_kwargs": {}, "source": ""}``.

* One step per line: ``observation`` and ``action`` (a number or a list), and optionally ``reward``,
  ``next_observation``, ``episode``, ``terminated``, ``truncated``, ``done``; the same keys in every line.
* One episode per line: ``observations`` (T + 1 of them, or T), ``actions`` (T), and optionally ``rewards``,
  ``terminated``, ``truncated`` (one flag for the episode) and ``seed``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from gail.demos.columns import Columns
from gail.demos.errors import ROW_COUNTS, DemosError
from gail.demos.fields import read_env_id, require_numbers
from gail.demos.recorded import ReadOptions, RecordedEpisode, assemble
from gail.demos.table import StepTable, demonstrations_from_table, read_actions
from gail.demos.types import Demonstrations

FORMAT = "jsonl"


def read_jsonl(path: Path, options: ReadOptions) -> Demonstrations:
    """Read JSON lines (see the module's docstring); of ``options.columns`` only ``episode_by_jump`` and
    ``discrete_actions`` apply.

    Raises:
        DemosError: one line naming the file and the line, what was found and what was expected.
    """
    lines = _read_lines(path)
    about: dict[str, Any] = {}
    if lines and not {"action", "actions"} & lines[0].keys():
        about = lines.pop(0)
    if not lines:
        raise DemosError(f"{path}: expected lines with steps or episodes, found none")
    columns = options.columns or Columns()
    if columns != Columns(episode_by_jump=columns.episode_by_jump, discrete_actions=columns.discrete_actions):
        raise DemosError(
            f"{path}: columns: JSON lines name their values themselves (observation, action, reward, ...); expected at "
            "most episode_by_jump and discrete_actions"
        )
    if "actions" in lines[0]:
        demos = _read_episodes(path, lines, options, columns)
    else:
        table = _read_steps(path, lines, columns)
        demos = demonstrations_from_table(path, table, options, by_jump=columns.episode_by_jump, format=FORMAT)
    kwargs = about.get("env_kwargs", {})
    if not isinstance(kwargs, dict):
        raise DemosError(f"{path}: field 'env_kwargs': expected a JSON object, found {str(kwargs)[:60]}")
    env_id = about.get("env_id")
    return Demonstrations(
        demos.trajectories,
        env_id=None if env_id is None else read_env_id(path, env_id),
        env_kwargs=kwargs,
        source=str(about.get("source", "")),
        path=path,
        format=FORMAT,
        dropped=demos.dropped,
    )


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise DemosError(f"{path}: expected text in UTF-8, found {str(error)[:100]}") from error
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise DemosError(f"{path}: line {number}: expected a JSON object, found {line[:60]!r}")
        lines.append(value)
    return lines


def _read_steps(path: Path, lines: list[dict[str, Any]], columns: Columns) -> StepTable:
    def column(key: str) -> np.ndarray | None:
        values = [line[key] for line in lines if key in line]
        if not values:
            return None
        if len(values) != len(lines):
            raise DemosError(
                f"{path}: field {key!r}: expected it in all {len(lines)} lines, found {len(values)}",
                ROW_COUNTS,
            )
        return _array(path, key, values)

    def flag(key: str) -> np.ndarray | None:
        value = column(key)
        return None if value is None else value.astype(bool)

    observations, actions, successors = column("observation"), column("action"), column("next_observation")
    if observations is None or actions is None:
        raise DemosError(f"{path}: expected 'observation' and 'action' in every line")
    rewards = column("reward")
    return StepTable(
        _as_float(observations),
        _actions(path, actions, columns.discrete_actions),
        None if rewards is None else rewards.astype(np.float32),
        None if successors is None else _as_float(successors),
        column("episode"),
        flag("terminated"),
        flag("truncated"),
        flag("done"),
    )


def _read_episodes(path: Path, lines: list[dict[str, Any]], options: ReadOptions, columns: Columns) -> Demonstrations:
    recorded = []
    for index, line in enumerate(lines):
        if not {"observations", "actions"} <= line.keys():
            raise DemosError(f"{path}: episode {index}: expected 'observations' and 'actions'")
        flags = {name: line.get(name) for name in ("terminated", "truncated")}
        for name, value in flags.items():
            if value not in (None, True, False):
                raise DemosError(f"{path}: episode {index}: {name}: expected true or false, found {value}")
        seed = line.get("seed")
        recorded.append(
            RecordedEpisode(
                _as_float(_array(path, "observations", line["observations"])),
                _actions(path, _array(path, "actions", line["actions"]), columns.discrete_actions),
                _array(path, "rewards", line["rewards"]).astype(np.float32) if "rewards" in line else None,
                flags["terminated"],
                flags["truncated"],
                seed if isinstance(seed, int) else None,
            )
        )
    # A file holds last successors throughout or not at all; its first episode says which.
    complete = len(recorded[0].observations) == len(recorded[0].actions) + 1
    trajectories, dropped = assemble(path, recorded, has_last_successor=complete, action_shift=options.action_shift)
    return Demonstrations(trajectories, path=path, format=FORMAT, dropped=dropped)


def _array(path: Path, key: str, values: object) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DemosError(f"{path}: field {key!r}: expected rows of equal length, found ragged ones") from error
    if key == "episode" and array.dtype.kind in "US":
        return array
    return require_numbers(path, key, array)


def _as_float(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float32)


def _actions(path: Path, values: np.ndarray, discrete: bool | None) -> np.ndarray:
    # JSON tells whole numbers from decimals, so a list of integers is a discrete action without guessing.
    if discrete is None:
        discrete = values.dtype.kind in "iu" and values.ndim == 1
    if values.ndim == 1:
        values = values[:, None]
    return read_actions(path, values, discrete)
