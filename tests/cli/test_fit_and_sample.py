"""``gail fit`` and ``gail sample`` as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gail.cli.main import main
from gail.demos import load_demos, save_demos
from gail.demos.types import Demonstrations, Trajectory


@pytest.fixture
def demos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    trajectories = tuple(
        Trajectory(rng.normal(size=(9, 2)), rng.normal(size=(8, 1)), rng.normal(size=8), False, True) for _ in range(4)
    )
    return save_demos(Demonstrations(trajectories, env_id="Toy-v0"), tmp_path / "demos.npz")


def test_fit_then_sample(demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit = ["fit", "vae", "--data", str(demos), "--steps", "4", "--model.hidden", "8", "--previews", "1"]
    assert main([*fit, "--out", str(tmp_path / "run"), "--holdout", "0.25", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["kind"] == "vae" and summary["steps"] == 4 and summary["held_out_items"] == 8
    assert (tmp_path / "run" / "samples" / "step-00000004.png").exists()
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["exact_resume"] is True
    out = tmp_path / "synthetic.npz"
    assert main(["sample", str(tmp_path / "run"), "--transitions", "5", "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["transitions"] == 5
    assert load_demos(out).generator is not None


def test_settings_from_a_file_are_overridden_by_flags(
    demos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text("[training]\nsteps = 3\nbatch_size = 4\n[model]\nhidden = [8]\nlatent = 2\n")
    argv = ["fit", "vae", "--data", str(demos), "--config", str(tmp_path / "c.toml"), "--steps", "2", "--previews", "0"]
    assert main([*argv, "--out", str(tmp_path / "run"), "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    summary = json.loads(lines[-1])
    assert summary["steps"] == 2 and summary["batch_size"] == 4
    assert lines[-2] == f"run directory: {tmp_path / 'run'}"  # without previews there are no pictures to point to


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit"], "the kind comes first"),
        (["fit", "magic", "--data", "x"], "'magic' is no kind of generator"),
        (["fit", "vae", "--data", "missing.npz"], "missing.npz"),
        (["fit", "vae", "--data", "DEMOS", "--steps", "0"], "steps"),
        (["fit", "vae", "--data", "DEMOS", "--data-kind", "images"], "DEMOS"),
        (["fit", "vae", "--data", "DEMOS", "--resume"], "--resume: needs --out"),
        (["fit", "vae", "--data", "DEMOS", "--device", "cuda:9"], "--device"),
        (["sample", "nowhere", "--count", "3", "-o", "x"], "nowhere"),
    ],
)
def test_bad_input_to_fit_and_sample_is_one_line_and_status_two(
    argv: list[str], words: str, demos: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = ["--out", str(tmp_path / "run")] if argv[0] == "fit" and "--resume" not in argv and len(argv) > 1 else []
    argv = [str(demos) if word == "DEMOS" else word for word in argv]
    assert main([*argv, *out]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert len(lines) == 1 and words.replace("DEMOS", str(demos)) in lines[0]
    assert not (tmp_path / "run").exists()
