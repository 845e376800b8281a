"""``gail evaluate``: what it prints and writes, and the one line for what it cannot play."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from gail.cli.main import main

pytestmark = pytest.mark.usefixtures("short_protocols")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def runs(shared: Path, ram_policy: Callable[..., Path]) -> Path:
    """Runs ``pong``, ``other`` (Pong too), ``boxing`` and ``wide`` (Pong with all 18 actions)."""
    if not (shared / "wide").exists():
        ram_policy(shared / "pong" / "policy.safetensors", "Pong")
        ram_policy(shared / "other" / "policy.safetensors", "Pong", seed=1)
        ram_policy(shared / "boxing" / "policy.safetensors", "Boxing")
        ram_policy(shared / "wide" / "policy.safetensors", "Pong", full_action_space=True)
    return shared


def evaluate(capsys: pytest.CaptureFixture[str], *argv: str | Path) -> tuple[dict[str, Any], str]:
    """Run the command; returns its JSON and everything printed before."""
    assert main(["evaluate", *map(str, argv), "--json"]) == 0
    *printed, last = capsys.readouterr().out.splitlines()
    return json.loads(last), "\n".join(printed)


def test_an_atari_evaluation_prints_its_protocol_and_the_normalized_score(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, printed = evaluate(capsys, runs / "pong", "--protocol", "dqn")
    assert "protocol dqn: Mnih et al. 2015" in printed and "30 episodes per policy" in printed
    assert "sticky actions 0, frame skip 4, minimal actions" in printed and "up to 30 no-ops" in printed
    assert "human normalized" in printed and "-20.7" in printed and "14.6" in printed
    assert result["protocol"] == "dqn" and result["env_kwargs"]["noop_max"] == 30
    assert result["human_normalized"] == pytest.approx((result["return_mean"] + 20.7) / 35.3)


def test_several_runs_of_one_game_have_a_row_each_and_their_mean(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, printed = evaluate(capsys, runs / "pong", runs / "other", "--episodes", "3")
    assert [run["episodes"] for run in result["runs"]] == [3, 3]
    assert result["return_mean"] == sum(run["return_mean"] for run in result["runs"]) / 2
    assert "mean of 2 runs" in printed


def test_random_play_needs_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    result, printed = evaluate(capsys, "--policy", "random", "--env", "Boxing", "--episodes", "2")
    assert result["policy"] == "random" and "ALE/Boxing-v5: random play" in printed


def test_a_suite_leaves_tables_pictures_videos_and_a_page(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (runs / "pong", runs / "boxing", "--suite", "Pong", "--out", tmp_path / "out", "--episodes", "2")
    result, printed = evaluate(capsys, *arguments, "--video", tmp_path / "videos")
    assert "boxing: plays ALE/Boxing-v5, which is not in the suite; left out" in printed.replace("\n", "")
    assert "optimality gap" in printed and "published human" in printed
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"results", "suite.json", "games.csv", "profile.png", "scores.png", "report.html"}
    assert (tmp_path / "out" / "profile.png").read_bytes().startswith(b"\x89PNG")
    size = next(imageio_ffmpeg.read_frames(str(tmp_path / "videos" / "Pong.mp4")))["size"]
    assert "video/mp4;base64" in (tmp_path / "out" / "report.html").read_text() and min(size) > 100
    assert json.loads((tmp_path / "out" / "suite.json").read_text())["games"] == result["games"]
    # Again: nothing is played, the same tables.
    assert evaluate(capsys, *arguments)[0] == result


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "expected runs or policy files, or --policy random"),
        (["{runs}/pong", "--policy", "random"], "not both"),
        (["--policy", "random"], "--policy random: plays any environment; say which one with --env"),
        (["--policy", "random", "--env", "Pong", "--video", "v.mp4"], "--video: shows trained policies"),
        (["{runs}/pong", "--protocol", "nature"], "--protocol: 'nature' is unknown, expected one of v5, machado, dqn"),
        (["{runs}/pong", "--protocol", "machado", "--episodes", "10"], "machado needs at least 100"),
        (["{runs}/pong", "--protocol", "dqn", "--episodes", "10"], "dqn needs at least 30"),
        (["{runs}/pong", "--env-kwargs", '{"noop_max": 30}'], "noop_max is 30, but protocol v5 fixes it to 0"),
        (["{runs}/pong", "{runs}/boxing"], "choose one game's runs, --env, or --suite"),
        (["{runs}/wide"], "the policy's actions are Discrete(18), protocol v5 plays with Discrete(6)"),
        (["{runs}/pong", "--out", "x"], "--out: for --suite only"),
        (["{runs}/pong", "--suite", "Pong"], "--suite: needs --out"),
        (["{runs}/pong", "--suite", "Pong", "--env", "Pong", "--out", "x"], "--env: the games are those of --suite"),
        (["{runs}/pong", "--suite", "Pong,Pnog", "--out", "x"], "'Pnog' is no Atari game; did you mean Pong?"),
        (["{runs}/pong", "--suite", "Pong,Hero", "--out", "x"], "no policy was trained on Hero"),
        (["{runs}", "--suite", "Pong,Boxing", "--out", "x"], "Boxing has 1 policies and Pong has 3"),
        (["{runs}/wide", "--suite", "Pong", "--out", "x"], "the policy's actions are Discrete(18)"),
        (["{runs}/pong", "--suite", "Pong", "--out", "{runs}/pong"], "holds no results of a suite"),
    ],
)
def test_what_cannot_be_played_gets_one_line(
    argv: list[str],
    words: str,
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    status = main(["evaluate", *(word.format(runs=runs) if word.startswith("{runs") else word for word in argv)])
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.strip()]
    assert (status, len(lines)) == (2, 1), lines
    assert words in lines[0], lines[0]
    assert list(tmp_path.iterdir()) == []


def test_results_of_another_protocol_get_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = ["evaluate", str(runs / "pong"), "--suite", "Pong", "--out", str(tmp_path / "out")]
    assert main([*suite, "--episodes", "30"]) == 0
    page = (tmp_path / "out" / "report.html").read_bytes()
    capsys.readouterr()
    assert main([*suite, "--protocol", "dqn"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "protocol was 'v5' and is now 'dqn'; choose another --out" in lines[0]
    assert (tmp_path / "out" / "report.html").read_bytes() == page
    shutil.rmtree(tmp_path / "out")
