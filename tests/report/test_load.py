from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.report import load_run, load_runs

MakeRun = Callable[..., Path]


def test_metric_missing_in_some_rounds_or_null_is_nan_there(make_run: MakeRun) -> None:
    run = load_run(make_run(rounds=[{"step": 1, "a": 5.0}, {"step": 2, "b": 7.0}, {"step": 3, "a": None}]))
    metrics = run.seeds[0].metrics
    np.testing.assert_array_equal(metrics["a"], [5.0, np.nan, np.nan])
    np.testing.assert_array_equal(metrics["b"], [np.nan, 7.0, np.nan])


def test_last_line_cut_by_a_kill_is_left_out(make_run: MakeRun) -> None:
    directory = make_run(rounds=[{"step": 1}, {"step": 2}], return_mean=None)
    with open(directory / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "return_me')
    run = load_run(directory)
    assert run.seeds[0].metrics["step"].tolist() == [1, 2]
    assert not run.finished


@pytest.mark.parametrize("line", ['{"step": 3, "ret', "[1]", '{"a": 1}', '{"step": true}', '{"step": 3, "a": "x"}'])
def test_damaged_line_in_the_middle_is_named(make_run: MakeRun, line: str) -> None:
    directory = make_run(rounds=[{"step": 1}])
    with open(directory / "metrics.jsonl", "a") as file:
        file.write(line + '\n{"step": 4}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl: line 2") as error:
        load_run(directory)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[]", "expected an object"),
        ('{"return_mean": "good"}', "return_mean is 'good'"),
        ('{"return_interval": 3}', "return_interval is 3"),
        ('{"nonsense_check": {"return_mean": []}}', r"nonsense_check\.return_mean is \[\]"),
    ],
)
def test_damaged_summary_is_named(make_run: MakeRun, content: str, message: str) -> None:
    directory = make_run()
    (directory / "summary.json").write_text(content)
    with pytest.raises(InputError, match=rf"summary\.json: .*{message}"):
        load_run(directory)


def test_config_without_an_environment_is_refused(make_run: MakeRun) -> None:
    directory = make_run()
    (directory / "config.toml").write_text('[config]\nalgo = "gail"\n')
    with pytest.raises(InputError, match=r"config\.toml: field run\.env_id is None"):
        load_run(directory)


def test_what_is_not_a_run_is_refused_by_name(tmp_path: Path, make_run: MakeRun) -> None:
    with pytest.raises(InputError, match="nowhere: expected a run directory, found nothing"):
        load_run(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: expected a run directory, found a file"):
        load_run(tmp_path / "file")
    make_run("inner")
    with pytest.raises(InputError, match=r"not a run directory.*runs inside: inner"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="no run directory given"):
        load_runs([])


def test_seeds_come_in_numerical_order(make_run: MakeRun) -> None:
    run = load_run(make_run(returns=[1.0] * 11))
    assert [seed.seed for seed in run.seeds] == list(range(11))


def test_run_without_its_aggregate_is_unfinished(make_run: MakeRun) -> None:
    directory = make_run(returns=[1.0, 2.0])
    assert load_run(directory).finished
    (directory / "summary.json").unlink()
    assert not load_run(directory).finished


def test_same_run_counts_once_and_same_names_become_paths(make_run: MakeRun, tmp_path: Path) -> None:
    a, b = make_run("x/run"), make_run("y/run")
    runs = load_runs([a, b, tmp_path / "x" / ".." / "x" / "run"])
    assert [run.name for run in runs] == [str(a), str(b)]
