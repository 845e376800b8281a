"""`gail report` on fitted generators, alone and in a mix with runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gail.core.errors import InputError
from gail.generators import fit
from gail.generators.dataset import Dataset
from gail.generators.images import ImageCodec
from gail.report import build_report, load_run

MakeRun = Callable[..., Path]


def fitted(directory: Path, kind: str, data: Path | Dataset, **options: object) -> Path:
    fit(kind, data, out=directory, previews=1, progress=False, batch_size=4, **options)
    return directory


@pytest.fixture
def text(tmp_path: Path) -> Path:
    file = tmp_path / "verse.txt"
    file.write_text("to be or not to be\n" * 60)
    return file


def test_a_page_of_generators_shows_losses_held_out_losses_and_the_newest_samples(tmp_path: Path, text: Path) -> None:
    transformer = fitted(
        tmp_path / "words", "transformer", text, steps=30, width=8, layers=1, heads=2, length=16, holdout=0.2
    )
    (transformer / "samples" / "step-00000031.txt").write_text("the <newest> of all")
    images = Dataset(torch.zeros(8, 1, 8, 8, dtype=torch.uint8), ImageCodec((1, 8, 8)))
    pictures = fitted(tmp_path / "pictures", "vae", images, steps=5, channels=2)
    page = build_report([transformer, pictures], tmp_path / "page.html").read_text()
    assert "<h1>Generators</h1>" in page and "2 generators" in page and "environments" not in page
    assert "the &lt;newest&gt; of all" in page and page.count('<img class="samples" src="data:image/png;base64,') == 1
    assert "Loss of the transformer." in page and "Loss of the autoencoder." in page
    held_out = json.loads((transformer / "summary.json").read_text())["held_out"]["transformer/loss"]
    assert "held-out transformer/loss" in page and f"{held_out:,.4g}" in page
    assert page.count("dotted: over the held-out items") == 1


def test_generators_stand_beside_runs(make_run: MakeRun, tmp_path: Path, text: Path) -> None:
    words = fitted(tmp_path / "words", "recurrent", text, steps=5, width=8, layers=1, length=16)
    page = build_report([words, make_run("cloned", algo="bc")], tmp_path / "page.html").read_text()
    assert "Imitation report" in page and "CartPole-v1" in page and "Loss of the recurrent." in page


def test_an_unfinished_fit_is_shown_as_far_as_it_got(tmp_path: Path, text: Path) -> None:
    words = fitted(tmp_path / "words", "recurrent", text, steps=5, width=8, layers=1, length=16)
    (words / "summary.json").unlink()
    (words / "metrics.jsonl").write_text("")
    for sample in (words / "samples").iterdir():
        sample.unlink()
    page = build_report([words], tmp_path / "page.html").read_text()
    assert "unfinished" in page and "No metrics are logged yet" in page


def test_a_fit_is_no_run_of_a_policy_and_a_broken_picture_is_named(tmp_path: Path, text: Path) -> None:
    words = fitted(tmp_path / "words", "recurrent", text, steps=5, width=8, layers=1, length=16)
    with pytest.raises(InputError, match=r"words: a generator \(gail fit\) wrote it"):
        load_run(words)
    (words / "samples" / "step-00000099.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"step-00000099\.png: expected a PNG picture"):
        build_report([words], tmp_path / "page.html")
