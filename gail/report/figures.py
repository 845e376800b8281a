"""Curves of runs as SVG that takes its colors and its font from the page around it.

Names from run directories never enter a figure: the page's legend shows them, so that nothing in a name can be
read as markup or as mathematics.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gail.report.curves import Curve, mean_curve, seed_curves
from gail.report.panels import PANELS, Panel
from gail.report.table import EnvironmentTable, RunRow

COLOR_COUNT = 8
"""The page defines ``--run-1`` to ``--run-8``; further runs start again from the first."""

_INK, _MUTED, _GRID = "#0a0a01", "#0a0a02", "#0a0a03"
_VARIABLES = {_INK: "var(--ink)", _MUTED: "var(--muted)", _GRID: "var(--rule)"} | {
    f"#0b0b{i:02x}": f"var(--run-{i})" for i in range(1, COLOR_COUNT + 1)
}
"""Colors that mark their places in matplotlib's output, and what the page puts there."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": _INK,
    "axes.labelcolor": _MUTED,
    "axes.edgecolor": _MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Figure:
    """One figure of the page."""

    title: str
    reading: str
    """One sentence: how to read it."""
    svg: str
    """An ``<svg>`` element, to be inlined in HTML; it loads nothing."""


def learning_curves(environment: EnvironmentTable) -> Figure | None:
    """Return against environment steps for every run that logged returns.

    Args:
        environment: names the runs; random play, the expert and behaviour cloning are horizontal lines.

    Returns:
        The figure, or None where no run logged a return.
    """
    curves = [seed_curves(row.run, "return_mean") for row in environment.runs]
    if not any(curves):
        return None
    several = any(len(found) > 1 for found in curves)
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(9.8, 3.2, left=0.72, right=1.35)
        for row, found in zip(environment.runs, curves, strict=True):
            if not found:
                continue
            color = _color(row.color)
            if len(found) > 1:
                for curve in found:
                    axes.plot(curve.steps, curve.values, color=color, linewidth=0.7, alpha=0.4)
            _draw_mean(axes, mean_curve(found), color, "-", 1.8)
            for seed in row.run.seeds:
                if seed.summary is not None and seed.summary.get("return_mean") is not None:
                    last = max(float(curve.steps[-1]) for curve in found)
                    axes.plot(
                        [last],
                        [seed.summary["return_mean"]],
                        "o",
                        markersize=5,
                        color=color,
                        markerfacecolor="none",
                        clip_on=False,
                        zorder=5,
                    )
        _draw_references(axes, environment)
        axes.set_xlabel("environment steps")
        axes.set_ylabel("return")
        axes.set_xlim(left=0)
        svg = _to_svg(figure, "Return against environment steps")
    seeds = "thin lines: seeds; thick: their mean, with a band of one standard error; " if several else ""
    reading = (
        f"Mean true return of the last 100 training episodes, which the learner never sees ({seeds}circles: the "
        "final evaluation of each seed, with deterministic actions): it should climb from random towards the expert."
    )
    return Figure("Return", reading, svg)


def diagnostics(environment: EnvironmentTable, group: str) -> Iterator[Figure]:
    """The figures of one group of :data:`gail.report.panels.PANELS` for which any run logged the metric."""
    for panel in PANELS:
        if panel.group == group:
            figure = _draw_panel(panel, environment.runs)
            if figure is not None:
                yield figure


def _draw_panel(panel: Panel, rows: Sequence[RunRow]) -> Figure | None:
    drawn = [
        (row.color, style, seed_curves(row.run, metric))
        for row in rows
        for metric, style in zip(panel.metrics, ("-", (0, (3, 1.6))), strict=False)
    ]
    if not any(curves for _, _, curves in drawn):
        return None
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(3.0, 2.0, left=0.5, right=0.1)
        if panel.reference is not None:
            axes.axhline(panel.reference, color=_MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        for color, style, curves in drawn:
            if curves:
                _draw_mean(axes, mean_curve(curves), _color(color), style, 1.4)
        axes.set_xlabel(panel.unit)
        axes.set_xlim(left=0)
        if panel.limits is not None:
            axes.set_ylim(*panel.limits)
        if panel.lines:
            for style, name in zip(("-", (0, (3, 1.6))), panel.lines, strict=True):
                axes.plot([], [], color=_INK, linewidth=1.2, linestyle=style, label=name)
            axes.legend(loc="lower right", bbox_to_anchor=(1.03, 0.97), ncols=2, handlelength=1.8, columnspacing=1.2)
        svg = _to_svg(figure, panel.title)
    return Figure(panel.title, panel.reading, svg)


def _draw_mean(axes: Axes, curve: Curve, color: str, style: Any, width: float) -> None:
    axes.plot(curve.steps, curve.values, color=color, linewidth=width, linestyle=style)
    if curve.error is not None:
        low, high = curve.values - curve.error, curve.values + curve.error
        axes.fill_between(curve.steps, low, high, color=color, alpha=0.14, linewidth=0)


def _draw_references(axes: Axes, environment: EnvironmentTable) -> None:
    lines: list[tuple[float, str, str, Any]] = []
    for kind, name, style in (("expert", "expert", (0, (5, 2.5))), ("random", "random", (0, (1, 2)))):
        value = environment.reference(kind)  # type: ignore[arg-type]
        if value is not None:
            lines.append((value, name, _INK, style))
    for row in environment.runs:
        if row.run.algo == "bc" and row.return_mean is not None:
            lines.append((row.return_mean, "behaviour cloning", _color(row.color), (0, (3, 1.5, 1, 1.5))))
    for value, _, color, line_style in lines:
        axes.axhline(value, color=color, linewidth=1.0, linestyle=line_style)
    low, high = axes.get_ylim()
    gap, floor = 0.075 * (high - low), -np.inf
    for value, name, color, _ in sorted(lines, key=lambda line: line[0]):
        floor = max(value, floor + gap)
        axes.annotate(
            name,
            (1.0, floor),
            xycoords=("axes fraction", "data"),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=color,
            annotation_clip=False,
        )


def _axes(width: float, height: float, *, left: float, right: float) -> tuple[MatplotlibFigure, Axes]:
    """Axes with margins in inches, so that figures of one size line up."""
    figure = MatplotlibFigure(figsize=(width, height))
    FigureCanvasSVG(figure)
    bottom, top = 0.48, 0.28
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    axes.grid(False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if width < 5 else 8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def _short(value: float) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def _color(index: int) -> str:
    return f"#0b0b{index % COLOR_COUNT + 1:02x}"


def _to_svg(figure: MatplotlibFigure, label: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    body = text[text.index(">", text.index("<svg")) + 1 :]
    # Metadata names web addresses, and the style element would apply to the whole page.
    body = re.sub(r"<(metadata|style)\b.*?</\1>", "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    # A hundredth of a point is finer than any screen; the text between tags keeps its digits.
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\d\.\d\d)\d+", r"\1", tag[0]), body)
    for color, variable in _VARIABLES.items():
        body = body.replace(color, variable)
    body = re.sub(r"; font-family: [^;\"]*", "", body)
    # Several figures share one page: the ids that are referred to carry a random salt, the others go.
    used = set(re.findall(r"#([\w-]+)", body))
    body = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", body)
    width, height = figure.get_size_inches() * 72
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{label}">{body}'
