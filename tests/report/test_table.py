from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from gail.report import comparison_table, load_runs
from gail.report.table import Row, format_number

MakeRun = Callable[..., Path]


def rows_of(*directories: Path) -> tuple[Row, ...]:
    (environment,) = comparison_table(load_runs(directories)).environments
    return environment.rows


def test_several_seeds_give_their_mean_and_an_interval_over_seeds(make_run: MakeRun) -> None:
    rows = rows_of(make_run(returns=[100.0, 200.0, 300.0]))
    assert [row.kind for row in rows] == ["random", "run", "expert"]
    row = rows[1]
    # Student's t with 2 degrees of freedom: 4.3027 standard errors of 100 / sqrt(3).
    half = 4.302653 * 100 / 3**0.5
    assert row.return_mean == 200.0
    assert row.return_interval == pytest.approx((200 - half, 200 + half))
    assert row.normalized == 0.5
    assert row.normalized_interval == pytest.approx((0.5 - half / 400, 0.5 + half / 400))
    assert row.seeds == 3
    assert row.cells(1)[1:] == ("200.0", "[−48.4, 448.4]", "0.50", "1,000", "10", "4", "3")


def test_single_seed_has_its_episodes_interval_with_a_dagger(make_run: MakeRun) -> None:
    row = rows_of(make_run(return_mean=100.0))[1]
    assert row.return_interval == (95.0, 105.0)
    assert row.cells(0)[2] == "[95, 105]†"


def test_normalized_interval_is_ordered_where_the_expert_is_worse_than_random(make_run: MakeRun) -> None:
    row = rows_of(make_run(return_mean=100.0, random_return=0.0, expert_return=-100.0))[1]
    assert row.normalized_interval == pytest.approx((-1.05, -0.95))


def test_random_and_expert_frame_cloning_then_gail(make_run: MakeRun) -> None:
    rows = rows_of(make_run("g"), make_run("b", algo="bc"))
    assert [row.method for row in rows] == ["Random play", "Behaviour cloning", "GAIL", "Expert"]
    assert [row.return_mean for row in rows] == [0.0, 100.0, 100.0, 400.0]
    assert rows[1].env_steps == 0, "behaviour cloning's steps are gradient steps"


def test_control_is_the_mean_over_all_seeds_not_the_first(make_run: MakeRun) -> None:
    control = rows_of(make_run(returns=[100.0, 100.0], controls=[10.0, 30.0]))[2]
    assert (control.kind, control.return_mean, control.seeds) == ("control", 20.0, 2)
    assert control.normalized == pytest.approx(0.05)


def test_unfinished_run_says_where_it_is(make_run: MakeRun) -> None:
    row = rows_of(make_run(return_mean=None))[0]
    assert (row.return_mean, row.note) == (None, "unfinished, at step 1,000")
    assert row.cells(1)[1:4] == ("–", "–", "–")
    row = rows_of(make_run("several", returns=[100.0, None]))[1]
    assert (row.return_mean, row.note) == (100.0, "unfinished: 1 of 2 seeds done")


def test_runs_scored_against_different_experts_get_one_row_each(make_run: MakeRun) -> None:
    rows = rows_of(make_run("a"), make_run("b", expert_return=300.0))
    experts = {row.method: row.return_mean for row in rows if row.kind == "expert"}
    assert experts == {"Expert, a": 400.0, "Expert, b": 300.0}
    assert [row.method for row in rows if row.kind == "run"] == ["GAIL, a", "GAIL, b"]


def test_environments_with_other_arguments_are_not_compared(make_run: MakeRun) -> None:
    table = comparison_table(load_runs([make_run("a"), make_run("b", env_id="Other-v0")]))
    assert [environment.title for environment in table.environments] == ["CartPole-v1", "Other-v0"]


def test_method_keeps_its_color_with_and_without_a_baseline(make_run: MakeRun) -> None:
    runs = load_runs([make_run("b", algo="bc"), make_run("g"), make_run("o", env_id="Other-v0")])
    both, alone = comparison_table(runs).environments
    colors = {row.method: row.color for row in both.runs}
    assert colors["GAIL"] == alone.runs[0].color != colors["Behaviour cloning"]


def test_terminal_shows_names_literally_not_as_markup(make_run: MakeRun) -> None:
    table = comparison_table(load_runs([make_run(env_id="[red]x[/red]")]))
    buffer = io.StringIO()
    Console(file=buffer, width=140).print(table)
    assert "[red]x[/red]" in buffer.getvalue()
    assert "100.0" in buffer.getvalue()


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(None, 1, "–"), (float("nan"), 1, "–"), (-1234.56, 1, "−1,234.6"), (-0.04, 1, "0.0"), (0, 0, "0")],
)
def test_numbers_are_grouped_and_missing_ones_are_dashes(value: float, decimals: int, text: str) -> None:
    assert format_number(value, decimals) == text
