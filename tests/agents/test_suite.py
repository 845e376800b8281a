"""Suites of Atari games: which policies play, what is kept, what is played again, what is refused."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rliable import metrics

from gail.agents import suite
from gail.agents.atari_scores import ATARI26, ATARI57, PUBLISHED
from gail.agents.entrants import RANDOM, Entrant, find_entrants
from gail.agents.evaluate import Evaluation
from gail.agents.setting import Setting
from gail.agents.suite import evaluate_suite, match_games, suite_games, summarize
from gail.core.errors import InputError

GAMES = ("Boxing", "Freeway")
SavePolicy = Callable[..., Path]


@pytest.fixture
def runs(tmp_path: Path, short_protocols: int, ram_policy: SavePolicy) -> Path:
    """Two runs of each of two games."""
    for game in GAMES:
        for seed in (0, 1):
            ram_policy(tmp_path / "runs" / game / f"seed-{seed}" / "policy.safetensors", game, seed=seed)
    return tmp_path / "runs"


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No game is played: a policy's returns follow from its content. Lists who was asked to play."""
    played: list[str] = []

    def play(entrant: Entrant, setting: Setting, device: str) -> Evaluation:
        played.append("/".join(Path(entrant.name).parts[-2:]))
        returns = np.random.default_rng(int(entrant.key, 16)).normal(size=setting.episodes)
        return Evaluation(returns, np.full(setting.episodes, 5))

    monkeypatch.setattr(suite, "play", play)
    return played


def play_suite(runs: Path, out: Path, games: str = "Boxing,Freeway", **settings: Any) -> dict[str, Any]:
    matched = match_games(suite_games(games), find_entrants([runs]))
    return evaluate_suite(matched, out, **{"episodes": 2, "seed": 0, **settings})


def test_suites_are_named_lists_or_games_separated_by_commas() -> None:
    assert suite_games("atari26") == ATARI26 and suite_games("atari57") == ATARI57
    assert suite_games("pong, ms_pacman,ALE/Qbert-v5") == ("Pong", "MsPacman", "Qbert")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("atari58", "'atari58' is no Atari game; expected atari26, atari57, or games of atari57"),
        ("Pong,Pnog", r"'Pnog' is no Atari game; did you mean Pong\?"),
        ("Pong,pong", "Pong is named twice"),
        ("Adventure", "'Adventure' has no published scores"),
        ("CartPole-v1", "'CartPole-v1' is no Atari game"),
        (" , ", "names no game"),
    ],
)
def test_what_is_no_game_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=f"^--suite: .*{words}"):
        suite_games(text)


def entrant(name: str, game: str) -> Entrant:
    return Entrant(name, name, Path(name), f"ALE/{game}-v5")


def test_policies_play_the_game_that_they_were_trained_on_and_random_play_plays_all() -> None:
    policies = [entrant("a", "Pong"), entrant("b", "Boxing"), entrant("c", "Qbert"), RANDOM]
    assert match_games(GAMES[:1], policies) == {"Boxing": [policies[1], RANDOM]}
    with pytest.raises(InputError, match="no policy was trained on Freeway, Hero"):
        match_games(("Pong", "Freeway", "Hero"), policies[:3])
    with pytest.raises(InputError, match="Pong has 1 policies and Boxing has 2"):
        match_games(("Pong", "Boxing"), [*policies[:3], entrant("d", "Boxing")])


def test_a_policy_that_does_not_say_what_it_plays_is_no_player_of_all_games() -> None:
    policies = [Entrant("model.zip", "z", Path("model.zip"))]
    assert match_games(("Pong",), policies) == {"Pong": policies}
    with pytest.raises(InputError, match=r"model\.zip does not say which game it plays"):
        match_games(GAMES, policies)


def test_changed_code_is_another_policy(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    keys = []
    for text in ("a = 1", "a = 2", "a = 2"):
        file.write_text(text)
        keys.append(find_entrants([Path(f"{file}:Mine")])[0].key)
    assert keys[0] != keys[1] == keys[2]


def test_a_suite_writes_one_result_per_policy_and_one_row_per_game(runs: Path, tmp_path: Path) -> None:
    summary = play_suite(runs, tmp_path / "out")
    files = sorted((tmp_path / "out" / "results").glob("*/*.json"))
    assert [file.parent.name for file in files] == ["Boxing", "Boxing", "Freeway", "Freeway"]
    results = [json.loads(file.read_text()) for file in files]
    assert all(len(result["returns"]) == 2 and result["protocol"] == "v5" for result in results)
    assert json.loads((tmp_path / "out" / "suite.json").read_text()) == json.loads(json.dumps(summary))
    with open(tmp_path / "out" / "games.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["game"] for row in rows] == list(GAMES)
    assert float(rows[0]["return_mean"]) == np.mean([result["return_mean"] for result in results[:2]])
    assert float(rows[0]["human"]) == PUBLISHED["Boxing"].human


def test_an_interrupted_suite_plays_only_what_is_missing_and_ends_the_same(
    runs: Path, tmp_path: Path, instant: list[str], ram_policy: SavePolicy
) -> None:
    whole = play_suite(runs, tmp_path / "whole")

    def interrupt(result: dict[str, Any], number: int, total: int) -> None:
        assert total == 4
        if number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_suite(runs, tmp_path / "out", finished=interrupt)
    (tmp_path / "out" / "results" / "Freeway" / ".unfinished-killed.json").write_text("{")
    instant.clear()
    assert play_suite(runs, tmp_path / "out") == whole
    assert instant == ["Freeway/seed-1"]
    # More games join what is there.
    ram_policy(runs / "Pong" / "a" / "policy.safetensors", "Pong", seed=0)
    ram_policy(runs / "Pong" / "b" / "policy.safetensors", "Pong", seed=1)
    play_suite(runs, tmp_path / "out", "Boxing,Freeway,Pong")
    assert instant == ["Freeway/seed-1", "Pong/a", "Pong/b"]


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"protocol": "dqn", "episodes": 30}, "episodes was 2 and is now 30"),
        ({"protocol": "machado", "episodes": 100}, "episodes was 2 and is now 100"),
        ({"episodes": 3}, "episodes was 2 and is now 3"),
        ({"seed": 7}, "seed was 0 and is now 7"),
        ({"deterministic": False}, "deterministic was True and is now False"),
        ({"env_kwargs": {"difficulty": 0}}, "env_kwargs.difficulty was None and is now 0"),
    ],
)
def test_results_of_other_settings_are_not_mixed(
    runs: Path, tmp_path: Path, settings: dict[str, Any], words: str
) -> None:
    play_suite(runs, tmp_path / "out", "Boxing")
    with pytest.raises(InputError, match=rf"results/Boxing/.*\.json: .*({words}).*choose another --out"):
        play_suite(runs, tmp_path / "out", "Boxing", **settings)


@pytest.mark.usefixtures("instant")
def test_other_policies_results_must_have_been_played_by_the_same_rules(runs: Path, tmp_path: Path) -> None:
    play_suite(runs, tmp_path / "out", "Boxing")
    with pytest.raises(InputError, match=r"Boxing.*episodes was 2 and is now 3"):
        play_suite(runs, tmp_path / "out", "Freeway", episodes=3)


def test_a_folder_of_something_else_is_left_alone(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="out: exists already and holds no results of a suite"):
        play_suite(runs, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"policy": "a", "return_mean": 1.0}'])
def test_damaged_results_are_named(runs: Path, tmp_path: Path, text: str) -> None:
    play_suite(runs, tmp_path / "out", "Boxing")
    file = next((tmp_path / "out").glob("results/Boxing/*.json"))
    file.write_text(text)
    with pytest.raises(InputError, match=f"{file.name}: no result of a suite"):
        play_suite(runs, tmp_path / "out", "Boxing")


def test_a_policy_that_does_not_fit_is_refused_before_anything_is_played(
    runs: Path, tmp_path: Path, ram_policy: SavePolicy
) -> None:
    for seed in (0, 1):
        file = runs / "Pong" / f"seed-{seed}" / "policy.safetensors"
        ram_policy(file, "Pong", seed=seed, full_action_space=True)
    with pytest.raises(InputError, match=r"Pong-v5: the policy's actions are Discrete\(18\)"):
        play_suite(runs, tmp_path / "out", "Boxing,Freeway,Pong")
    assert not (tmp_path / "out").exists()


def test_aggregates_are_of_human_normalized_scores_with_a_row_per_run() -> None:
    def result(game: str, score: float) -> dict[str, Any]:
        mean = PUBLISHED[game].random + score * (PUBLISHED[game].human - PUBLISHED[game].random)
        rules = {"protocol": "v5", "episodes": 5, "deterministic": True, "seed": 0, "env_id": "x", "env_kwargs": {}}
        return {**rules, "policy": "p", "return_mean": mean, "human_normalized": score, "return_interval": [0.0, 1.0]}

    scores = {"Pong": [0.2, 0.4, 0.9], "Boxing": [3.0, 2.0, 4.0], "Qbert": [-0.1, 0.0, 0.1], "Hero": [1.0, 1.5, 0.7]}
    summary = summarize({game: [result(game, score) for score in row] for game, row in scores.items()})
    matrix = np.array(list(scores.values())).T
    assert summary["runs_per_game"] == 3
    for name, function in (
        ("median", metrics.aggregate_median),
        ("iqm", metrics.aggregate_iqm),
        ("mean", metrics.aggregate_mean),
        ("optimality_gap", metrics.aggregate_optimality_gap),
    ):
        found = summary["aggregates"][name]
        assert found["value"] == pytest.approx(function(matrix)) and found["low"] <= found["value"] <= found["high"]
    row = summary["games"][0]
    assert row["human_normalized"] == pytest.approx(0.5) and row["run_scores"] == scores["Pong"]
    profile = dict(zip(summary["profile"]["taus"], summary["profile"]["share"], strict=True))
    assert profile[1.0] == pytest.approx(np.mean(matrix > 1.0))
