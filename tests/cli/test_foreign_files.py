"""Demonstrations that are no file of ours, above all tables of steps, through every verb that reads them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gail.cli.main import main
from gail.demos import Columns, load_demos, save_demos
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


def test_tables_and_other_files_are_audited_together(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = load_demos(bundled_demos("CartPole-v1"))
    file = save_demos(demos.first(2), tmp_path / "some.npz")
    made = save_demos(replace(demos, trajectories=demos.trajectories[5:7]), tmp_path / "made.npz")
    sets = [(made, table, table), (made, table, file), (made, file, table), (table, file, file)]
    for number, (synthetic, real, train) in enumerate(sets):
        audit = ["audit", str(synthetic), "--real", str(real), "--train", str(train), "--rows", "100", "--json"]
        main([*audit, "--env", "CartPole-v1", *UNMARKED, "--out", str(tmp_path / f"audit-{number}")])
        summary = fields(capsys)
        found = [summary[name] for name in ("synthetic", "real", "train")]
        assert [part["path"] for part in found if isinstance(part, dict)] == [str(synthetic), str(real), str(train)]
    none = ["audit", str(made), "--real", str(file), *UNMARKED, "--out", str(tmp_path / "none")]
    assert main(none) == 2 and "none of the files is a table" in capsys.readouterr().err


def test_the_shift_of_actions_is_that_of_the_training_file_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(4)
    shifted = tuple(replace(t, actions=np.roll(t.actions, 1, axis=0)) for t in demos)
    file = save_demos(replace(demos, trajectories=shifted), tmp_path / "shifted.npz")
    copies = save_demos(load_demos(file, action_shift=1), tmp_path / "copies.npz")
    audit = ["audit", str(copies), "--real", str(file), "--train", str(file), "--action-shift", "1", "--rows", "100"]
    assert main([*audit, "--out", str(tmp_path / "audit")]) == 1
    assert "NOT SYNTHETIC" in capsys.readouterr().out


def test_a_run_goes_on_only_with_rows_that_are_read_alike(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = ["fit", "vae", "--data", str(table), "--env", "CartPole-v1", "--steps", "1", "--previews", "0"]
    train = ["train", "CartPole-v1", "--algo", "bc", "--demos", str(table), "--bc.steps", "1"]
    for number, words in enumerate((fit, [*train, "--evaluation-episodes", "1"])):
        words = [*words, *UNMARKED, "--out", str(tmp_path / f"run-{number}")]
        assert main(words) == 0
        capsys.readouterr()
        # Also one that is said to be no index, which is not the same as not said.
        for other in [["--columns.rewards", "obs0"], ["--columns.discrete-actions", "False"]][: 2 - number]:
            assert main([*words, "--resume", *other]) == 2
            assert "cannot resume" in capsys.readouterr().err
        assert main([*words, "--resume"]) == 0


@pytest.mark.parametrize("words", [["digits"], ["TABLE", "--data-kind", "text"]])
def test_what_is_no_demonstrations_is_not_read_as_such(
    words: list[str], table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(table) if word == "TABLE" else word for word in words]
    assert main(["fit", "vae", "--data", *words, "--env", "CartPole-v1"]) == 2
    assert "--env, --action-shift and --columns are for demonstrations" in capsys.readouterr().err


def test_keyword_arguments_of_no_environment_are_refused(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "vae", "--data", str(table), *UNMARKED, "--env-kwargs", "{}"]) == 2
    assert "--env-kwargs: needs --env" in capsys.readouterr().err


def test_an_environment_of_batches_cannot_tell_where_episodes_begin_and_the_rows_do(table: Path) -> None:
    leap = np.loadtxt(table, delimiter=",", skiprows=1)
    leap[50:, 0] += 100.0
    np.savetxt(table, leap, delimiter=",", header="obs0,obs1,obs2,obs3,action", comments="")
    (table.parent / "own.py").write_text(
        "import gail\n\ndef batch(num_envs=1, **options):\n    return gail.make_vec('CartPole-v1', num_envs)\n"
    )
    found = load_demos(table, columns=Columns(episode_by_jump=True), env_id=f"{table.parent / 'own.py'}:batch")
    assert len(found.trajectories[0]) == 49


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
    for content in (b"PK\x03\x04 and nothing else", (bundled_demos("CartPole-v1")).read_bytes()):
        (tmp_path / "archive.npy").write_bytes(content)
        assert main(["fit", "vae", "--data", str(tmp_path / "archive.npy"), *few, "--out", str(tmp_path / "c")]) == 2
        error = capsys.readouterr().err
        assert "archive.npy: " in error and error.count("\n") == 1


def test_a_local_minari_id_is_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = load_demos(bundled_demos("CartPole-v1")).first(1)
    save_demos(demos, tmp_path / "d-v0", format="minari")
    fit = ["fit", "vae", "--data", "d-v0", "--steps", "1", "--previews", "0", "--out", str(tmp_path / "run"), "--json"]
    assert main(fit) == 0
    assert fields(capsys)["items"] == demos.steps
