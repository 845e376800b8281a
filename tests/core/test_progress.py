"""Plain progress lines, where there is no terminal."""

from __future__ import annotations

import pytest

from gail.core.progress import ProgressBar


def test_the_end_is_always_reported_with_its_values(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("GAIL X-v0", total=2000) as bar:
        bar.update(0)
        bar.update(1000, return_mean=1.5)
        bar.update(2000, return_mean=123.456)
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert captured.out == ""
    assert line.startswith("GAIL X-v0: 2,000/2,000 steps") and "ETA 0 s" in line and "return mean 123.5" in line


def test_a_disabled_bar_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("t", total=10, enabled=False) as bar:
        bar.update(10)
    assert capsys.readouterr().err == ""


def test_work_that_is_done_at_once_claims_no_rate(capsys) -> None:
    with ProgressBar("recording", 4, unit="episodes") as bar:
        bar.update(4)
    assert capsys.readouterr().err == "recording: 4/4 episodes\n"
