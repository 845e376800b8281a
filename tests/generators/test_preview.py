"""Pictures of samples can be read."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gail.demos.join import unrelated_transitions
from gail.demos.types import Demonstrations, Trajectory
from gail.generators import preview


def test_numbers_along_an_axis_do_not_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = preview._save
    monkeypatch.setattr(preview, "_save", lambda figure: (drawn.append(figure), save(figure))[1])
    actions = np.linspace(-0.0985, 0.0985, 80).reshape(20, 4)
    demos = Demonstrations((Trajectory(np.zeros((21, 1)), actions, None, False, True),))
    preview.write_preview(unrelated_transitions(demos), tmp_path / "samples")
    canvas = drawn[0].canvas
    assert isinstance(canvas, FigureCanvasAgg)
    for panel in drawn[0].axes:
        boxes = [label.get_window_extent(canvas.get_renderer()) for label in panel.get_xticklabels()]
        assert len(boxes) > 2 and all(a.x1 < b.x0 for a, b in pairwise(boxes))
