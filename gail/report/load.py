"""Run directories as data: what was configured, what was logged, what came of it.

Glossary:
    run       what one call of ``imitate`` wrote: one directory, or one with a ``seed-S`` directory per seed.
    fit       what one call of ``fit`` wrote: one directory.
    seed run  one training inside a run: its own ``config.toml``, ``metrics.jsonl`` and ``summary.json``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
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
class Training:
    """What runs and fits have in common."""

    name: str
    """The directory's name, or its path where several on the page share that name."""
    directory: Path
    seeds: tuple[SeedRun, ...]
    """At least one; exactly one of a fit."""
    finished: bool
    """Whether every seed is done and the summary is there."""

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """Those of the finished seeds."""
        return [seed.summary for seed in self.seeds if seed.summary is not None]


@dataclass(frozen=True)
class Run(Training):
    """One or several seed runs of one configuration."""

    env_id: str
    env_kwargs: dict[str, Any]
    algo: str

    @property
    def what(self) -> str:
        """In a few words."""
        return f"{self.algo} on {self.env_id}"


@dataclass(frozen=True)
class Fit(Training):
    """A generator that was trained on data."""

    kind: str
    data: str
    """Where it learned from."""

    @property
    def what(self) -> str:
        """In a few words."""
        return f"{self.kind} on {self.data}"


def load_runs(paths: Sequence[str | Path]) -> tuple[Run, ...]:
    """Read run directories; one that is named twice counts once.

    Raises:
        InputError: with no path, and as :func:`load_run`.
    """
    return tuple(load_run(directory, name) for directory, name in _named(paths))


def load_runs_and_fits(paths: Sequence[str | Path]) -> tuple[tuple[Run, ...], tuple[Fit, ...]]:
    """Read directories of either sort; one that is named twice counts once.

    Raises:
        InputError: with no path, and as :func:`load_run` and :func:`load_fit`.
    """
    named = _named(paths)
    fits = {directory: is_fit(directory) for directory, _ in named}
    return (
        tuple(load_run(directory, name) for directory, name in named if not fits[directory]),
        tuple(load_fit(directory, name) for directory, name in named if fits[directory]),
    )


def _named(paths: Sequence[str | Path]) -> list[tuple[Path, str]]:
    directories = list(dict.fromkeys(Path(path).resolve() for path in paths))
    if not directories:
        raise InputError("no run directory given, expected one or more")
    names = [directory.name for directory in directories]
    return [(d, d.name if names.count(d.name) == 1 else str(d)) for d in directories]


def is_fit(directory: Path) -> bool:
    """Whether ``directory`` is what `gail fit` wrote."""
    file = directory / "config.toml"
    run = read_toml(file).get("run") if file.is_file() else None
    return isinstance(run, dict) and run.get("verb") == "fit"


def load_fit(directory: str | Path, name: str | None = None) -> Fit:
    """Read what `gail fit` wrote, finished or not; ``name`` is what to call it.

    Raises:
        InputError: where it is no such directory, or a file in it is damaged.
    """
    directory = Path(directory).resolve()
    if not is_fit(directory):
        raise InputError(f"{directory}: expected the run directory of a generator (gail fit)")
    seed = _load_seed(directory, (("run", "kind"), ("provenance", "data")))
    return Fit(
        name=name or directory.name,
        directory=directory,
        seeds=(seed,),
        finished=seed.summary is not None,
        kind=seed.config["run"]["kind"],
        data=seed.config["provenance"]["data"],
    )


def load_run(directory: str | Path, name: str | None = None) -> Run:
    """Read one run directory, finished or not; ``name`` is what to call it.

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
    if is_fit(folders[0]):
        raise InputError(f"{directory}: a generator (gail fit) wrote it, expected a run that trains a policy")
    seeds = tuple(_load_seed(folder, (("run", "env_id"), ("config", "algo"))) for folder in folders)
    first = seeds[0].config
    # A killed run of several seeds has no aggregate yet, even where each seed that began is done.
    aggregated = (directory / "summary.json").is_file()
    return Run(
        name=name or directory.name,
        directory=directory,
        env_id=first["run"]["env_id"],
        env_kwargs=first["run"].get("env_kwargs", {}),
        algo=first["config"]["algo"],
        seeds=seeds,
        finished=aggregated and all(seed.summary is not None for seed in seeds),
    )


def _load_seed(directory: Path, texts: Sequence[tuple[str, str]]) -> SeedRun:
    """One training; its configuration must say ``texts``, as (table, field)."""
    file = directory / "config.toml"
    config = read_toml(file)
    for table, field in texts:
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
