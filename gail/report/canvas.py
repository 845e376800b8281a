"""What every figure shares: style, palettes, axes, and the way to SVG and PNG.

Figures in a page take their colors and their font from the page around them, light or dark: they are drawn in marker
colors, which become the page's variables. Figures in files are drawn in the page's light colors.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gail.core.files import write_atomic


@dataclass(frozen=True)
class Figure:
    """One figure of the page."""

    title: str
    reading: str
    """One sentence: how to read it."""
    svg: str
    """An ``<svg>`` element, to be inlined in HTML; it loads nothing."""


@dataclass(frozen=True)
class Palette:
    """The colors of a figure."""

    ink: str
    """Text and reference lines."""
    muted: str
    """Axes and their labels."""
    grid: str
    """Grid lines."""
    runs: tuple[str, ...]
    """Runs, in the order of the legend; further ones start again from the first."""

    def run(self, index: int) -> str:
        """The color of run ``index``, from 0."""
        return self.runs[index % len(self.runs)]

    def style(self) -> dict[Any, Any]:
        """Settings for ``matplotlib.rc_context``."""
        return {
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.titlesize": 9,
            "axes.labelsize": 9,
            "xtick.labelsize": 8.5,
            "ytick.labelsize": 8.5,
            "legend.fontsize": 8.5,
            "text.color": self.ink,
            "axes.labelcolor": self.muted,
            "axes.edgecolor": self.muted,
            "axes.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": self.grid,
            "grid.linewidth": 0.6,
            "xtick.color": self.muted,
            "ytick.color": self.muted,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "lines.solid_capstyle": "round",
            "legend.frameon": False,
        }


COLOR_COUNT: Final = 8
"""The page defines ``--run-1`` to ``--run-8``."""

PAGE: Final = Palette("#0a0a01", "#0a0a02", "#0a0a03", tuple(f"#0b0b{i:02x}" for i in range(1, COLOR_COUNT + 1)))
"""Colors that mark their places in matplotlib's output, for :func:`to_svg`."""

PAPER: Final = Palette(
    "#1d2126",
    "#5d6570",
    "#e3e3de",
    ("#1f5fa8", "#c2571a", "#1d7f5f", "#9a3f86", "#8a6d00", "#b3303c", "#3f8195", "#6b5bb5"),
)
"""The light colors of ``page.css``, for :func:`write_png`."""

_VARIABLES = {PAGE.ink: "var(--ink)", PAGE.muted: "var(--muted)", PAGE.grid: "var(--rule)"} | {
    marker: f"var(--run-{i})" for i, marker in enumerate(PAGE.runs, start=1)
}


def new_axes(width: float, height: float, *, left: float, right: float) -> tuple[MatplotlibFigure, Axes]:
    """Axes with margins in inches, so that figures of one size line up."""
    figure = MatplotlibFigure(figsize=(width, height))
    FigureCanvasSVG(figure)
    bottom, top = 0.48, 0.28
    axes = figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height))
    axes.grid(False, axis="x")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4 if width < 5 else 8, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short_number(value)))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
    return figure, axes


def short_number(value: float) -> str:
    """A tick label: 20k, 1.5M."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


def to_svg(figure: MatplotlibFigure, label: str) -> str:
    """An ``<svg>`` element in the page's own colors, of a figure drawn with :data:`PAGE`."""
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


def write_png(figure: MatplotlibFigure, path: Path) -> None:
    """Write a figure that was drawn with :data:`PAPER`, for print (300 dots per inch), atomically."""
    write_atomic(path, lambda temporary: figure.savefig(temporary, format="png", dpi=300, facecolor="white"))
