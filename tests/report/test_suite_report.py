"""The page and the pictures of a suite."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gail.agents.atari_scores import PUBLISHED
from gail.agents.suite import summarize
from gail.report import suite_report


def summary(runs: int) -> dict[str, Any]:
    """Games at 0.5, 1.5 and 3.0, runs that differ by a tenth."""
    results = {}
    for game, level in (("Pong", 0.5), ("Boxing", 1.5), ("Qbert", 3.0)):
        results[game] = [
            {
                "policy": f"runs/<b>{game}</b>/seed-{run}",
                "env_id": f"ALE/{game}-v5",
                "env_kwargs": {"frameskip": 4},
                "protocol": "v5",
                "episodes": 50,
                "deterministic": True,
                "seed": 0,
                "return_mean": PUBLISHED[game].random + score * (PUBLISHED[game].human - PUBLISHED[game].random),
                "return_interval": [1.0, 2.0],
                "human_normalized": score,
            }
            for run, score in enumerate(level + 0.1 * np.arange(runs))
        ]
    return summarize(results)


@pytest.mark.parametrize("runs", [1, 3])
def test_the_page_stands_alone_and_shows_every_number(runs: int, tmp_path: Path) -> None:
    page = suite_report(summary(runs), tmp_path, title="three <games>").read_text(encoding="utf-8")
    assert "<b>Pong" not in page and "three &lt;games&gt;" in page
    assert not re.search(r'(src|href)="(?!data:)[^#]', page) and "http" not in page.replace("http-equiv", "")
    text = re.sub(r"<[^>]+>", " ", page)
    for words in ("IQM", "Optimality gap", "Pong", "13,455.0", "defaults of the ALE", "Wang et al. 2016", "human"):
        assert words in text, words
    assert page.count("<svg") == 2 and "nan" not in text.lower()
    assert ("Intervals: Student&#39;s t over the runs" in page or "t over the runs" in page) == (runs > 1)


def test_pictures_show_the_profile_and_the_scores(tmp_path: Path) -> None:
    suite_report(summary(3), tmp_path, title="t")
    for name in ("profile", "scores"):
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")).astype(int)
        assert pixels.shape[1] == 1800
        # The color of the first run in page.css (#1f5fa8), and a white ground.
        assert (np.abs(pixels - [0x1F, 0x5F, 0xA8]).sum(-1) < 6).sum() > 500, name
        assert (pixels[0] == 255).all()


def test_an_earlier_page_is_replaced(tmp_path: Path) -> None:
    first = suite_report(summary(1), tmp_path, title="first").read_text()
    second = suite_report(summary(3), tmp_path, title="second").read_text()
    assert "first" in first and "second" in second and "<h1>first" not in second
