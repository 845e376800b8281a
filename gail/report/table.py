"""The comparison: random play, behaviour cloning, adversarial imitation and the expert, per environment."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from gail.core.statistics import mean_interval, normalized
from gail.report.load import Run

_ALGO_NAMES = {"bc": "Behaviour cloning", "gail": "GAIL", "ppo": "PPO on the true reward"}
_GRADIENT_STEPPED = ("bc",)
"""Methods whose steps are gradient steps: they never act while they learn."""

COLUMNS = ("Method", "Return", "95% interval", "Normalized", "Env steps", "Seconds", "Demos", "Seeds")
"""The heads of the table's columns, in the order of :meth:`Row.cells`."""

NOTES = (
    "Return: mean undiscounted return of the evaluation episodes, deterministic actions. Normalized: 0 plays like "
    "random, 1 like the expert (the mean over every episode of the demonstration file).",
    "95% interval: Student's t, over seeds where there are several; with † over the evaluation episodes of one seed, "
    "which says nothing about other seeds.",
    "Env steps are those taken while learning; seconds are wall-clock, a mean per seed. Demos: episodes learned from.",
    "Control: the same configuration on demonstrations of a random policy. What it scores is earned by surviving, not "
    "by imitating.",
)
"""What a reader must know to read the table."""


@dataclass(frozen=True)
class Row:
    """One line of the comparison; None where a value does not exist."""

    method: str
    kind: Literal["random", "run", "control", "expert"]
    return_mean: float | None
    return_interval: tuple[float, float] | None = None
    over_episodes: bool = False
    """Whether the interval is over episodes of one seed."""
    normalized: float | None = None
    normalized_interval: tuple[float, float] | None = None
    env_steps: int | None = None
    seconds: float | None = None
    demo_episodes: int | None = None
    seeds: int | None = None
    note: str = ""
    """Why values are missing, for example that the run is unfinished."""

    def cells(self, decimals: int) -> tuple[str, ...]:
        """The row as text, one cell per name in :data:`COLUMNS`; returns have ``decimals`` decimals."""
        interval = "–"
        if self.return_interval is not None:
            low, high = (format_number(end, decimals) for end in self.return_interval)
            interval = f"[{low}, {high}]" + ("†" if self.over_episodes else "")
        return (
            self.method,
            format_number(self.return_mean, decimals),
            interval,
            format_number(self.normalized, 2),
            format_number(self.env_steps, 0),
            format_number(self.seconds, 0 if (self.seconds or 0) >= 10 else 1),
            format_number(self.demo_episodes, 0),
            format_number(self.seeds, 0),
        )


@dataclass(frozen=True, kw_only=True)
class RunRow(Row):
    """The line of a run."""

    run: Run
    color: int
    """Which of the page's colors is its own, from 0; a method keeps its color from one environment to the next."""


@dataclass(frozen=True)
class EnvironmentTable:
    """The rows of one environment."""

    env_id: str
    env_kwargs: dict[str, Any]
    rows: tuple[Row, ...]
    """Random play first, the expert last."""

    @property
    def title(self) -> str:
        """The environment's id, with its keyword arguments where it has any."""
        kwargs = ", ".join(f"{name}={value}" for name, value in self.env_kwargs.items())
        return f"{self.env_id} ({kwargs})" if kwargs else self.env_id

    @property
    def runs(self) -> tuple[RunRow, ...]:
        """The rows of runs."""
        return tuple(row for row in self.rows if isinstance(row, RunRow))

    @property
    def decimals(self) -> int:
        """How many decimals returns of this size deserve."""
        largest = max((abs(row.return_mean) for row in self.rows if row.return_mean is not None), default=0.0)
        return 0 if largest >= 1000 else 1 if largest >= 10 else 2

    def reference(self, kind: Literal["random", "expert"]) -> float | None:
        """The return of random play or of the expert, where all runs agree on one."""
        values = [row.return_mean for row in self.rows if row.kind == kind]
        return values[0] if len(values) == 1 else None


@dataclass(frozen=True)
class ComparisonTable:
    """The comparison over all environments, for a terminal or a page."""

    environments: tuple[EnvironmentTable, ...]

    def __rich__(self) -> Table:
        return self.to_rich()

    def to_rich(self) -> Table:
        """The table for a terminal."""
        table = Table(caption="\n".join(NOTES), caption_justify="left", caption_style="dim")
        for name in COLUMNS:
            table.add_column(name, justify="left" if name == "Method" else "right", no_wrap=name != "Method")
        for environment in self.environments:
            table.add_row(Text(environment.title, style="bold"))
            for row in environment.rows:
                method, *values = row.cells(environment.decimals)
                # Text, not str: names from files must not be read as rich's markup.
                label = Text(f"  {method}" + (f" ({row.note})" if row.note else ""))
                table.add_row(label, *values, style="" if row.kind == "run" else "dim")
            table.add_section()
        return table


def comparison_table(runs: Sequence[Run]) -> ComparisonTable:
    """Compare ``runs`` with random play and with the expert, environment by environment.

    Args:
        runs: any mix of environments, methods and numbers of seeds; at least one. Behaviour cloning comes first,
            the others keep their order.

    Returns:
        The table. A run of several finished seeds has the mean over seeds with an interval over seeds; a run of one
        has that seed's evaluation. A run with no finished seed has no values, and a note.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        key = (run.env_id, json.dumps(run.env_kwargs, sort_keys=True, default=str))
        groups.setdefault(key, []).append(run)
    return ComparisonTable(tuple(_environment(group) for group in groups.values()))


def _environment(runs: list[Run]) -> EnvironmentTable:
    runs = sorted(runs, key=lambda run: run.algo != "bc")
    algos = [run.algo for run in runs]
    rows = _reference_rows(runs, "random", "Random play", 0.0)
    # Behaviour cloning comes last here, so that a run has the same color with and without a baseline beside it.
    colors = {run.name: index for index, run in enumerate(sorted(runs, key=lambda run: run.algo == "bc"))}
    for run in runs:
        method = _ALGO_NAMES.get(run.algo, run.algo)
        method = method if algos.count(run.algo) == 1 else f"{method}, {run.name}"
        rows.extend(_run_rows(run, method, colors[run.name]))
    rows.extend(_reference_rows(runs, "expert", "Expert", 1.0))
    return EnvironmentTable(runs[0].env_id, runs[0].env_kwargs, tuple(rows))


def _reference_rows(runs: list[Run], kind: Literal["random", "expert"], method: str, score: float) -> list[Row]:
    """One row for each value that the runs were scored against: other demonstrations, another expert."""
    users: dict[float, list[str]] = {}
    for run in runs:
        for summary in run.summaries:
            value = summary.get(f"{kind}_return")
            if value is not None and run.name not in users.setdefault(value, []):
                users[value].append(run.name)
    return [
        Row(f"{method}, {', '.join(names)}" if len(users) > 1 else method, kind, value, normalized=score)
        for value, names in users.items()
    ]


def _run_rows(run: Run, method: str, color: int) -> list[Row]:
    summaries = run.summaries
    note = "" if run.finished else _unfinished(run)
    returns = _known(summaries, "return_mean")
    if not returns:
        return [RunRow(method, "run", None, seeds=len(run.seeds), note=note, run=run, color=color)]
    several = len(returns) > 1
    interval = mean_interval(returns)
    ends: Sequence[float | None] = (interval.low, interval.high)
    if not several:
        ends = summaries[0].get("return_interval", (None, None))
    low, high = ends
    return_interval = None if low is None or high is None else (low, high)
    random, expert = (_known(summaries, f"{kind}_return") for kind in ("random", "expert"))
    score: float | None = None
    score_interval = None
    if random and expert:
        score = normalized(interval.mean, random[0], expert[0])
        if return_interval is not None:
            a, b = (normalized(end, random[0], expert[0]) for end in return_interval)
            score_interval = (min(a, b), max(a, b))
    demos = _known(summaries, "demo_episodes")
    steps, seconds = _known(summaries, "steps"), _known(summaries, "wall_seconds")
    rows: list[Row] = [
        RunRow(
            method,
            "run",
            interval.mean,
            return_interval,
            over_episodes=not several,
            normalized=score,
            normalized_interval=score_interval,
            env_steps=0 if run.algo in _GRADIENT_STEPPED else int(max(steps)) if steps else None,
            seconds=sum(seconds) / len(seconds) if seconds else None,
            demo_episodes=int(demos[0]) if demos else None,
            seeds=len(returns),
            note=note,
            run=run,
            color=color,
        )
    ]
    controls = [summary["nonsense_check"] for summary in summaries if summary.get("nonsense_check")]
    control_returns = _known(controls, "return_mean")
    if control_returns:
        scores = _known(controls, "normalized_return")
        rows.append(
            Row(
                f"{method}, on random demos",
                "control",
                sum(control_returns) / len(control_returns),
                normalized=sum(scores) / len(scores) if scores else None,
                seeds=len(control_returns),
                note="control",
            )
        )
    return rows


def _unfinished(run: Run) -> str:
    done = len(run.summaries)
    if done:
        return f"unfinished: {done} of {len(run.seeds)} seeds done" if done < len(run.seeds) else "unfinished"
    steps = [int(seed.metrics["step"][-1]) for seed in run.seeds if len(seed.metrics.get("step", ()))]
    return f"unfinished, at step {max(steps):,}" if steps else "unfinished, nothing logged yet"


def _known(tables: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [table[name] for table in tables if table.get(name) is not None]


def format_number(value: float | None, decimals: int) -> str:
    """``value`` with ``decimals`` decimals and grouped thousands; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    # Adding 0.0 turns the -0.0 that rounding leaves into 0.0.
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
