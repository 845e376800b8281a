"""Demonstrations that are no file of ours, above all tables of steps, through every verb that reads them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from gail.cli.main import main
from gail.demos import load_demos, save_demos
from gail.demos.bundled import bundled_demos

UNMARKED = ["--columns.episode-by-jump"]
LENGTHS = (140, 125, 131)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of three pieces of an episode of CartPole-v1, without marks; one row is missing between them, which is
    no leap: only the environment can tell."""
    episode = load_demos(bundled_demos("CartPole-v1")).trajectories[0]
    rows = np.column_stack([episode.observations[:-1], episode.actions])
    missing = np.cumsum(np.add(LENGTHS[:2], 1)) - 1
    rows = np.delete(rows, missing, axis=0)[: sum(LENGTHS)]
    file = tmp_path / "steps.csv"
    np.savetxt(file, rows, delimiter=",", header="obs0,obs1,obs2,obs3,action", comments="")
    return file


def fields(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_a_table_is_fitted_sampled_and_audited_without_being_converted(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, made = str(tmp_path / "run"), str(tmp_path / "made.npz")
    fit = ["fit", "vae", "--data", str(table), "--env", "CartPole-v1", "--steps", "2", "--model.hidden", "8"]
    assert main([*fit, *UNMARKED, "--previews", "0", "--out", run, "--json"]) == 0
    # The last row of each episode has no successor.
    assert fields(capsys)["items"] == sum(LENGTHS) - 3
    assert main([*fit, *UNMARKED, "--previews", "0", "--out", run, "--resume"]) == 0
    assert main(["sample", run, "--transitions", "30", "-o", made]) == 0
    assert load_demos(made).env_id == "CartPole-v1"
    capsys.readouterr()
    audit = ["audit", made, "--real", str(table), "--env", "CartPole-v1", *UNMARKED, "--rows", "100", "--json"]
    assert main([*audit, "--out", str(tmp_path / "audit")]) == 0
    assert fields(capsys)["checked_share"] == 1.0  # the environment's name reached the simulator


def test_a_table_beside_what_the_generator_learned_from(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = str(save_demos(load_demos(bundled_demos("CartPole-v1")).first(1), tmp_path / "made.npz"))
    audit = ["audit", made, "--real", str(table), "--env", "CartPole-v1", *UNMARKED, "--rows", "100", "--json"]
    learned = save_demos(load_demos(bundled_demos("CartPole-v1")).first(2), tmp_path / "learned.npz")
    for number, train in enumerate((table, learned)):
        main([*audit, "--train", str(train), "--out", str(tmp_path / f"audit-{number}")])
        described = fields(capsys)["train"]
        assert isinstance(described, dict) and described["path"] == str(train)


def test_a_table_is_imitated(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "CartPole-v1", "--algo", "bc", "--demos", str(table), "--bc.steps", "1"]
    assert main([*train, *UNMARKED, "--evaluation-episodes", "1", "--out", str(tmp_path / "run"), "--json"]) == 0
    assert fields(capsys)["demo_episodes"] == len(LENGTHS)


@pytest.mark.parametrize(
    "argv",
    [
        ["fit", "vae", "--data", "TABLE", "--out", "OUT"],
        ["train", "CartPole-v1", "--demos", "TABLE", "--out", "OUT"],
        ["audit", "TABLE", "--real", "TABLE", "--out", "OUT"],
        ["demos", "convert", "TABLE", "-o", "OUT"],
    ],
)
def test_the_error_about_missing_marks_names_the_flag(
    argv: list[str], table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.npz"
    places = {"TABLE": str(table), "OUT": str(out)}
    assert main([places.get(word, word) for word in argv]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and str(table) in error and UNMARKED[0] in error
    assert not out.exists()


def test_columns_of_a_file_that_is_no_table_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demos = str(bundled_demos("CartPole-v1"))
    for argv in (["fit", "vae", "--data", demos], ["train", "CartPole-v1", "--demos", demos]):
        assert main([*argv, *UNMARKED, "--out", str(tmp_path / "run")]) == 2
        assert "columns are for npy, csv, jsonl files" in capsys.readouterr().err


def test_an_array_of_numbers_is_demonstrations_and_one_of_whole_numbers_tokens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "steps.npy", rng.normal(size=(3, 12, 4)))
    np.save(tmp_path / "tokens.npy", rng.integers(0, 5, size=(20, 4)))
    few = ["--steps", "1", "--previews", "0", "--json"]
    assert main(["fit", "vae", "--data", str(tmp_path / "steps.npy"), *few, "--out", str(tmp_path / "a")]) == 0
    said = fields(capsys)
    assert (said["data_kind"], said["items"]) == ("transitions", 33)
    assert main(["fit", "transformer", "--data", str(tmp_path / "tokens.npy"), *few, "--out", str(tmp_path / "b")]) == 0
    assert fields(capsys)["data_kind"] == "tokens"


def test_a_local_minari_id_is_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = load_demos(bundled_demos("CartPole-v1")).first(1)
    save_demos(demos, tmp_path / "d-v0", format="minari")
    fit = ["fit", "vae", "--data", "d-v0", "--steps", "1", "--previews", "0", "--out", str(tmp_path / "run"), "--json"]
    assert main(fit) == 0
    assert fields(capsys)["items"] == demos.steps
