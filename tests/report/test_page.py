from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.envs import record_video
from gail.report import build_report

MakeRun = Callable[..., Path]


class Page(HTMLParser):
    """What a browser would find: tags with attributes, and the visible text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def captions(self) -> set[str]:
        return set(re.findall(r"<figcaption><b>(.*?)\.</b>", self.source))


@pytest.fixture
def mixed(make_run: MakeRun) -> list[Path]:
    return [
        make_run("cloned", algo="bc"),
        make_run("seeds", returns=[100.0, 200.0, 300.0]),
        make_run("running", return_mean=None),
        make_run("elsewhere", env_id="Pendulum-v1"),
    ]


def test_page_shows_every_run_with_its_numbers(mixed: list[Path], tmp_path: Path) -> None:
    page = Page(build_report(mixed, tmp_path / "page.html", title="Four runs"))
    for text in ("Four runs", "cloned", "seeds", "running", "elsewhere", "CartPole-v1", "Pendulum-v1"):
        assert text in page.text
    for text in ("200.0", "[−48.4, 448.4]", "unfinished, at step 1,000", "config", "share of expert rows"):
        assert text in page.text
    assert {"Return", "Discriminator accuracy", "KL divergence", "Log-likelihood"} <= page.captions()


def test_page_loads_nothing(mixed: list[Path], tmp_path: Path) -> None:
    video = record_video((np.full((32, 32, 3), i, np.uint8) for i in range(5)), tmp_path / "v.mp4", 5)
    page = Page(build_report(mixed, tmp_path / "page.html", videos={"clip": video}))
    assert "http:" not in page.source and "https:" not in page.source and "@import" not in page.source
    loaded = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "poster", "srcset", "data", "action") and value is not None
    ]
    assert loaded and all(value.startswith(("data:", "#")) for value in loaded)
    assert all(reference.startswith("#") for reference in re.findall(r"url\((.*?)\)", page.source))
    assert not any(tag in ("script", "iframe", "object", "embed") for tag, _ in page.tags)


def test_ids_of_different_figures_do_not_clash(mixed: list[Path], tmp_path: Path) -> None:
    page = Page(build_report(mixed, tmp_path / "page.html"))
    ids = Counter(attributes["id"] for _, attributes in page.tags if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    targets = re.findall(r"(?:href=\"|url\()#([\w-]+)", page.source)
    assert targets and set(targets) <= set(ids)


def test_hostile_names_stay_text(make_run: MakeRun, tmp_path: Path) -> None:
    evil = '<script>alert(1)</script>$\\frac{"'
    run = make_run("a<img src=x onerror=alert(2)>", env_id=evil, algo="</style><b onclick=alert(3)>")
    video = record_video((np.zeros((16, 16, 3), np.uint8) for _ in range(3)), tmp_path / "v.mp4", 3)
    page = Page(build_report([run], tmp_path / "p.html", title=evil, videos={'"><script>': video}))
    assert not any(tag in ("script", "img") for tag, _ in page.tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count(evil) >= 3


def test_run_without_adversarial_metrics_gets_no_adversarial_figures(make_run: MakeRun, tmp_path: Path) -> None:
    page = Page(build_report([make_run(algo="bc")], tmp_path / "page.html"))
    assert page.captions() == {"Log-likelihood"}


def test_gaps_and_missing_metrics_are_drawn_around(make_run: MakeRun, tmp_path: Path) -> None:
    rounds = [{"step": 10 * r, "return_mean": None if r < 3 else float(r), "policy/kl": None} for r in range(1, 1000)]
    out = build_report([make_run(rounds=rounds)], tmp_path / "page.html")
    assert Page(out).captions() == {"Return"}
    assert out.stat().st_size < 60_000, "a thousand rounds are thinned"


def test_run_that_logged_nothing_yet_is_shown_as_unfinished(make_run: MakeRun, tmp_path: Path) -> None:
    page = Page(build_report([make_run(rounds=[], return_mean=None)], tmp_path / "page.html"))
    assert "unfinished, nothing logged yet" in page.text
    assert "No metrics are logged yet" in page.text


def test_tick_labels_keep_their_digits(make_run: MakeRun, tmp_path: Path) -> None:
    rounds = [{"step": r, "policy/kl": 0.001 * r} for r in range(6)]
    page = Page(build_report([make_run(rounds=rounds)], tmp_path / "page.html"))
    assert {"0.002", "0.004"} <= set(re.findall(r"<text[^>]*>([\d.]+)</text>", page.source))


def test_existing_file_is_kept_unless_overwriting_is_asked_for(make_run: MakeRun, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("precious")
    run = make_run()
    with pytest.raises(InputError, match=r"page\.html: exists already"):
        build_report([run], out)
    assert out.read_text() == "precious"
    assert "CartPole-v1" in build_report([run], out, overwrite=True).read_text(encoding="utf-8")
    with pytest.raises(InputError, match="is a folder"):
        build_report([run], tmp_path, overwrite=True)


def test_bad_run_leaves_no_page_behind(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        build_report([make_run(), tmp_path / "nowhere"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_unreadable_video_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    with pytest.raises(InputError, match=r"none\.mp4: the video 'clip' cannot be read"):
        build_report([run], tmp_path / "page.html", videos={"clip": tmp_path / "none.mp4"})
    (tmp_path / "bad.mp4").write_bytes(b"not a video")
    with pytest.raises(InputError, match=r"bad\.mp4: the video 'clip' cannot be"):
        build_report([run], tmp_path / "page.html", videos={"clip": tmp_path / "bad.mp4"})
