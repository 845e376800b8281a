"""The page docs/custom_environment.md, run as it is written, in an empty folder."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import gymnasium as gym
import pytest

from gail.cli.main import main

PAGE = Path(__file__).parents[2] / "docs" / "custom_environment.md"


def blocks() -> list[tuple[str, str]]:
    return re.findall(r"^```(python|bash)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    known = set(gym.registry)
    yield tmp_path
    for name in set(gym.registry) - known:
        del gym.registry[name]
    sys.modules.pop("docking", None)


def test_the_tutorial_runs_as_written_and_both_imitators_play_like_the_expert(empty_folder: Path) -> None:
    played = []
    for language, text in blocks():
        if language == "python":
            name = text.partition("\n")[0].removeprefix("# ")
            assert name.endswith(".py"), text
            Path(name).write_text(text)
            continue
        for line in text.replace("\\\n", " ").splitlines():
            program, *argv = shlex.split(line)
            played.append(argv[0])
            if program == "python":
                runpy.run_path(argv[0], run_name="__main__")
            else:
                assert program == "gail"
                assert main(argv) == 0, line
    assert {"envs", "expert", "demos", "train", "evaluate", "report", "compare.py"} <= set(played)
    for run in ("gail", "batched"):
        summary = json.loads(Path("runs", run, "summary.json").read_text())
        assert summary["normalized_return"] > 0.9, run
    assert Path("report.html").stat().st_size > 0
