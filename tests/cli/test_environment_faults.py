"""An environment that breaks stops the run with one line and a checkpoint, or costs it an episode."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gail.cli.main import main
from gail.core.checkpoint import load_tree


@pytest.fixture(autouse=True)
def counting_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "envs"))


def expert(env_id: str, out: Path, env_kwargs: dict[str, object], *more: str) -> int:
    """40 rounds of 8 steps in 4 environments; a checkpoint every second round."""
    settings = ["--steps", "1280", "--num-envs", "4", "--backend", "async", "--ppo.horizon", "8", "--ppo.epochs", "1"]
    argv = ["expert", f"counting_envs:{env_id}", "--env-kwargs", json.dumps(env_kwargs), "--out", str(out), *settings]
    return main([*argv, "--evaluation-episodes", "2", *more])


def test_run_stops_with_one_line_and_goes_on_exactly_from_its_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    once, whole, cut = tmp_path / "once", tmp_path / "whole", tmp_path / "cut"
    # In step 221, which is in round 28, two rounds after a checkpoint.
    kwargs = {"fault": "kill", "fault_at": 221, "once": str(once)}
    once.touch()
    assert expert("FragileWalk-v0", whole, kwargs) == 0
    once.unlink()
    capsys.readouterr()
    assert expert("FragileWalk-v0", cut, kwargs) == 1
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith(("expert ppo", "run directory"))
    ]
    assert len(lines) == 1, lines
    assert re.match(
        r"gail expert: counting_envs:FragileWalk-v0: environment \d \(seed \d+\): the worker process died "
        r"\(killed by SIGKILL\), in step \d+ of episode \d+ since that seed, action \[.+\]; training stopped",
        lines[0],
    )
    assert lines[0].endswith(
        f"training stopped after step 864; --out {cut} --resume goes on from the checkpoint of step 832"
    )
    assert load_tree(cut / "checkpoints" / "latest" / "state.safetensors")["game"]["steps"] == 832
    assert not (cut / "summary.json").exists()
    # Whether workers are restarted may change: it is no property of the run.
    assert expert("FragileWalk-v0", cut, kwargs, "--resume", "--restart-workers") == 0
    assert (cut / "policy.safetensors").read_bytes() == (whole / "policy.safetensors").read_bytes()
    assert json.loads((cut / "summary.json").read_text())["exact_resume"] is True


def test_run_with_restart_workers_goes_on_and_says_what_was_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    kwargs = {"length": 20, "fault": "hang", "fault_at": 205, "once": str(tmp_path / "once")}
    with pytest.warns(RuntimeWarning, match="a fresh worker starts new episodes"):
        assert expert("Counting-v0", out, kwargs, "--restart-workers", "--worker-timeout", "3") == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["worker_restarts"], summary["exact_resume"], summary["steps"]) == (1, False, 1280)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    lost = [row.get("lost_episodes", 0) for row in rows]
    assert max(lost[:25]) == 0 and min(lost[25:]) >= 1
    # Episodes of this environment always pay 1 + 2 + ... + 20.
    assert all(row["return_mean"] == 210 for row in rows if "return_mean" in row)
