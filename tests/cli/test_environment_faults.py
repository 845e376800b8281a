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


FAULTY = """
import numpy as np
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv

from gail.envs import Step, VecEnv

BOX, TWO = spaces.Box(-1e6, 1e6, (2,), np.float32), spaces.Discrete(2)


class Batch(VecEnv):
    def __init__(self, num_envs, fault=False):
        self.env_id, self.env_kwargs, self.num_envs, self.device = "", {}, num_envs, torch.device("cpu")
        self.observation_space, self.action_space, self.max_episode_steps = BOX, TWO, None
        self.fault, self.start = fault, torch.zeros(num_envs)

    def obs(self):
        return torch.stack([self.start, torch.full_like(self.start, self.time)], dim=1)

    def reset(self, seed=None):
        self.time, self.start = 0, torch.arange(self.num_envs) + float((seed or 0) % 1000)
        return self.obs()

    def step(self, actions):
        self.time += 1
        if self.fault and self.time == 3:
            raise ValueError("out of fuel")
        flags, after = torch.ones(self.num_envs, dtype=torch.bool), self.obs()
        over = flags & (self.time == 5)
        self.time %= 5
        return Step(self.obs(), after, torch.ones(self.num_envs), over, ~flags, flags)

    def state_dict(self):
        return {"time": self.time, "start": self.start.clone()}

    def load_state_dict(self, state):
        self.time, self.start = state["time"], state["start"].clone()
        return self.obs()

    def render(self):
        return [np.full((8, 8, 3), self.time, np.uint8)] * self.num_envs


class Team(ParallelEnv):
    metadata = {"name": "team_v0", "render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, fault=False, render_mode=None):
        self.possible_agents, self.fault, self.render_mode = ["a", "b"], fault, render_mode

    def observation_space(self, agent):
        return BOX

    def action_space(self, agent):
        return TWO

    def obs(self):
        return {a: np.array([self.start + i / 2, self.time], np.float32) for i, a in enumerate("ab")}

    def reset(self, seed=None, options=None):
        self.agents, self.time, self.start = ["a", "b"], 0, (seed or 0) % 1000
        return self.obs(), {a: {} for a in "ab"}

    def step(self, actions):
        self.time += 1
        if self.fault and self.time == 3:
            raise ValueError("out of fuel")
        self.agents = [] if self.time == 5 else ["a", "b"]
        over = dict.fromkeys("ab", self.time == 5)
        return self.obs(), dict.fromkeys("ab", 1.0), over, dict.fromkeys("ab", False), {}

    def render(self):
        return np.full((8, 8, 3), self.time, np.uint8)


def team(fault=False, render_mode=None):
    return Team(fault, render_mode)
"""
SHORT = ["--steps", "32", "--num-envs", "2", "--evaluation-episodes", "2"]


@pytest.mark.parametrize("name", ["Batch", "Team", "team"])
def test_every_verb_plays_a_batch_or_team_in_a_file_and_names_its_faults(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("faulty.py").write_text(FAULTY)
    env = f"./faulty.py:{name}"
    assert main(["expert", env, *SHORT, "--out", "expert"]) == 0
    assert main(["demos", "collect", "expert", "--env", env, "--episodes", "2", "-o", "demos.npz"]) == 0
    assert main(["demos", "check", "demos.npz", "--env", env]) == 0
    assert main(["train", env, "--demos", "demos.npz", *SHORT, "--out", "run"]) == 0
    assert main(["evaluate", "run", "--env", env, "--episodes", "2", "--video", "v.mp4"]) == 0
    assert Path("v.mp4").stat().st_size > 0

    broken = ["--env-kwargs", '{"fault": true}']
    who = "environments 0 to .*" if name == "Batch" else "environment 0 .*"
    for argv in (
        ["expert", env, *broken, *SHORT, "--out", "e"],
        ["demos", "collect", "expert", "--env", env, *broken, "--episodes", "2", "-o", "d.npz"],
        ["train", env, *broken, "--demos", "demos.npz", *SHORT, "--out", "r"],
        ["evaluate", "run", "--env", env, *broken, "--episodes", "2"],
    ):
        capsys.readouterr()
        assert main(argv) == 1, argv
        line = capsys.readouterr().err.splitlines()[-1]
        said = (
            rf"gail {argv[0]}: \./faulty\.py:{name}: {who}: raised ValueError: out of fuel, in step at faulty\.py:\d+"
        )
        assert re.match(said + ", in step 3 .*, actions? ", line), line
