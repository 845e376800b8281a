"""Run directories as data: what was configured, what was logged, what came of it.

Glossary:
    run       what one call of ``imitate`` wrote: one directory, or one with a ``seed-S`` directory per seed.
    seed run  one training inside a run: its own ``config.toml``, ``metrics.jsonl`` and ``summary.json``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gail.core.config import read_toml
from gail.core.errors import InputError

_SEED_FOLDER = re.compile(r"seed-(\d+)")
_NUMBERS = (
    "steps",
    "wall_seconds",
    "return_mean",
    "episodes",
    "random_return",
    "expert_return",
    "normalized_return",
    "demo_episodes",
)
_CONTROL_NUMBERS = ("return_mean", "normalized_return")


@dataclass(frozen=True)
class SeedRun:
    """One training: its files as arrays and dicts."""

    directory: Path
    seed: int | None
    config: dict[str, Any]
    """The whole of ``config.toml``: tables ``run``, ``config`` and ``provenance``."""
    metrics: dict[str, np.ndarray]
    """Metric name to ``[R]`` float64, one value per round, nan where it was not logged or not finite."""
    summary: dict[str, Any] | None
    """``summary.json``, or None while the training is unfinished."""


@dataclass(frozen=True)
class Run:
    """One or several seed runs of one configuration."""

    name: str
    """The directory's name, or its path where several runs share that name."""
    directory: Path
    env_id: str
    env_kwargs: dict[str, Any]
    algo: str
    seeds: tuple[SeedRun, ...]
    """At least one."""
    finished: bool
    """Whether every seed is done and the run's own summary is there."""

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """Those of the finished seeds."""
        return [seed.summary for seed in self.seeds if seed.summary is not None]


def load_runs(paths: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read run directories; one that is named twice counts once.

    Raises:
        InputError: with no path, and as :func:`load_run`.
    """
    directories = list(dict.fromkeys(Path(path).resolve() for path in paths))
    if not directories:
        raise InputError("no run directory given, expected one or more")
    names = [directory.name for directory in directories]
    return tuple(
        replace(load_run(directory), name=name if names.count(name) == 1 else str(directory))
        for directory, name in zip(directories, names, strict=True)
    )


def load_run(directory: str | Path) -> Run:
    """Read one run directory, finished or not.

    Raises:
        InputError: where nothing is there, it is not a run, or a file in it is damaged. A last line of
            ``metrics.jsonl`` that was cut by a kill is no damage.
    """
    directory = Path(directory).resolve()
    if not directory.is_dir():
        found = "a file" if directory.exists() else "nothing"
        raise InputError(f"{directory}: expected a run directory, found {found}")
    if (directory / "config.toml").is_file():
        folders = [directory]
    else:
        folders = [
            folder
            for folder in directory.iterdir()
            if _SEED_FOLDER.fullmatch(folder.name) and (folder / "config.toml").is_file()
        ]
        folders.sort(key=lambda folder: int(folder.name.partition("-")[2]))
    if not folders:
        inside = sorted(path.parent.name for path in directory.glob("*/config.toml"))
        hint = f" (runs inside: {', '.join(inside)})" if inside else ""
        raise InputError(f"{directory}: not a run directory, it holds no config.toml{hint}")
    seeds = tuple(_load_seed(folder) for folder in folders)
    first = seeds[0].config
    # A killed run of several seeds has no aggregate yet, even where each seed that began is done.
    aggregated = (directory / "summary.json").is_file()
    return Run(
        name=directory.name,
        directory=directory,
        env_id=first["run"]["env_id"],
        env_kwargs=first["run"].get("env_kwargs", {}),
        algo=first["config"]["algo"],
        seeds=seeds,
        finished=aggregated and all(seed.summary is not None for seed in seeds),
    )


def _load_seed(directory: Path) -> SeedRun:
    file = directory / "config.toml"
    config = read_toml(file)
    for table, field in (("run", "env_id"), ("config", "algo")):
        section = config.get(table)
        value = section.get(field) if isinstance(section, dict) else None
        if not isinstance(value, str):
            raise InputError(f"{file}: field {table}.{field} is {value!r}, expected text")
    kwargs, seed = config["run"].get("env_kwargs", {}), config["run"].get("seed")
    if not isinstance(kwargs, dict):
        raise InputError(f"{file}: field run.env_kwargs is {kwargs!r}, expected a table")
    return SeedRun(
        directory=directory,
        seed=seed if isinstance(seed, int) else None,
        config=config,
        metrics=_read_metrics(directory / "metrics.jsonl"),
        summary=_read_summary(directory / "summary.json"),
    )


def _read_metrics(file: Path) -> dict[str, np.ndarray]:
    if not file.exists():
        return {}
    rounds: list[dict[str, float]] = []
    lines = _read_text(file).splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break  # the line that a kill cut
            raise InputError(f"{file}: line {number} is not JSON ({error})") from None
        if not isinstance(values, dict) or not _is_finite(values.get("step")):
            raise InputError(f"{file}: line {number} is {line[:60]!r}, expected an object with a number 'step'")
        for name, value in values.items():
            if value is not None and not _is_number(value):
                raise InputError(f"{file}: line {number}: {name} is {value!r}, expected a number or null")
        rounds.append({name: value if _is_finite(value) else float("nan") for name, value in values.items()})
    names = dict.fromkeys(name for values in rounds for name in values)
    missing = float("nan")
    return {name: np.array([values.get(name, missing) for values in rounds], np.float64) for name in names}


def _read_summary(file: Path) -> dict[str, Any] | None:
    if not file.exists():
        return None
    try:
        summary = json.loads(_read_text(file))
    except json.JSONDecodeError as error:
        raise InputError(f"{file}: not JSON ({error})") from None
    if not isinstance(summary, dict):
        raise InputError(f"{file}: holds {type(summary).__name__}, expected an object")
    control = summary.get("nonsense_check", {})
    if not isinstance(control, dict):
        raise InputError(f"{file}: nonsense_check is {control!r}, expected an object")
    for prefix, table, names in (("", summary, _NUMBERS), ("nonsense_check.", control, _CONTROL_NUMBERS)):
        for name in names:
            if table.get(name) is not None and not _is_number(table[name]):
                raise InputError(f"{file}: {prefix}{name} is {table[name]!r}, expected a number or null")
    ends = summary.get("return_interval", [None, None])
    if not isinstance(ends, list) or len(ends) != 2 or not all(e is None or _is_number(e) for e in ends):
        raise InputError(f"{file}: return_interval is {ends!r}, expected two numbers")
    return summary


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read ({error})") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)
