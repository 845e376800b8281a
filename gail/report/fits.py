"""Fitted generators on a page: what they are, their losses, and their newest samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from gail.core.errors import InputError
from gail.report.canvas import PAGE, Figure, new_axes, to_svg
from gail.report.curves import seed_curves
from gail.report.html import Picture, embed_picture
from gail.report.load import Fit

_EXCERPT = 2_000
"""Characters of generated text that the page shows."""
_FACTS = ("data_kind", "items", "held_out_items", "classes", "parameters", "steps", "batch_size", "wall_seconds")


@dataclass(frozen=True)
class FitSection:
    """One generator's part of the page."""

    fit: Fit
    facts: list[tuple[str, str]]
    """Names and values, of its summary and its held-out losses; empty while it is unfinished."""
    losses: list[Figure]
    """One for each network that is trained on its own."""
    picture: Picture | None
    """Its newest samples, where they are a picture."""
    text: str | None
    """The same, where they are text."""
    samples: str
    """The name of their file; empty where none was drawn."""


def fit_section(fit: Fit) -> FitSection:
    """Read what the page shows of ``fit``.

    Raises:
        InputError: where its samples cannot be read.
    """
    drawn = sorted(path for path in (fit.directory / "samples").glob("step-*") if path.suffix in (".png", ".txt"))
    newest = drawn[-1] if drawn else None
    picture = embed_picture(newest) if newest is not None and newest.suffix == ".png" else None
    text = _excerpt(newest) if newest is not None and newest.suffix == ".txt" else None
    return FitSection(fit, _facts(fit), _losses(fit), picture, text, newest.name if newest else "")


def _excerpt(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")[:_EXCERPT]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text ({error})") from error


def _facts(fit: Fit) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for summary in fit.summaries:
        facts += [(name.replace("_", " "), _written(summary[name])) for name in _FACTS if summary.get(name)]
        facts += [(f"held-out {name}", _written(value)) for name, value in _held_out(summary).items()]
    return facts


def _written(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _held_out(summary: dict[str, Any]) -> dict[str, float]:
    found = summary.get("held_out")
    return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def _losses(fit: Fit) -> list[Figure]:
    figures = []
    held_out = {name: value for summary in fit.summaries for name, value in _held_out(summary).items()}
    for metric in fit.seeds[0].metrics:
        player, _, name = metric.rpartition("/")
        curves = seed_curves(fit, metric)
        if name != "loss" or not curves:
            continue
        with matplotlib.rc_context(PAGE.style()):
            figure, axes = new_axes(9.8, 2.4, left=0.72, right=0.2)
            marker = "o" if len(curves[0].steps) == 1 else ""
            axes.plot(curves[0].steps, curves[0].values, marker=marker, color=PAGE.run(0), linewidth=1.6)
            if metric in held_out:
                axes.axhline(held_out[metric], color=PAGE.ink, linewidth=1.0, linestyle=(0, (1, 2)))
            axes.set_xlabel("training steps")
            axes.set_xlim(left=0)
            svg = to_svg(figure, f"Loss of the {player}")
        reading = "Mean over the minibatches of each round"
        if metric in held_out:
            reading += "; dotted: over the held-out items at the end, which training never saw"
        figures.append(Figure(f"Loss of the {player}", f"{reading}.", svg))
    return figures
