"""Curves of runs as SVG that takes its colors and its font from the page around it.

Names from run directories never enter a figure: the page's legend shows them, so that nothing in a name can be
read as markup or as mathematics.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from gail.report.canvas import PAGE, Figure, new_axes, to_svg
from gail.report.curves import Curve, mean_curve, seed_curves
from gail.report.panels import PANELS, Panel
from gail.report.table import EnvironmentTable, RunRow


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
    with matplotlib.rc_context(PAGE.style()):
        figure, axes = new_axes(9.8, 3.2, left=0.72, right=1.35)
        for row, found in zip(environment.runs, curves, strict=True):
            if not found:
                continue
            color = PAGE.run(row.color)
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
        svg = to_svg(figure, "Return against environment steps")
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
    with matplotlib.rc_context(PAGE.style()):
        figure, axes = new_axes(3.0, 2.0, left=0.5, right=0.1)
        if panel.reference is not None:
            axes.axhline(panel.reference, color=PAGE.muted, linewidth=0.9, linestyle=(0, (1, 2)))
        for color, style, curves in drawn:
            if curves:
                _draw_mean(axes, mean_curve(curves), PAGE.run(color), style, 1.4)
        axes.set_xlabel(panel.unit)
        axes.set_xlim(left=0)
        if panel.limits is not None:
            axes.set_ylim(*panel.limits)
        if panel.lines:
            for style, name in zip(("-", (0, (3, 1.6))), panel.lines, strict=True):
                axes.plot([], [], color=PAGE.ink, linewidth=1.2, linestyle=style, label=name)
            axes.legend(loc="lower right", bbox_to_anchor=(1.03, 0.97), ncols=2, handlelength=1.8, columnspacing=1.2)
        svg = to_svg(figure, panel.title)
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
            lines.append((value, name, PAGE.ink, style))
    for row in environment.runs:
        if row.run.algo == "bc" and row.return_mean is not None:
            lines.append((row.return_mean, "behaviour cloning", PAGE.run(row.color), (0, (3, 1.5, 1, 1.5))))
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
