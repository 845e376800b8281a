"""The rows of ``gail bench throughput --envs`` are assembled right; nothing here is timed, and no peer is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from gail.cli import bench, bench_envs
from gail.cli.bench_envs import BareLoop, EnvBenchmark, compare_rounds, record_starts
from gail.cli.main import main
from gail.envs import make_vec


def speeds(**by_side: float) -> dict[str, dict[str, Any]]:
    return {name.replace("_", " "): {"steps_per_second": value} for name, value in by_side.items()}


def test_row_is_of_gymnasiums_faster_vectorization_and_holds_medians_over_rounds() -> None:
    rounds = [
        speeds(ours=100.0, gymnasium_sync=20.0, gymnasium_async=10.0),
        speeds(ours=300.0, gymnasium_sync=30.0, gymnasium_async=90.0),
        speeds(ours=200.0, gymnasium_sync=50.0, gymnasium_async=10.0),
    ]
    rounds[0]["gymnasium sync"]["peer"] = "gymnasium 1.4.0 sync"
    row = compare_rounds(EnvBenchmark("Hopper-v5", 8), "gymnasium", rounds, threads=2)
    assert (row["environment"], row["num_envs"], row["peer"]) == ("Hopper-v5", 8, "gymnasium 1.4.0 sync")
    assert (row["ours_steps_per_second"], row["peer_steps_per_second"]) == (200.0, 30.0)
    assert row["ratio"] == 5.0 and row["met"] is True  # of 5, 10 and 4


@pytest.mark.parametrize(
    ("env_id", "peer", "ratio", "met"),
    [
        ("Swimmer-v5", "gymnasium", 2.5, True),
        ("Swimmer-v5", "gymnasium", 2.4, False),
        ("Swimmer-v5", "bare loop", 0.1, None),
        ("Humanoid-v5", "gymnasium", 0.1, None),
        ("Humanoid-v5", "bare loop", 0.9, True),
        ("Humanoid-v5", "bare loop", 0.89, False),
        ("Humanoid-v5", "envpool", 0.89, False),
        ("Swimmer-v5", "envpool", 0.9, True),
    ],
)
def test_targets_are_for_the_peers_that_set_them(env_id: str, peer: str, ratio: float, met: bool | None) -> None:
    sides = {name: {"steps_per_second": 1.0} for name in ("gymnasium sync", "gymnasium async", "bare loop", "envpool")}
    row = compare_rounds(EnvBenchmark(env_id, 8), peer, [{"ours": {"steps_per_second": ratio}, **sides}], threads=2)
    assert row["met"] is met


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Ant-v5", "InvertedPendulum-v5"])
def test_bare_loop_ends_in_the_very_states_that_ours_ends_in(env_id: str) -> None:
    env = make_vec(env_id, 5, backend="mujoco")
    space = env.action_space
    draw = np.random.default_rng(0)
    actions = torch.from_numpy(draw.uniform(space.low, space.high, (16, 5, *space.shape)).astype(np.float32))
    first, starts = record_starts(env, actions, 50)
    if env_id == "InvertedPendulum-v5":
        assert len(starts) > 5
    loop = BareLoop(env_id, 5, threads=2)
    for _ in range(2):  # a second run starts over
        assert loop.run(50, first, starts, actions.double().numpy()) > 0
        model = make_vec(env_id, 1, backend="mujoco").template.model
        states = np.empty_like(first)
        for data, state in zip(loop.datas, states, strict=True):
            mujoco.mj_getState(model, data, state, mujoco.mjtState.mjSTATE_INTEGRATION)
        assert np.array_equal(states, env.state_dict()["physics"].numpy())


def test_table_has_three_rows_per_environment_and_size(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[str] = []

    def run_peer(python: Path, script: str, words: list[str]) -> dict[str, Any]:
        commands.append(" ".join([script, *words]))
        return {"steps_per_second": 10.0, "peer": script}

    side = {"steps_per_second": 30.0}
    monkeypatch.setattr(bench_envs, "_sides", lambda benchmark, threads, seconds: (lambda: side, lambda: side))
    monkeypatch.setattr(bench_envs, "run_peer", run_peer)
    monkeypatch.setattr(bench, "ensure_peer", lambda name, root: root / name)
    argv = ["throughput", "--envs", "--only", "Hopper", "--repeats", "2", "--peers", str(tmp_path), "--json"]
    assert bench.run(argv) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    wanted = {"benchmark", "environment", "num_envs", "ours_steps_per_second", "peer", "peer_steps_per_second", "ratio"}
    assert all(set(row) == wanted | {"target", "met", "measurements", "notes"} for row in rows)
    assert [(row["num_envs"], row["peer"]) for row in rows] == [
        (n, peer) for n in (8, 64) for peer in ("run_gymnasium.py", "bare loop", "run_envpool.py")
    ]
    per_round = ["run_gymnasium.py --env Hopper-v5 --num-envs 8 --seconds 1.0 --mode sync"]
    assert commands.count(per_round[0]) == 2 and len(commands) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--steps", "100"], ["--steps", "100", "--envs"]),
        (["--demos-dir", "there"], ["--demos-dir", "there", "--envs"]),
        (["--only", "Pong"], ["--only", "Pong", "envs Hopper-v5 x 8"]),
    ],
)
def test_settings_that_say_nothing_about_environments_are_refused(
    more: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "throughput", "--envs", *more]) == 2
    said = capsys.readouterr().err
    assert all(word in said for word in words), said
