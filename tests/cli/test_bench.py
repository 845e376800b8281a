"""The benches' rows are assembled right, from fake runs: nothing here is timed, and no peer is needed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gail.agents.expert import ExpertConfig
from gail.cli import bench, bench_learning
from gail.cli.bench_learning import LINES, Line
from gail.cli.main import main
from gail.core.errors import InputError
from gail.core.statistics import mean_interval
from gail.demos import Demonstrations, Trajectory, save_demos
from gail.imitation import ImitationConfig, recipe

GAIL_CARTPOLE, GAIL_HOPPER, PPO_CARTPOLE, PPO_ATARI = bench.BENCHMARKS


def cartpole_demos(episodes: int, length: int = 100) -> Demonstrations:
    """Episodes with ``length`` as their return."""
    rows = np.zeros((length + 1, 4), dtype=np.float32)
    actions, rewards = np.zeros(length, dtype=np.int64), np.ones(length, dtype=np.float32)
    return Demonstrations((Trajectory(rows, actions, rewards, False, True),) * episodes, env_id="CartPole-v1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_demos(cartpole_demos(5), tmp_path / "demos" / "CartPole-v1.npz")
    return tmp_path / "demos"


# --- throughput --------------------------------------------------------------------------------------------------


def side(speeds: list[float], calls: list[str], name: str, **extra: Any) -> bench.Side:
    """Runs that have these speeds, one after the other."""
    values: Iterator[float] = iter(speeds)

    def measured() -> dict[str, Any]:
        calls.append(name)
        return {"steps": 1000, "steps_per_second": next(values), **extra}

    return measured


def test_sides_take_turns_and_the_row_holds_medians() -> None:
    calls: list[str] = []
    ours = side([100.0, 900.0, 300.0], calls, "ours", return_mean=500.0, normalized_return=1.0)
    theirs = side([10.0, 30.0, 50.0], calls, "peer", peer="imitation 1.0.1")
    row = bench.compare(GAIL_CARTPOLE, ours, theirs, repeats=3)
    assert calls == ["ours", "peer"] * 3
    assert row["ours_steps_per_second"] == 300.0 and row["peer_steps_per_second"] == 30.0
    assert [pair["ratio"] for pair in row["measurements"]] == [10.0, 30.0, 6.0]
    assert row["ratio"] == 10.0
    assert row["peer"] == "imitation 1.0.1"


def test_ratio_is_the_median_of_pairs_and_not_the_ratio_of_medians() -> None:
    row = bench.compare(GAIL_CARTPOLE, side([1, 2, 9], [], "a"), side([1, 4, 3], [], "b"), repeats=3)
    assert row["ratio"] == 1.0  # of 1, 0.5 and 3; the medians 2 and 3 would give 2/3


@pytest.mark.parametrize(("speed", "met"), [(29.9, False), (30.0, True)])
def test_target_is_met_from_the_target_on(speed: float, met: bool) -> None:
    row = bench.compare(GAIL_CARTPOLE, side([speed], [], "a"), side([1.0], [], "b"), repeats=1)
    assert row["target"] == 30.0 and row["met"] is met


@pytest.fixture
def fake_runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Peers and ours that answer at once; returns the command lines that were asked for."""
    commands: list[list[str]] = []

    def run_ours(words: list[str]) -> dict[str, Any]:
        commands.append(["ours", *words])
        return {"steps": 200_704, "steps_per_second": 60_000.0, "return_mean": 500.0, "normalized_return": 1.0}

    def run_peer(python: Path, script: str, args: list[str]) -> dict[str, Any]:
        commands.append([script, *args])
        threads = int(args[args.index("--threads") + 1])
        steps = int(args[args.index("--steps") + 1])
        return {"peer": "peer 1.0", "steps": steps, "steps_per_second": 1000.0 * threads}

    monkeypatch.setattr(bench, "_run_ours", run_ours)
    monkeypatch.setattr(bench, "run_peer", run_peer)
    monkeypatch.setattr(bench, "ensure_peer", lambda name, root: root / name / "bin" / "python")
    return commands


def test_table_has_the_promised_keys_and_the_file_holds_the_same(
    fake_runs: list[list[str]], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_demos(replace(cartpole_demos(5), env_id="Hopper-v5"), folder / "Hopper-v5.npz")
    out = tmp_path / "speed.json"
    argv = ["throughput", "--demos-dir", str(folder), "--peers", str(tmp_path), "--out", str(out), "--json"]
    assert bench.run(argv) == 0
    printed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(out.read_text()) == printed
    assert list(printed) == ["rows", "hardware", "date"]
    wanted = {"benchmark", "environment", "ours_steps_per_second", "peer", "peer_steps_per_second", "ratio"}
    for row in printed["rows"]:
        assert set(row) == wanted | {"target", "met", "measurements", "notes"}
        assert len(row["measurements"]) == 3 and row["ratio"] == 30.0 and row["met"] is True
    assert [(row["benchmark"], row["environment"]) for row in printed["rows"]] == [
        ("GAIL", "CartPole-v1"),
        ("GAIL", "Hopper-v5 (peer: Hopper-v4)"),
        ("PPO", "CartPole-v1"),
        ("PPO", "ALE/Pong-v5"),
    ]


def test_a_missed_target_is_exit_status_1(fake_runs: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_run_ours", lambda words: {"steps": 1, "steps_per_second": 10.0})
    assert bench.run(["throughput", "--only", "ppo", "--repeats", "1"]) == 1


def test_both_sides_get_equal_demonstrations_and_widths_and_the_peer_its_faster_threads(
    fake_runs: list[list[str]], folder: Path
) -> None:
    file = folder / "CartPole-v1.npz"
    row = bench.throughput_row(GAIL_CARTPOLE, file, Path("python"), repeats=1, steps=None)
    *probes, ours, peer = (" ".join(words) for words in fake_runs)
    assert [probe.split("--threads ")[1] for probe in probes] == ["1 --steps 16384", "2 --steps 16384"]
    assert ours == f"ours train CartPole-v1 --demos {file} --demo-episodes 4"  # the recipe's own steps
    assert f"--hidden 64 64 --demos {file} --episodes 4 --threads 2 --steps 65536" in peer
    assert "1: 1,000 steps/s, 2: 2,000 steps/s" in row["notes"] and "first 4 episodes" in row["notes"]


def test_the_atari_row_names_what_is_equal_and_what_is_not(fake_runs: list[list[str]]) -> None:
    row = bench.throughput_row(PPO_ATARI, None, Path("python"), repeats=1, steps=None)
    assert fake_runs[-2] == ["ours", "expert", "ALE/Pong-v5", "--threads", "2", "--steps", "8192"]
    assert fake_runs[-1] == f"run_sb3_ppo_atari.py --env ALE/Pong-v5 --threads 2 --steps {8_192}".split()
    ppo = PPO_ATARI.config.ppo  # type: ignore[union-attr]
    assert (PPO_ATARI.config.num_envs, ppo.horizon, ppo.epochs, ppo.minibatch_size) == (8, 128, 4, 256)
    assert ppo.pixels.trunk == "nature" and "one nature trunk, 4 epochs in minibatches of 256" in row["notes"]
    assert "bfloat16" in row["notes"] and "8 environments, 2 thread(s), policy" in row["notes"]


def test_steps_shorten_both_sides(fake_runs: list[list[str]]) -> None:
    bench.throughput_row(PPO_CARTPOLE, None, Path("python"), repeats=1, steps=5000)
    assert fake_runs[-2] == ["ours", "expert", "CartPole-v1", "--steps", "5000"]
    assert fake_runs[-1][-2:] == ["--steps", "5000"] and "--demos" not in fake_runs[-1]


@pytest.mark.parametrize(("shared", "words"), [(True, "64-64 sharing their hidden layers"), (False, "64-64 apart")])
def test_notes_read_from_the_recipe_whether_actor_and_critic_share(
    shared: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe("Hopper-v5")
    config = replace(config, gail=replace(config.gail, ppo=replace(config.gail.ppo, shared=shared)))
    monkeypatch.setattr(bench, "recipe", lambda env_id: config)
    text = bench.notes(GAIL_HOPPER, Path("d/Hopper-v5.npz"), {"ours_steps": 1, "peer_steps": 2}, {1: 5.0, 2: 4.0})
    assert words in text and "ours plays Hopper-v5, the peer Hopper-v4" in text and "warm-up, 1 thread" in text


@pytest.mark.parametrize("benchmark", bench.BENCHMARKS, ids=lambda b: b.title)
def test_recipes_have_the_widths_that_the_peers_get(benchmark: bench.Benchmark) -> None:
    config = benchmark.config
    if isinstance(config, ExpertConfig):
        assert config.ppo.hidden == (64, 64)
    else:
        assert config.gail.ppo.hidden == config.gail.discriminator.hidden == (64, 64)


def test_a_failing_run_of_ours_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"status 2: gail: unknown verb 'nonsense'"):
        bench._run_ours(["nonsense"])


# --- learning ----------------------------------------------------------------------------------------------------


@pytest.fixture
def fake_imitate(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Training that scores 1.0 normalized on an expert of return 100 (seed s: s/100 more); returns its calls."""
    calls: list[dict[str, Any]] = []

    def imitate(env_id: str, demos: Demonstrations, **options: Any) -> SimpleNamespace:
        calls.append({"env_id": env_id, "demos": demos, **options})
        summary = {
            "return_mean": 100.0 + options["seed"],
            "random_return": 0.0,
            "steps": options["config"].steps,
            "wall_seconds": 2.0,
            # What a run on a random policy's demonstrations believes: never to be used.
            "expert_return": 1.0,
            "normalized_return": 100.0,
        }
        return SimpleNamespace(summary=summary)

    monkeypatch.setattr(bench_learning, "imitate", imitate)
    return calls


def test_learning_rows_hold_scores_over_seeds_and_their_bars(
    fake_imitate: list[dict[str, Any]], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    argv = ["learning", "--demos-dir", str(folder), "--only", "CartPole-v1", "--out", str(out), "--json"]
    assert bench.run(argv) == 0
    data = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads((out / "learning.json").read_text()) == data and list(data) == ["rows", "hardware", "date"]
    rows = data["rows"]
    assert [(row["method"], row["demonstrations"], row["bar"], row["met"]) for row in rows] == [
        ("bc", "expert", "", None),
        ("gail", "expert", ">= 0.99", True),
        ("gail", "random", "survival reward", None),
        ("gail", "frozen", "survival reward", None),
    ]
    for row in rows:
        count = 10 if row["method"] == "bc" else 3
        wanted = mean_interval([1 + seed / 100 for seed in range(count)])
        assert row["normalized"] == pytest.approx(wanted.mean)
        assert row["95%_interval"] == pytest.approx([wanted.low, wanted.high])
        assert row["seconds"] == 2.0 and row["subsample"] == 1
    assert len(fake_imitate) == 10 + 3 * 3 and all(call["resume"] for call in fake_imitate)
    assert len({call["out"] for call in fake_imitate}) == len(fake_imitate)


def test_controls_have_the_learners_settings_but_for_what_they_control(
    fake_imitate: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    bench.run(["learning", "--demos-dir", str(folder), "--only", "CartPole-v1", "--out", str(tmp_path / "o")])
    gail, random, frozen = fake_imitate[10], fake_imitate[13], fake_imitate[16]
    assert gail["seed"] == random["seed"] == frozen["seed"] == 0
    assert random["config"] == gail["config"] and len(gail["demos"]) == 5  # all of them: the expert's scale
    assert gail["config"].demo_episodes == 4 and gail["config"].evaluation_episodes == 50
    assert random["demos"].source == "a random policy" and len(random["demos"]) == 4
    assert frozen["demos"] is gail["demos"]
    judge = gail["config"].gail.discriminator
    assert frozen["config"].gail.discriminator == replace(judge, updates_per_round=0)
    assert frozen["config"].gail.ppo == gail["config"].gail.ppo and frozen["config"].steps == gail["config"].steps


def test_a_control_that_scores_is_exit_status_1(
    fake_imitate: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    argv = ["learning", "--demos-dir", str(folder), "--only", "CartPoleFixedHorizon-v0", "--seeds", "0"]
    assert bench.run([*argv, "--out", str(tmp_path / "o")]) == 1
    assert {call["demos"].env_id for call in fake_imitate} == {"CartPoleFixedHorizon-v0"}  # re-labelled


@pytest.mark.parametrize(
    ("line", "score", "steps", "met"),
    [
        (Line("E", at_least=0.9), 0.9, 1, True),
        (Line("E", at_least=0.9), 0.89, 1, False),
        (Line("E", at_least=0.9, max_steps=100), 1.0, 101, False),
        (Line("E", at_most=0.15), 0.15, 1, True),
        (Line("E", at_most=0.15), 0.16, 1, False),
        (Line("E", remark="survival reward"), 1.0, 1, None),
        (Line("E", at_least=0.5, above_bc=True), 0.75, 1, False),  # inside BC's interval
        (Line("E", at_least=0.5, above_bc=True), 0.95, 1, True),
    ],
)
def test_verdict(line: Line, score: float, steps: int, met: bool | None) -> None:
    assert bench_learning.verdict(line, score, steps, mean_interval([0.5, 0.6, 0.7])) is met


def test_one_seed_of_behaviour_cloning_is_beaten_at_its_mean() -> None:
    line = Line("E", at_least=0.5, above_bc=True)
    assert bench_learning.verdict(line, 0.71, 1, mean_interval([0.7])) is True
    assert bench_learning.verdict(line, 0.69, 1, mean_interval([0.7])) is False
    assert bench_learning.verdict(line, 1.0, 1, None) is False  # nothing to compare with


@pytest.mark.parametrize("line", [line for line in LINES if line.max_steps], ids=lambda line: str(line.directory))
def test_no_run_passes_its_steps_by_part_of_a_round(line: Line) -> None:
    config: ImitationConfig = bench_learning.settings(line)
    per_round = config.gail.ppo.horizon * config.num_envs
    assert line.max_steps is not None
    assert 0 < -(-config.steps // per_round) * per_round <= line.max_steps


def test_behaviour_cloning_stands_before_every_learner_on_the_same_transitions() -> None:
    assert len({line.directory for line in LINES}) == len(LINES)
    for number, line in enumerate(LINES):
        if line.algo == "gail" and line.demonstrations == "expert":
            before = LINES[number - 1]
            assert (before.algo, before.environment, before.subsample) == ("bc", line.environment, line.subsample)


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["throughput", "learning"]),
        (["speed"], ["throughput", "learning"]),
        (["throughput", "--repeats", "0"], ["--repeats", "0"]),
        (["throughput", "--steps", "0"], ["--steps", "0"]),
        (["throughput", "--only", "Atari"], ["--only", "Atari", "PPO on CartPole-v1 vs sb3"]),
        (["throughput", "--out", "{there}"], ["there.json", "exists already"]),
        (["throughput", "--demos-dir", "{empty}"], ["--demos-dir", "CartPole-v1.npz"]),
        (["learning", "--only", "Ant-v5"], ["--only", "Ant-v5", "Hopper-v5"]),
        (["learning", "--seeds", "1", "1"], ["--seeds", "1"]),
        (["learning", "--demos-dir", "{empty}"], ["--demos-dir", "CartPole-v1.npz"]),
    ],
)
def test_wrong_settings_are_one_line_before_anything_runs(
    argv: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], nothing_runs: None
) -> None:
    there, empty = tmp_path / "there.json", tmp_path / "empty"
    there.write_text("mine")
    empty.mkdir()
    status = main(["bench", *(word.format(there=there, empty=empty) for word in argv)])
    lines = [line for line in capsys.readouterr().err.splitlines() if line.strip()]
    assert status == 2 and len(lines) == 1, lines
    assert all(word in lines[0] for word in words), lines
    assert there.read_text() == "mine"


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> Callable[..., None]:
        def called(*arguments: object, **options: object) -> None:
            raise AssertionError(f"{name} was called")

        return called

    for module, name in (
        (bench, "ensure_peer"),
        (bench, "_run_ours"),
        (bench, "run_peer"),
        (bench_learning, "imitate"),
    ):
        monkeypatch.setattr(module, name, refuse(name))


def test_too_few_episodes_are_found_before_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], nothing_runs: None
) -> None:
    save_demos(cartpole_demos(3), tmp_path / "CartPole-v1.npz")
    assert main(["bench", "learning", "--demos-dir", str(tmp_path), "--only", "CartPole-v1"]) == 2
    assert "holds 3 episodes, expected at least 4" in capsys.readouterr().err
