"""Samples as pictures: grids of images, text, and plots of what transitions and episodes look like."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image
from torch import Tensor

from gail.core.files import write_atomic, write_text_atomic
from gail.demos.types import Demonstrations

_MOST_PANELS = 12
"""Columns that a plot of transitions or episodes shows."""
_TEAL, _GREY = "#0b7285", "#adb5bd"


def write_preview(product: Any, stem: Path, *, real: Any = None, columns: int | None = None) -> Path:
    """Draw what ``codec.decode`` gave beside ``stem`` and return the file: ``.png``, or ``.txt`` for text and tokens.

    Args:
        product: images (uint8 ``[n, C, H, W]``), texts, token rows, or demonstrations.
        stem: the file without its suffix.
        real: demonstrations of the data to draw in grey under generated ones.
        columns: of a grid of images; None makes it about square.
    """
    if isinstance(product, Demonstrations):
        data = _transition_plot(product, real) if product.kind == "transitions" else _episode_plot(product, real)
        return _write(stem.with_suffix(".png"), data)
    if isinstance(product, Tensor) and product.ndim == 4:
        return write_png(image_grid(product.cpu().numpy(), columns=columns), stem.with_suffix(".png"))
    rows = [" ".join(map(str, row)) for row in product.tolist()] if isinstance(product, Tensor) else product
    path = stem.with_suffix(".txt")
    write_text_atomic(path, ("\n" + "-" * 40 + "\n").join(rows) + "\n")
    return path


def image_grid(images: np.ndarray, *, columns: int | None = None) -> np.ndarray:
    """``[n, C, H, W]`` bytes as one picture ``[height, width, 3]`` with a line between images, enlarged where small."""
    count, _, height, width = images.shape
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    scale = max(1, 56 // max(height, width))
    colour = np.broadcast_to(images, (count, 3, height, width)) if images.shape[1] == 1 else images[:, :3]
    large = colour.repeat(scale, axis=2).repeat(scale, axis=3)
    cell_height, cell_width = height * scale + 2, width * scale + 2
    grid = np.full((rows * cell_height, columns * cell_width, 3), 96, np.uint8)
    for place, image in enumerate(large):
        top, left = place // columns * cell_height + 1, place % columns * cell_width + 1
        grid[top : top + height * scale, left : left + width * scale] = image.transpose(1, 2, 0)
    return grid


def write_png(pixels: np.ndarray, path: Path) -> Path:
    """Write ``[height, width]`` or ``[height, width, 3]`` bytes to ``path``, atomically, and return it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return _write(path, buffer.getvalue())


def _write(path: Path, data: bytes) -> Path:
    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomic(path, write)
    return path


def _columns_of(demos: Demonstrations) -> dict[str, list[np.ndarray]]:
    """Each number of a step, by name, as one series per trajectory."""
    series: dict[str, list[np.ndarray]] = {}
    for trajectory in demos:
        parts = {"obs": trajectory.observations, "action": trajectory.actions}
        if trajectory.rewards is not None:
            parts["reward"] = trajectory.rewards
        for name, values in parts.items():
            flat = values.reshape(len(values), -1).astype(np.float64)
            for column in range(flat.shape[1]):
                label = name if flat.shape[1] == 1 else f"{name} {column}"
                series.setdefault(label, []).append(flat[:, column])
    return dict(list(series.items())[:_MOST_PANELS])


def _panels(count: int) -> tuple[Figure, list[Any]]:
    columns = min(count, 4)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.0 * columns, 2.1 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, columns, place + 1) for place in range(count)]
    for panel in axes:
        panel.tick_params(labelsize=7)
        panel.xaxis.set_major_locator(MaxNLocator(nbins=4))
        panel.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _transition_plot(demos: Demonstrations, real: Demonstrations | None) -> bytes:
    """Histograms of every column: generated as a line over the data in grey."""
    columns = _columns_of(demos)
    behind = {} if real is None else _columns_of(real)
    figure, axes = _panels(len(columns))
    for panel, (name, series) in zip(axes, columns.items(), strict=True):
        values = np.concatenate(series)
        below = np.concatenate(behind[name]) if name in behind else None
        edges = np.histogram_bin_edges(values if below is None else np.concatenate([values, below]), 40)
        if below is not None:
            panel.hist(below, edges, density=True, color=_GREY)
        panel.hist(values, edges, density=True, histtype="step", color=_TEAL, linewidth=1.3)
        panel.set_title(name, fontsize=8)
        panel.set_yticks([])
    return _save(figure)


def _episode_plot(demos: Demonstrations, real: Demonstrations | None) -> bytes:
    """Every column over time: generated episodes in colour, the data's in grey."""
    columns = _columns_of(demos)
    behind = {} if real is None else _columns_of(real)
    figure, axes = _panels(len(columns))
    for panel, (name, series) in zip(axes, columns.items(), strict=True):
        for values in behind.get(name, []):
            panel.plot(values, color=_GREY, linewidth=0.7)
        for values in series:
            panel.plot(values, color=_TEAL, linewidth=0.9, alpha=0.8)
        panel.set_title(name, fontsize=8)
    return _save(figure)
