"""What a suite of Atari games shows: performance profile and scores per game, as PNG files and as one page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.ticker import FuncFormatter, NullLocator

from gail.agents.protocols import PROTOCOLS
from gail.core.files import write_text_atomic
from gail.report.canvas import PAGE, PAPER, Figure, Palette, new_axes, to_svg, write_png
from gail.report.html import embed_video, render

_ENDS = (1.2, 2.0, 4.0, 8.0)
"""Where the profile's score axis may end."""
_TICKS = (-1.0, 0.0, 0.25, 1.0, 2.0, 5.0, 10.0, 50.0, 100.0)
_NAMES = {"median": "Median", "iqm": "IQM", "mean": "Mean", "optimality_gap": "Optimality gap"}
_RUN_DOTS = 0.45
"""Opacity of single runs beside their mean."""


def suite_report(
    summary: Mapping[str, Any], out: Path, *, title: str, videos: Mapping[str, Path] | None = None
) -> Path:
    """Write ``profile.png``, ``scores.png`` and ``report.html`` into ``out``, over what an earlier call wrote.

    Args:
        summary: from :func:`gail.agents.suite.evaluate_suite`.
        out: the folder, as given to it.
        title: the page's heading.
        videos: caption to mp4 file; each is embedded.

    Returns:
        The page.

    Raises:
        InputError: where a video cannot be read, or a file cannot be written.
    """
    figures = []
    for name, heading, reading, draw in (
        ("profile", "Performance profile", _profile_reading(summary), _draw_profile),
        ("scores", "Score per game", _scores_reading(summary), _draw_scores),
    ):
        write_png(_figure(draw, summary, PAPER), out / f"{name}.png")
        figures.append(Figure(heading, reading, to_svg(_figure(draw, summary, PAGE), heading)))
    page = render(
        "suite.html",
        title=title,
        summary=summary,
        protocol=PROTOCOLS[summary["protocol"]],
        names=_NAMES,
        figures=figures,
        videos=[embed_video(label, path) for label, path in (videos or {}).items()],
        number=_number,
        interval=_interval,
    )
    write_text_atomic(out / "report.html", page)
    return out / "report.html"


def _figure(
    draw: Callable[[Mapping[str, Any], Palette], MatplotlibFigure], summary: Mapping[str, Any], palette: Palette
) -> MatplotlibFigure:
    with matplotlib.rc_context(palette.style()):
        return draw(summary, palette)


def _draw_profile(summary: Mapping[str, Any], palette: Palette) -> MatplotlibFigure:
    profile = {name: np.asarray(values, np.float64) for name, values in summary["profile"].items()}
    taus, share, color = profile["taus"], profile["share"], palette.run(0)
    figure, axes = new_axes(6.0, 3.2, left=0.62, right=0.3)
    reached = float(taus[np.nonzero(share)[0].max()]) if share.any() else 0.0
    end = next((limit for limit in _ENDS if reached < limit), _ENDS[-1])
    _mark(axes, 1.0, "human", (0, (5, 2.5)), palette)
    axes.fill_between(taus, profile["low"], profile["high"], step="post", color=color, alpha=0.18, linewidth=0)
    axes.step(taus, share, where="post", color=color, linewidth=1.8)
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f}%"))
    axes.set_xlabel("human-normalized score $\\tau$")
    axes.set_ylabel("runs with a score above $\\tau$")
    return figure


def _draw_scores(summary: Mapping[str, Any], palette: Palette) -> MatplotlibFigure:
    rows = sorted(summary["games"], key=lambda row: row["human_normalized"])
    figure, axes = new_axes(6.0, 0.95 + 0.19 * len(rows), left=1.45, right=0.3)
    axes.grid(True, axis="x")
    axes.grid(False, axis="y")
    axes.set_xscale("symlog", linthresh=0.5, linscale=0.6)
    for place, label, style in ((0.0, "random", (0, (1, 2))), (1.0, "human", (0, (5, 2.5)))):
        _mark(axes, place, label, style, palette)
    color = palette.run(0)
    for y, row in enumerate(rows):
        runs = row["run_scores"]
        axes.plot([min(runs), max(runs)], [y, y], color=color, linewidth=0.8, alpha=_RUN_DOTS)
        if len(runs) > 1:
            axes.plot(runs, [y] * len(runs), "o", markersize=3, color=color, alpha=_RUN_DOTS, markeredgewidth=0)
        axes.plot([row["human_normalized"]], [y], "o", markersize=5, color=color)
    axes.set_yticks(range(len(rows)), [row["game"] for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    lowest = min(min(row["run_scores"]) for row in rows)
    highest = max(max(row["run_scores"]) for row in rows)
    axes.set_xlim(min(lowest * 1.15, -0.12), max(highest * 1.15, 1.2))
    axes.set_xticks([tick for tick in _TICKS if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("human-normalized score")
    return figure


def _mark(axes: Axes, place: float, label: str, style: Any, palette: Palette) -> None:
    """A named vertical line."""
    axes.axvline(place, color=palette.muted, linewidth=0.9, linestyle=style)
    axes.annotate(
        label,
        (place, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(0, 4),
        textcoords="offset points",
        ha="center",
        color=palette.muted,
        fontsize=8.5,
    )


def _profile_reading(summary: Mapping[str, Any]) -> str:
    runs = len(summary["games"]) * summary["runs_per_game"]
    band = "the band is a 95% interval at each point; " if summary["runs_per_game"] > 1 else ""
    return (
        f"For every score, the share of the {runs} runs of all games that did better ({band}higher is better, and the "
        "area below up to a score of 1 is one minus the optimality gap where no run is worse than random)."
    )


def _scores_reading(summary: Mapping[str, Any]) -> str:
    dots = "Large dots: mean of the runs; small dots: single runs. " if summary["runs_per_game"] > 1 else ""
    return f"{dots}0 plays like random play, 1 like the human tester; between -0.5 and 0.5 the axis is linear."


def _number(value: float | None, digits: int = 3) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:,.{digits}f}"


def _interval(ends: Sequence[float | None], digits: int = 3) -> str:
    if any(end is None or end != end for end in ends):
        return "–"
    return f"[{', '.join(_number(end, digits) for end in ends)}]"
