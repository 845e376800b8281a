"""One self-contained HTML page over any mix of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gail.core.errors import InputError
from gail.core.files import write_text_atomic
from gail.core.metrics import meaning
from gail.report.canvas import COLOR_COUNT, Figure
from gail.report.figures import diagnostics, learning_curves
from gail.report.fits import fit_section
from gail.report.html import embed_video, render
from gail.report.load import Training, load_runs_and_fits
from gail.report.table import COLUMNS, NOTES, EnvironmentTable, Row, comparison_table

_GROUPS = (
    ("discriminator", "Discriminator"),
    ("policy", "Policy updates"),
    ("cloning", "Behaviour cloning"),
)


@dataclass(frozen=True)
class _Section:
    """One environment's part of the page."""

    table: EnvironmentTable
    curves: Figure | None
    groups: list[tuple[str, list[Figure]]]


def build_report(
    runs: Sequence[str | Path],
    out: str | Path,
    *,
    title: str | None = None,
    videos: Mapping[str, str | Path] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write one HTML file that shows ``runs``: table, curves, diagnostics, configuration. It loads nothing.

    Args:
        runs: run directories, in any mix of environments, methods and numbers of seeds, and of fitted generators;
            finished or not.
        out: the file, written atomically.
        title: the page's heading; None names what is on it.
        videos: caption to mp4 file; each is embedded.
        overwrite: replace ``out`` where it exists.

    Returns:
        ``out``.

    Raises:
        InputError: where ``out`` exists and ``overwrite`` is not set, a directory is not a run or holds a damaged
            file, or a video cannot be read.
    """
    out = Path(out)
    if out.is_dir():
        raise InputError(f"{out}: is a folder, expected the name of an HTML file")
    if out.exists() and not overwrite:
        raise InputError(f"{out}: exists already; choose another name, or overwrite it on purpose (--overwrite)")
    loaded, fits = load_runs_and_fits(runs)
    pictures = [embed_video(label, Path(path)) for label, path in (videos or {}).items()]
    table = comparison_table(loaded)
    page = render(
        "page.html",
        title=title or ("Imitation report" if loaded else "Generators"),
        columns=COLUMNS,
        notes=NOTES,
        sections=[_section(part) for part in table.environments],
        videos=pictures,
        runs=loaded,
        fits=[fit_section(fit) for fit in fits],
        trainings=[*loaded, *fits],
        configuration=_configuration,
        provenance=_provenance,
        metrics=_metric_meanings([*loaded, *fits]),
        color=_color,
        strip=_strip,
    )
    write_text_atomic(out, page)
    return out


def _section(table: EnvironmentTable) -> _Section:
    groups = [(title, list(diagnostics(table, name))) for name, title in _GROUPS]
    return _Section(table, learning_curves(table), [(title, figures) for title, figures in groups if figures])


def _color(index: int) -> str:
    return f"var(--run-{index % COLOR_COUNT + 1})"


def _strip(row: Row) -> dict[str, float] | None:
    """Where the table's little scale from random (0) to expert (1) puts a score, in percent of its width."""
    if row.normalized is None or row.normalized != row.normalized:
        return None

    def place(score: float) -> float:
        return round(min(max((score + 0.1) / 1.2, 0.0), 1.0) * 100, 1)

    low, high = row.normalized_interval or (row.normalized, row.normalized)
    return {"at": place(row.normalized), "low": place(low), "high": place(high)}


def _configuration(run: Training) -> list[tuple[str, Any]]:
    """The run's settings by dotted name; the seed is listed with the seeds."""
    settings = _flat({"run": {k: v for k, v in run.seeds[0].config["run"].items() if k != "seed"}}, "")
    return settings + _flat(run.seeds[0].config["config"], "")


def _provenance(run: Training) -> list[tuple[str, Any]]:
    """Where the run comes from: directory, seeds, progress, versions, hardware."""
    origin = run.seeds[0].config.get("provenance", {})
    origin = origin if isinstance(origin, dict) else {}
    state = "finished" if run.finished else f"unfinished, {len(run.summaries)} of {len(run.seeds)} seeds done"
    seeds = ", ".join("?" if seed.seed is None else str(seed.seed) for seed in run.seeds)
    versions = origin.get("versions", {})
    rows: list[tuple[str, Any]] = [("directory", run.directory), ("seeds", f"{seeds} ({state})")]
    rows += [(name.replace("_", " "), value) for name, value in origin.items() if name != "versions" and value]
    if not origin.get("git_revision"):
        rows.append(("git revision", "not recorded (no git checkout)"))
    if isinstance(versions, dict):
        rows.append(("versions", ", ".join(f"{name} {number}" for name, number in versions.items())))
    exact = [summary["exact_resume"] for summary in run.summaries if "exact_resume" in summary]
    if exact:
        rows.append(("exact resume", "yes" if all(exact) else "no"))
    return rows


def _flat(table: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            rows.extend(_flat(value, f"{prefix}{name}."))
        else:
            rows.append((prefix + name, value))
    return rows


def _metric_meanings(runs: Sequence[Training]) -> list[tuple[str, str]]:
    names = dict.fromkeys(name for run in runs for seed in run.seeds for name in seed.metrics)
    return [(name, meaning(name) or "not in the table of metrics") for name in names]
