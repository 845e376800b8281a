"""The filter keeps what is right, new and looks recorded, and says why it dropped the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, join_demos, load_demos, save_demos
from gail.demos.join import unrelated_transitions
from gail.envs import make_vec
from gail.generators import AuditConfig, FilterConfig, filter_synthetic
from gail.generators.audit_classifier import FOLDS, cross_fitted_scores

QUICK = AuditConfig(rows=400)


@pytest.fixture(scope="module")
def play() -> Demonstrations:
    """Random play in Pendulum, whose steps any state and action allow; recorded in episodes of 15 steps."""
    env = make_vec("Pendulum-v1", 60)
    generator = torch.Generator().manual_seed(0)
    obs, actions = [env.reset(seed=0)], []
    for _ in range(15):
        actions.append(torch.rand(60, 1, generator=generator) * 4 - 2)
        obs.append(env.step(actions[-1]).obs)
    states, played = torch.stack(obs, 1).numpy(), torch.stack(actions, 1).numpy()
    episodes = tuple(Trajectory(s, a, None, False, True) for s, a in zip(states, played, strict=True))
    return Demonstrations(episodes, env_id="Pendulum-v1")


@pytest.fixture(scope="module")
def real(play: Demonstrations) -> Demonstrations:
    return play.first(30)


def generated(demos: Demonstrations) -> Demonstrations:
    return replace(demos, generator={"kind": "vae", "hash": "h"})


def shuffled(trajectory: Trajectory, successor: np.ndarray) -> Trajectory:
    return replace(trajectory, observations=np.stack([trajectory.observations[0], successor]))


def test_right_new_rows_stay_and_each_defect_is_dropped_for_its_own_reason(
    play: Demonstrations, real: Demonstrations
) -> None:
    fresh = unrelated_transitions(replace(play, trajectories=play.trajectories[30:])).trajectories[:300]
    copies = unrelated_transitions(real).trajectories[:150]
    impossible = tuple(
        shuffled(row, other.observations[1])
        for row, other in zip(fresh[:150], fresh[150:], strict=True)
    )  # fmt: skip
    made = generated(replace(real, trajectories=(*fresh, *copies, *impossible), kind="transitions"))
    found = filter_synthetic(made, real, audit=QUICK)
    kept = {id(trajectory) for trajectory in found.demos}
    shares = [np.mean([id(row) in kept for row in rows]) for rows in (fresh, copies, impossible)]
    assert shares[0] > 0.75 and shares[1] == 0.0 and shares[2] < 0.15
    assert found.summary["dropped"]["dynamics"] > 0.85 * 150 and found.summary["dropped"]["copies"] >= 150
    assert found.summary["kept"] == len(found.demos) and found.summary["trajectories"] == 600
    assert found.demos.generator is not None and found.demos.generator["kind"] == "vae"
    assert found.demos.generator["filter"] == found.summary


def test_rows_that_look_unlike_recorded_ones_are_dropped_though_the_simulator_agrees(real: Demonstrations) -> None:
    env = make_vec("Pendulum-v1", 200)
    angle = torch.rand(200, generator=torch.Generator().manual_seed(1)) * 6 - 3
    # Spinning faster than any recorded row.
    obs = torch.stack([angle.cos(), angle.sin(), torch.full_like(angle, 7.9)], 1)
    env.reset(seed=0)
    env.set_state(torch.stack([angle, torch.full_like(angle, 7.9)], 1))  # type: ignore[attr-defined]
    actions = torch.zeros(200, 1)
    after = env.step(actions).next_obs
    rows = [
        Trajectory(torch.stack([s, n]).numpy(), a[None].numpy(), None, False, False)
        for s, a, n in zip(obs, actions, after, strict=True)
    ]
    summary = filter_synthetic(
        generated(replace(real, trajectories=tuple(rows), kind="transitions")), real, audit=QUICK
    ).summary
    assert summary["dropped"]["dynamics"] == 0 and summary["dropped"]["copies"] == 0
    assert summary["dropped"]["unreal"] > 190


def test_no_row_is_scored_by_trees_that_saw_its_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier

    seen: list[set[float]] = []
    fit, judge = HistGradientBoostingClassifier.fit, HistGradientBoostingClassifier.predict_proba

    def fitting(self: HistGradientBoostingClassifier, rows: np.ndarray, labels: np.ndarray) -> object:
        seen.append(set(rows[:, 0].tolist()))
        return fit(self, rows, labels)

    def judging(self: HistGradientBoostingClassifier, rows: np.ndarray) -> np.ndarray:
        assert seen[-1].isdisjoint(rows[:, 0].tolist())
        return np.asarray(judge(self, rows))

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", fitting)
    monkeypatch.setattr(HistGradientBoostingClassifier, "predict_proba", judging)
    # The first column says which episode a row is of.
    episode = np.repeat(np.arange(10), 20)
    rows = np.column_stack([episode, np.random.default_rng(0).normal(size=200)]).astype(float)
    scores, fold = cross_fitted_scores(rows, episode, rows + 100, episode, seed=0)
    assert len(seen) == FOLDS and len(scores) == len(fold) == 400 and np.isfinite(scores).all()


def test_an_episode_is_judged_by_its_mean_error(play: Demonstrations, real: Demonstrations) -> None:
    good, bad = play.trajectories[40], play.trajectories[41]
    observations = bad.observations.copy()
    observations[8:] = -observations[8:]
    made = generated(replace(real, trajectories=(good, replace(bad, observations=observations))))
    found = filter_synthetic(made, real, config=FilterConfig(least_real=0.0), audit=QUICK)
    assert found.summary["dropped"]["dynamics"] == 1
    assert good in found.demos.trajectories


def test_each_of_the_agents_that_played_together_is_judged_alone(play: Demonstrations, real: Demonstrations) -> None:
    fresh, other, copied = play.trajectories[40], play.trajectories[41], real.trajectories[0]
    wrong = replace(other, observations=-other.observations)
    agents = tuple(replace(row, seed=7, agent=name) for row, name in ((fresh, "a"), (wrong, "b"), (copied, "c")))
    found = filter_synthetic(
        generated(replace(real, trajectories=agents)), real, config=FilterConfig(least_real=0.0), audit=QUICK
    )
    assert [row.agent for row in found.demos] == ["a"]
    assert found.summary["dropped"] == {"dynamics": 1, "copies": 1, "unreal": 0}


def test_without_a_simulator_the_other_checks_run(play: Demonstrations, real: Demonstrations) -> None:
    unnamed = replace(real, env_id=None)
    made = generated(replace(unnamed, trajectories=play.trajectories[30:]))
    summary = filter_synthetic(made, unnamed, audit=QUICK).summary
    assert "names no environment" in summary["skipped"]["dynamics"] and summary["dropped"]["dynamics"] is None
    assert summary["unchecked"] == 30 and summary["dropped"]["copies"] == 0


def test_recorded_rows_are_not_judged_as_synthetic_nor_synthetic_ones_taken_for_real(
    play: Demonstrations, real: Demonstrations
) -> None:
    made = generated(replace(real, trajectories=play.trajectories[30:]))
    with pytest.raises(InputError, match="is joined of several sets"):
        filter_synthetic(join_demos([real, made]), real, audit=QUICK)
    with pytest.raises(InputError, match=r"--real: expected recorded demonstrations, found .* synthetic"):
        filter_synthetic(made, join_demos([real, made]), audit=QUICK)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_threshold_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=r"filter.least_real: .*, expected a share from 0 to 1"):
        FilterConfig(least_real=share)


def test_the_command_writes_what_passes_and_says_why_the_rest_does_not(
    play: Demonstrations, real: Demonstrations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded = save_demos(real, tmp_path / "real.npz")
    fresh = replace(real, trajectories=play.trajectories[30:40])
    made = save_demos(generated(unrelated_transitions(fresh)), tmp_path / "made.npz")
    words = ["audit", str(made), "--real", str(recorded), "--rows", "100", "--json", "--keep", str(tmp_path / "k.npz")]
    assert main([*words, "--out", str(tmp_path / "audit")]) == 0
    lines = capsys.readouterr().out.splitlines()
    kept, summary = load_demos(tmp_path / "k.npz"), json.loads(lines[-1])["filter"]
    assert kept.kind == "transitions" and len(kept) == summary["kept"] > 75
    assert kept.generator is not None and kept.generator["filter"] == summary
    assert f"kept {len(kept)} of 150 transitions; dropped: 0 dynamics error above 0.01, " in lines[-2]
    assert main([*words, "--out", str(tmp_path / "again")]) == 2
    assert "k.npz: exists already" in capsys.readouterr().err and not (tmp_path / "again").exists()
    joined = save_demos(join_demos([real, load_demos(made)]), tmp_path / "joined.npz")
    late = ["--keep", str(tmp_path / "late.npz"), "--out", str(tmp_path / "late")]
    assert main(["audit", str(joined), "--real", str(recorded), *late]) == 2
    assert "is joined of several sets" in capsys.readouterr().err and not (tmp_path / "late").exists()
    impossible = tuple(shuffled(row, -row.observations[1]) for row in unrelated_transitions(fresh))
    wrong = save_demos(generated(replace(fresh, trajectories=impossible, kind="transitions")), tmp_path / "wrong.npz")
    nothing = tmp_path / "none.npz"
    words = ["audit", str(wrong), *words[2:-1], str(nothing), "--out", str(tmp_path / "third")]
    assert main([*words, "--filter.max-error", "1e-6"]) == 0
    assert "kept 0 of 150" in capsys.readouterr().out and not nothing.exists()
