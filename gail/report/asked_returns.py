"""The return that was asked for against the one that was achieved, as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

from gail.report.canvas import PAPER, new_axes, write_png


def asked_returns_picture(result: Mapping[str, Any], path: Path) -> None:
    """Draw the result of :func:`gail.generators.evaluate_targets` to the PNG file ``path``.

    Means as points with 95% intervals over episodes; on the line, what was asked for is achieved.
    """
    rows = result["rows"]
    asked = [row["target"] for row in rows]
    means = [row["return_mean"] for row in rows]
    low = [max(row["return_mean"] - row["return_interval"][0], 0.0) for row in rows]
    high = [max(row["return_interval"][1] - row["return_mean"], 0.0) for row in rows]
    with matplotlib.rc_context(PAPER.style()):
        figure, axes = new_axes(4.6, 3.6, left=0.72, right=0.2)
        ends = [min(*asked, *means), max(*asked, *means)] if len(rows) > 1 else [min(asked[0], means[0]), asked[0]]
        axes.plot(ends, ends, color=PAPER.muted, linewidth=0.8)
        axes.errorbar(asked, means, yerr=[low, high], fmt="o", markersize=4, capsize=3, color=PAPER.run(0))
        axes.set_xlabel("return asked for")
        axes.set_ylabel("return achieved")
        write_png(figure, path)
