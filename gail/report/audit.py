"""The page of an audit of synthetic data, and its figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from gail.core.files import write_text_atomic
from gail.core.rundir import strict_json
from gail.generators import Audit
from gail.generators.audit import Pictures
from gail.report.canvas import PAGE, PAPER, Figure, Palette, new_axes, to_svg, write_png
from gail.report.html import render

_DOTS = 800
"""Rows of each set in a scatter plot."""
_HISTOGRAMS = 12
"""Columns whose distributions are drawn: those that differ most."""
_REAL, _SYNTHETIC = 0, 1
"""Colors of the two sets."""
_Drawing = tuple[str, str, Callable[[Audit, Palette], MatplotlibFigure]]


def audit_report(found: Audit, out: Path, *, png: bool = False) -> Path:
    """Write ``audit.json`` and the self-contained ``audit.html`` into ``out``.

    Args:
        found: from :func:`gail.audit`.
        out: a folder; made where it does not exist.
        png: also write each figure as a PNG file, called like its title.

    Returns:
        The page.
    """
    write_text_atomic(out / "audit.json", json.dumps(strict_json(found.summary), indent=2, default=str) + "\n")
    page = render(
        "audit.html",
        title="Audit of synthetic data",
        summary=found.summary,
        rows=audit_table(found),
        figures=_figures(found),
    )
    write_text_atomic(out / "audit.html", page)
    for title, _, draw in _drawings(found) if png else []:
        with matplotlib.rc_context(PAPER.style()):
            write_png(draw(found, PAPER), out / f"{title.lower().replace(' ', '-')}.png")
    return out / "audit.html"


def audit_table(found: Audit) -> list[dict[str, str]]:
    """What a person reads, as rows of ``measure``, ``synthetic``, ``real`` (beside real) and other ``anchors``."""
    values = found.summary
    persistence, linear = (_percent(values[name]) for name in ("persistence_error", "linear_error"))
    rows: list[tuple[str, ...]] = [
        (
            "dynamics error",
            _percent(values["dynamics_error"]),
            _percent(values["dynamics_error_floor"]),
            f"persistence {persistence}, linear model {linear}" if values["dynamics_error"] is not None else "",
        ),
        ("dynamics error, median row", _percent(values["dynamics_error_median"]), "", ""),
        ("reward error", _percent(values["reward_error"]), _percent(values["reward_error_floor"]), ""),
        ("rows whose state is known", _share(values["checked_share"]), _share(values["checked_share_real"]), ""),
        ("AUC", f"{values['auc']:.3f}", f"{values['auc_real_real']:.3f}", f"with 5% noise {values['auc_noise5']:.3f}"),
        ("KS, mean over columns", f"{values['ks_mean']:.3f}", f"{values['ks_mean_real_real']:.3f}", ""),
        (
            "KS, largest",
            f"{values['ks_max']:.3f}",
            f"{values['ks_max_real_real']:.3f}",
            f"column {values['ks_max_column']}",
        ),
        ("correlation gap", f"{values['correlation_gap']:.4f}", f"{values['correlation_gap_real_real']:.4f}", ""),
    ]
    for name in ("coverage", "density", "precision", "recall"):
        rows.append((name, f"{values[name]:.3f}", f"{values[f'{name}_real_real']:.3f}", ""))
    rows.append(("duplication", _share(values["duplication"]), _share(values["duplication_expected"]), ""))
    if values["novelty"] is not None:
        rows.append(("distance to training items", f"{values['novelty']:.2f}", "1", "median, over held-out rows'"))
    if values["return_mean"] is not None:
        returns = [f"{values[f'return_mean{of}']:,.1f} ± {values[f'return_std{of}']:,.1f}" for of in ("", "_real")]
        rows.append(("return", *returns, f"KS {values['return_ks']:.3f}"))
    return [dict(zip(("measure", "synthetic", "real", "anchors"), row, strict=True)) for row in rows]


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g}%"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _figures(found: Audit) -> list[Figure]:
    figures = []
    for title, reading, draw in _drawings(found):
        with matplotlib.rc_context(PAGE.style()):
            figures.append(Figure(title, reading, to_svg(draw(found, PAGE), title)))
    return figures


def _drawings(found: Audit) -> list[_Drawing]:
    """Title, how to read it, and what draws it."""
    pictures = found.pictures
    drawings: list[_Drawing] = []
    if pictures.real_errors is not None:
        reading = (
            "Share of rows whose one-step error is below: further left is nearer to the simulator; dotted: means of"
        )
        drawings.append(("Dynamics error", f"{reading} persistence and of a linear model on real rows.", _draw_errors))
    drawings += [
        (
            "Two-sample test",
            "How well trees tell each set from real rows: the synthetic set should lie at real beside real, and must "
            "lie left of real rows with 5% noise.",
            _draw_areas,
        ),
        (
            "Nearest training item",
            "Distances in units of the columns' spread: a synthetic set that lies left of held-out rows copies; left "
            "of the dotted line a row is a duplicate.",
            _draw_distances,
        ),
        (
            "Distribution of each column",
            "Kolmogorov-Smirnov statistic of state, action and next state: 0 is the same distribution.",
            _draw_columns,
        ),
        (
            "Columns that differ most",
            "Histograms, worst first: each column less its real mean, in units of its real spread.",
            _draw_histograms,
        ),
        (
            "Correlations",
            "Each dot is a pair of columns; on the diagonal the synthetic set has the real correlation.",
            _draw_correlations,
        ),
        (
            "Two main directions",
            "Rows projected on the first two principal components of the real set: holes are what is missed.",
            _draw_projection,
        ),
    ]
    if pictures.real_returns is not None:
        drawings.append(("Returns", "Of whole episodes.", _draw_returns))
    return drawings


def _legend(axes: Axes) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), handlelength=1.4)


def _draw_errors(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures = found.pictures
    assert pictures.real_errors is not None and pictures.synthetic_errors is not None
    figure, axes = new_axes(9.8, 3.0, left=0.72, right=1.5)
    shares = np.linspace(0, 1, 201)
    for name, errors, color in (
        ("real", pictures.real_errors, _REAL),
        ("synthetic", pictures.synthetic_errors, _SYNTHETIC),
    ):
        axes.plot(np.quantile(errors, shares).clip(1e-15), shares, color=palette.run(color), linewidth=1.8, label=name)
    axes.set_xscale("log")
    # Names on the outer sides of the two lines, however close those are.
    predictors = sorted((found.summary[f"{name}_error"], name) for name in ("persistence", "linear"))
    for (error, name), side in zip(predictors, ("right", "left"), strict=True):
        axes.axvline(error, color=palette.muted, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.annotate(name, (error, 1.02), xycoords=("data", "axes fraction"), ha=side, color=palette.muted, fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_xlabel("squared error over the state's variance")
    axes.set_ylabel("share of rows")
    _legend(axes)
    return figure


def _draw_areas(found: Audit, palette: Palette) -> MatplotlibFigure:
    figure, axes = new_axes(9.8, 1.7, left=1.8, right=0.5)
    rows = (("real + 5% noise", "auc_noise5", None), ("synthetic", "auc", _SYNTHETIC), ("real", "auc_real_real", _REAL))
    for place, (_, key, color) in enumerate(rows):
        ink = palette.muted if color is None else palette.run(color)
        axes.plot([0.5, found.summary[key]], [place, place], color=ink, linewidth=1.2)
        axes.plot([found.summary[key]], [place], "o", color=ink, markersize=6)
    axes.axvline(0.5, color=palette.muted, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(min(0.45, *(found.summary[key] - 0.02 for _, key, _ in rows)), 1.01)
    axes.set_xlabel("area under the ROC curve")
    return figure


def _draw_distances(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures = found.pictures
    both = (pictures.held_out_distances, pictures.synthetic_distances)
    figure, axes = new_axes(9.8, 2.8, left=0.72, right=1.5)
    _histogram(axes, palette, both, ("held-out real", "synthetic"), float(np.quantile(np.concatenate(both), 0.995)))
    axes.axvline(pictures.near, color=palette.ink, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.set_xlabel("distance")
    _legend(axes)
    return figure


def _histogram(
    axes: Axes,
    palette: Palette,
    both: tuple[NDArray[np.float64], ...],
    names: tuple[str, str],
    highest: float | None = None,
) -> None:
    """Both sets in the same bins, real first, as densities."""
    joined = np.concatenate(both)
    low, high = float(joined.min()), float(joined.max()) if highest is None else highest
    edges = np.linspace(low, high if high > low else low + 1.0, 41)
    for values, name, color in zip(both, names, (_REAL, _SYNTHETIC), strict=True):
        counts, _ = np.histogram(values, edges)
        axes.stairs(counts / len(values), edges, color=palette.run(color), linewidth=1.3, label=name)
    axes.yaxis.set_ticklabels([])


def _draw_columns(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures = found.pictures
    order = np.argsort(-pictures.ks)[:40]
    figure, axes = new_axes(9.8, 2.6, left=0.72, right=1.5)
    places = np.arange(len(order))
    axes.bar(places, pictures.ks[order], 0.6, color=palette.run(_SYNTHETIC), alpha=0.75, label="synthetic")
    axes.plot(
        places, pictures.ks_real_real[order], "o", color=palette.run(_REAL), markersize=4, label="real beside real"
    )
    axes.xaxis.set_major_formatter(lambda value, _: str(value))
    axes.set_xticks(places, [pictures.columns[place] for place in order], rotation=60, fontsize=7)
    axes.set_ylabel("KS")
    _legend(axes)
    return figure


def _draw_histograms(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures = found.pictures
    order = np.argsort(-pictures.ks, kind="stable")[:_HISTOGRAMS]
    across = 4
    down = -(-len(order) // across)
    figure = MatplotlibFigure(figsize=(9.8, 1.55 * down))
    grid = figure.subplots(down, across, squeeze=False)
    figure.subplots_adjust(left=0.03, right=0.99, top=1 - 0.12 / down * 2, bottom=0.22 / down, hspace=0.75, wspace=0.12)
    for axes, place in zip(grid.flat, order, strict=False):
        _histogram(axes, palette, (pictures.real[:, place], pictures.synthetic[:, place]), ("real", "synthetic"))
        axes.set_title(pictures.columns[place], loc="left")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
        axes.grid(False, axis="x")
    for axes in grid.flat[len(order) :]:
        axes.set_visible(False)
    # Beside the last title, whose name is short.
    figure.legend(
        *grid.flat[0].get_legend_handles_labels(),
        loc="upper right",
        bbox_to_anchor=(0.995, 1.0),
        ncols=2,
        handlelength=1.4,
    )
    return figure


def _draw_correlations(found: Audit, palette: Palette) -> MatplotlibFigure:
    figure, axes = new_axes(6.0, 4.2, left=0.72, right=0.6)
    pairs = found.pictures.correlations[:, :: max(found.pictures.correlations.shape[1] // _DOTS, 1)]
    axes.plot([-1, 1], [-1, 1], color=palette.muted, linewidth=0.9, linestyle=(0, (1, 2)))
    axes.plot(*pairs, "o", color=palette.run(_SYNTHETIC), markersize=3, alpha=0.5, markeredgewidth=0)
    axes.set_xlabel("real")
    axes.set_ylabel("synthetic")
    return figure


def _draw_projection(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures: Pictures = found.pictures
    _, _, directions = np.linalg.svd(pictures.real - pictures.real.mean(axis=0), full_matrices=False)
    figure, axes = new_axes(9.8, 4.4, left=0.72, right=1.5)
    for rows, name, color in ((pictures.real, "real", _REAL), (pictures.synthetic, "synthetic", _SYNTHETIC)):
        x, y = (rows[:: max(len(rows) // _DOTS, 1)] @ directions[:2].T).T
        axes.plot(x, y, "o", color=palette.run(color), markersize=2.6, alpha=0.55, markeredgewidth=0, label=name)
    axes.set_xlabel("first component")
    axes.set_ylabel("second component")
    _legend(axes)
    return figure


def _draw_returns(found: Audit, palette: Palette) -> MatplotlibFigure:
    pictures: Any = found.pictures
    figure, axes = new_axes(9.8, 2.6, left=0.72, right=1.5)
    _histogram(axes, palette, (pictures.real_returns, pictures.synthetic_returns), ("real", "synthetic"))
    axes.set_xlabel("return")
    _legend(axes)
    return figure
