"""``gail audit`` as a user types it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gail.cli.main import main
from gail.demos import load_demos, save_demos
from gail.demos.bundled import bundled_demos

KEYS = (
    "dynamics_error, dynamics_error_floor, auc, auc_real_real, auc_noise5, ks_mean, ks_max, correlation_gap, coverage, "
    "density, precision, recall, duplication, checked_share"
).split(", ")


def test_the_audit_writes_a_page_and_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = load_demos(bundled_demos("CartPole-v1"))
    made = save_demos(replace(demos, trajectories=demos.trajectories[6:]), tmp_path / "made.npz")
    real = save_demos(demos.first(6), tmp_path / "real.npz")
    out = tmp_path / "audit"
    assert main(["audit", str(made), "--real", str(real), "--rows", "100", "--out", str(out), "--json", "--png"]) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    written = json.loads((out / "audit.json").read_text())
    for key in KEYS:
        assert printed[key] == written[key] and printed[key] is not None
    page = (out / "audit.html").read_text()
    assert page.count("<svg") == 8 and "http" not in page.replace("http-equiv", "")
    for figure in page.split("<svg")[1:]:
        assert "synthetic" in figure.partition("</svg>")[0]  # or nothing says which set is which
    assert "less its real mean, in units of its real spread" in page  # or the numbers would be taken for the file's own
    pictures = [file.read_bytes() for file in out.glob("*.png")]
    assert len(set(pictures)) == 8 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_a_copy_exits_with_1_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = str(bundled_demos("Hopper-v5"))
    copy = save_demos(load_demos(real).first(2), tmp_path / "copy.npz")
    assert main(["audit", str(copy), "--real", real, "--rows", "100", "--out", str(tmp_path / "audit")]) == 1
    assert "NOT SYNTHETIC" in capsys.readouterr().out
    assert "This set is not synthetic" in (tmp_path / "audit" / "audit.html").read_text()


def test_bad_input_is_one_line_and_exits_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    real = str(bundled_demos("Hopper-v5"))
    other = str(bundled_demos("CartPole-v1"))
    assert main(["audit", other, "--real", real, "--out", str(tmp_path / "audit")]) == 2
    assert "env_id" in capsys.readouterr().err
    demos = load_demos(other)
    obs = demos.trajectories[0].observations.copy()
    obs[3, 1] = np.nan
    broken = replace(demos, trajectories=(replace(demos.trajectories[0], observations=obs),))
    # Written by hand: the project's own writer refuses NaN.
    arrays = {"observations": obs, "actions": broken.trajectories[0].actions, "lengths": np.array([len(obs) - 1])}
    np.savez(tmp_path / "nan.npz", **arrays)
    assert main(["audit", str(tmp_path / "nan.npz"), "--real", other, "--out", str(tmp_path / "audit")]) == 2
    error = capsys.readouterr().err
    assert "NaN" in error and error.count("\n") == 1
    assert not (tmp_path / "audit").exists()
