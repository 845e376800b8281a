"""``gail bench synthetic`` pairs seeds, shares one generator between the arms and does nothing twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gail.cli import bench_synthetic
from gail.cli.bench_synthetic import ARMS, more_episodes, noised, score_rows
from gail.cli.main import main
from gail.core.statistics import mean_interval
from gail.demos import Demonstrations, Trajectory, bundled_demos, load_demos, save_demos
from gail.demos.origin import recorded_steps

WORDS = [
    "bench", "synthetic", "CartPole-v1", "--synthetic", "60", "--fit-steps", "3", "--steps", "100",
    "--evaluation-episodes", "2",
]  # fmt: skip


def scored(*seeds: tuple[float, float, float, float]) -> list[dict[str, Any]]:
    arms = ARMS[:4]  # as of a file that holds no more episodes
    counts = dict(zip(arms, (10, 60, 60, 30), strict=True))
    return [{"scores": dict(zip(arms, scores, strict=True)), "transitions": counts} for scores in seeds]


def test_differences_are_of_the_same_seed() -> None:
    rows = score_rows(scored((0.1, 0.3, 0.3, 0.0), (0.5, 0.6, 0.7, 0.5), (0.9, 1.2, 0.9, 0.7)))
    assert [row["learned_from"] for row in rows] == list(ARMS[:4])
    assert rows[0]["difference"] is None and rows[0]["normalized"] == pytest.approx(0.5)
    paired = mean_interval([0.2, 0.1, 0.3])
    assert rows[1]["difference"] == pytest.approx(paired.mean)
    # Far narrower than the scores' own interval: the seeds' spread is in both arms.
    assert rows[1]["difference_interval"] == pytest.approx([paired.low, paired.high])
    assert rows[3]["difference"] == pytest.approx(-0.1) and rows[3]["transitions"] == 30


def test_one_seed_has_no_interval() -> None:
    assert score_rows(scored((0.1, 0.3, 0.3, 0.0)))[1]["difference_interval"] is None


def test_arms_share_the_seeds_generator_and_finished_seeds_are_not_trained_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[tuple[int, int, int]] = []
    imitate, fitted = bench_synthetic.imitate, bench_synthetic.fit
    fits: list[int] = []

    def training(env_id: str, data: Any, **options: Any) -> Any:
        learned.append((options["seed"], data.steps, recorded_steps(data)))
        return imitate(env_id, data, **options)

    def fitting(*arguments: Any, **options: Any) -> Any:
        fits.append(options["seed"])
        return fitted(*arguments, **options)

    monkeypatch.setattr(bench_synthetic, "imitate", training)
    monkeypatch.setattr(bench_synthetic, "fit", fitting)
    words = [*WORDS, "--out", str(tmp_path / "o"), "--json"]
    assert main([*words, "--seeds", "1"]) == 0
    assert main([*words, "--seeds", "2"]) == 0
    assert fits == [0, 1]
    # CartPole's first episodes have 500 steps each; the filter keeps some of the 60.
    recorded = [500, 500, 500, 500, 1000]
    assert [(seed, real) for seed, _, real in learned] == [(seed, real) for seed in (0, 1) for real in recorded]
    assert [steps for _, steps, _ in learned][:3] == [500, 560, 560] and 500 <= learned[3][1] <= 560
    assert learned[4][1] == 1000
    data = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [(row["learned_from"], row["seeds"]) for row in data["rows"]] == [(arm, 2) for arm in ARMS]
    assert len(data["per_seed"]) == 2
    assert len(load_demos(tmp_path / "o" / "seed-1" / "synthetic.npz")) == 60
    summary = json.loads((tmp_path / "o" / "seed-0" / "real" / "summary.json").read_text())
    # The scale of all episodes of the file.
    assert summary["expert_return"] == 500.0 and summary["normalized_return"] == data["per_seed"][0]["scores"]["real"]
    assert main([*words, "--seeds", "2", "--synthetic", "61"]) == 2
    assert "cannot resume" in capsys.readouterr().err


def test_more_real_episodes_are_the_next_ones_and_as_many_steps_as_are_asked_for() -> None:
    lengths = (5, 4, 6, 3)
    episodes = tuple(
        Trajectory(np.zeros((steps + 1, 1)), np.full(steps, float(place)), None, terminated=False, truncated=True)
        for place, steps in enumerate(lengths)
    )

    def chosen(first: int, steps: int) -> list[int] | None:
        more = more_episodes(Demonstrations(episodes), first, steps)
        return None if more is None else [int(trajectory.actions[0]) for trajectory in more]

    assert [chosen(1, steps) for steps in (1, 4, 5, 10, 11, 99)] == [[1], [1], [1, 2], [1, 2], [1, 2, 3], [1, 2, 3]]
    assert chosen(3, 99) == [3] and chosen(4, 1) is None


def test_another_files_runs_are_not_gone_on_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--seeds", "1", "--out", str(tmp_path)]
    assert main(words) == 0
    other = tmp_path / "other.npz"
    demos = load_demos(bundled_demos("CartPole-v1"))
    save_demos(replace(demos, trajectories=demos.trajectories[1:]), other)
    assert main([*words, "--demos", str(other)]) == 2
    assert "cannot resume, run.demos_sha256 was" in capsys.readouterr().err


def test_a_file_that_is_no_better_than_random_play_scales_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demos = load_demos(bundled_demos("CartPole-v1"))
    short = tuple(
        Trajectory(t.observations[:6], t.actions[:5], np.ones(5), terminated=True, truncated=False) for t in demos
    )
    path = save_demos(replace(demos, trajectories=short), tmp_path / "short.npz")
    assert main([*WORDS, "--demos", str(path), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "its mean return is 5, expected more than random play's 2" in error
    assert not (tmp_path / "o").exists()


def test_noise_moves_states_by_a_twentieth_of_their_spread_and_leaves_actions_and_the_file_alone() -> None:
    states = np.random.default_rng(0).normal(size=(301, 3)) * [1.0, 10.0, 0.1]
    actions = np.arange(300.0)  # say which row it was
    real = Demonstrations((Trajectory(states.copy(), actions, None, terminated=True, truncated=False),))
    made = noised(real, 4000, seed=1)
    assert (made.kind, len(made), made.steps) == ("transitions", 4000, 4000)
    assert made.generator == {"kind": "noise", "seed": 1, "spread": 0.05}
    rows = np.array([int(t.actions[0]) for t in made])
    for place in (0, 1):
        moved = np.stack([t.observations[place] for t in made]) - states[rows + place]
        np.testing.assert_allclose(moved.std(axis=0), 0.05 * states[:-1].std(axis=0), rtol=0.05)
    assert [t.terminated for t in made] == (rows == 299).tolist()
    np.testing.assert_array_equal(real.trajectories[0].observations, states)


def test_another_environments_file_is_refused_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(bundled_demos("Hopper-v5"))
    assert main([*WORDS, "--demos", other, "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{other}: env_id is 'Hopper-v5', expected 'CartPole-v1'" in error
    assert not (tmp_path / "o").exists()


def test_more_episodes_than_there_are_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--episodes", "99"]) == 2
    error = capsys.readouterr().err
    assert "--episodes: 99" in error and error.count("\n") == 1
