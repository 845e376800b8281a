"""The audit tells real held-out data from shuffled, noised and copied data, and says what it could not check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, load_demos
from gail.demos.bundled import bundled_demos
from gail.envs import make_vec
from gail.generators import AuditConfig, audit, filter_synthetic
from gail.generators.steps import steps_of

CONFIG = AuditConfig(rows=500)
QUICK = AuditConfig(rows=100)
Edit = Callable[[Trajectory], Trajectory]


def as_transitions(demos: Demonstrations, edit: Callable[[Any, Any, Any], tuple[Any, Any, Any]]) -> Demonstrations:
    """Every step of ``demos`` on its own, after ``edit(obs, actions, next_obs)`` of all of them."""
    obs = np.concatenate([t.observations[:-1] for t in demos])
    next_obs = np.concatenate([t.observations[1:] for t in demos])
    obs, actions, next_obs = edit(obs, np.concatenate([t.actions for t in demos]), next_obs)
    rows = tuple(
        Trajectory(np.stack([obs[i], next_obs[i]]), actions[i : i + 1], None, False, False) for i in range(len(obs))
    )
    return replace(demos, trajectories=rows, kind="transitions")


def controls(real: Demonstrations, held_out: Demonstrations) -> dict[str, dict[str, Any]]:
    """Audits of held-out real data and of what was done to it."""
    rng = np.random.default_rng(0)

    def noise(rows: np.ndarray) -> np.ndarray:
        return np.asarray(rows + 0.05 * rows.std(axis=0) * rng.standard_normal(rows.shape), dtype=rows.dtype)

    sets = {
        "held out": as_transitions(held_out, lambda s, a, n: (s, a, n)),
        "shuffled": as_transitions(held_out, lambda s, a, n: (s, a, n[rng.permutation(len(n))])),
        "noised": as_transitions(held_out, lambda s, a, n: (noise(s), noise(a), noise(n))),
        "copied": as_transitions(real, lambda s, a, n: (s, a, n)),
    }
    return {name: audit(demos, real, config=CONFIG).summary for name, demos in sets.items()}


@pytest.fixture(scope="module")
def pendulum() -> dict[str, dict[str, Any]]:
    """Random play, whose rows differ enough to be told from copies."""
    env = make_vec("Pendulum-v1", 80)
    generator = torch.Generator().manual_seed(0)
    obs, actions = [env.reset(seed=0)], []
    for _ in range(15):
        actions.append(torch.rand(80, 1, generator=generator) * 4 - 2)
        obs.append(env.step(actions[-1]).obs)
    states, played = torch.stack(obs, 1).numpy(), torch.stack(actions, 1).numpy()
    episodes = tuple(Trajectory(s, a, None, False, True) for s, a in zip(states, played, strict=True))
    demos = Demonstrations(episodes, env_id="Pendulum-v1")
    return controls(demos.first(40), replace(demos, trajectories=episodes[40:]))


@pytest.fixture(scope="module")
def hopper() -> dict[str, dict[str, Any]]:
    demos = load_demos(bundled_demos("Hopper-v5"))
    return controls(demos.first(5), replace(demos, trajectories=demos.trajectories[5:]))


@pytest.fixture(params=["pendulum", "hopper"])
def found(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    return request.getfixturevalue(request.param)


def test_held_out_real_data_passes_every_check(found: dict[str, dict[str, Any]]) -> None:
    held = found["held out"]
    assert held["dynamics_error"] < 1e-6 and held["dynamics_error_floor"] < 1e-6
    assert abs(held["auc"] - held["auc_real_real"]) < 0.15
    assert held["coverage"] > 0.8 * held["coverage_real_real"]
    assert held["duplication"] < 0.05 and not held["copies"]


def test_shuffled_successors_are_impossible_and_told_apart(found: dict[str, dict[str, Any]]) -> None:
    held, shuffled = found["held out"], found["shuffled"]
    assert shuffled["dynamics_error"] > 0.5
    assert shuffled["auc"] > max(held["auc"], held["auc_real_real"]) + 0.2
    assert shuffled["correlation_gap"] > 2 * held["correlation_gap"]
    assert shuffled["precision"] < held["precision"] - 0.2
    # Each column alone is as it was: only joint checks can see it.
    assert shuffled["ks_max"] < held["ks_max"] + 0.1


def test_noise_shows_in_the_dynamics_error_and_to_the_trees(found: dict[str, dict[str, Any]]) -> None:
    held, noised = found["held out"], found["noised"]
    # The noise of the successors alone has 0.05^2 of the states' variance.
    assert 0.002 < noised["dynamics_error"] < 0.2 and noised["dynamics_error"] > 1e3 * held["dynamics_error"]
    assert noised["auc"] > held["auc"] + 0.05 and noised["auc_noise5"] > noised["auc_real_real"] + 0.02
    assert not noised["copies"]


def test_copies_are_not_called_synthetic(found: dict[str, dict[str, Any]]) -> None:
    copied = found["copied"]
    assert copied["duplication"] == 1.0 and copied["copies"] and copied["novelty"] < 1e-3
    # What no other check sees.
    assert copied["dynamics_error"] < 1e-6 and copied["coverage"] > 0.9


def test_a_quarter_of_copies_is_found_and_estimated() -> None:
    rng = np.random.default_rng(1)
    real, fresh = rows(rng.normal(size=(600, 3))), rng.normal(size=(300, 3))
    seen = np.concatenate([t.observations[0] for t in real]).reshape(-1, 2)[:100]
    fresh[:100, :2] = seen
    fresh[:100, 2] = [t.actions[0, 0] for t in real][:100]
    mixed = rows(fresh, [t.observations[1] for t in real][:100])
    summary = audit(mixed, real, config=CONFIG).summary
    assert summary["copied_share"] == pytest.approx(1 / 3, abs=0.03) and summary["copies"]


def rows(values: np.ndarray, successors: list[np.ndarray] | None = None) -> Demonstrations:
    """Transitions in a plane with one action; the successor is 0.5 + s, or given for the first ones."""
    trajectories = []
    for place, row in enumerate(values):
        after = row[:2] + 0.5 if successors is None or place >= len(successors) else successors[place]
        trajectories.append(Trajectory(np.stack([row[:2], after]), row[2:3][None], None, None, None))
    return Demonstrations(tuple(trajectories), kind="transitions")


def test_the_anchors_are_measured_between_the_real_halves() -> None:
    rng = np.random.default_rng(0)
    made = rows(rng.normal(size=(200, 3)))
    found = []
    for shift in (0.0, 6.0):
        states = [rng.normal(size=(201, 2)), rng.normal(size=(201, 2)) + shift]
        # One episode in each half: alike, then far apart.
        episodes = tuple(Trajectory(s, rng.normal(size=(200, 1)), None, False, True) for s in states)
        found.append(audit(made, Demonstrations(episodes), config=AuditConfig(rows=400)).summary)
    alike, apart = found
    assert alike["auc_real_real"] < 0.65 and alike["auc_noise5"] < 0.75 and alike["ks_mean_real_real"] < 0.15
    assert alike["coverage_real_real"] > 0.8 and alike["precision_real_real"] > 0.8
    assert apart["auc_real_real"] > 0.95 and apart["auc_noise5"] > 0.95 and apart["ks_mean_real_real"] > 0.7
    assert apart["coverage_real_real"] < 0.1 and apart["precision_real_real"] < 0.1


def test_clipped_velocities_are_left_out_and_their_share_is_told() -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(2)

    def clip(obs: Any, actions: Any, next_obs: Any) -> tuple[Any, Any, Any]:
        hidden = obs.copy()
        hidden[:90, 5] = 10.0
        return hidden[:100], actions[:100], next_obs[:100]

    made = as_transitions(demos, clip)
    shown = np.mean([(np.abs(t.observations[0, 5:]) < 10).all() for t in made])
    summary = audit(made, demos, config=QUICK).summary
    assert 0 < shown <= 0.1 and summary["checked_share"] == pytest.approx(shown)
    assert summary["dynamics_error"] < 1e-6


def test_without_a_simulator_the_other_checks_run_and_the_reason_is_said() -> None:
    rng = np.random.default_rng(0)
    real, made = rows(rng.normal(size=(80, 3))), rows(rng.normal(size=(80, 3)))
    summary = audit(made, real, config=QUICK).summary
    assert "names no environment" in summary["skipped"]["dynamics"] and summary["dynamics_error"] is None
    assert summary["auc"] is not None and summary["ks_max"] is not None
    named = audit(made, replace(real, env_id="LunarLander-v3"), config=QUICK).summary
    assert "state can be set" in named["skipped"]["dynamics"]
    named = audit(made, replace(real, env_id="Reacher-v5"), config=QUICK).summary
    assert "do not list positions" in named["skipped"]["dynamics"]


def test_an_environment_of_ones_own_leaves_the_other_checks_and_is_not_run() -> None:
    rng = np.random.default_rng(0)
    real, made = (replace(rows(rng.normal(size=(80, 3))), env_id="missing.py:Mine") for _ in range(2))
    summary = audit(made, real, config=QUICK).summary
    assert summary["skipped"]["dynamics"].startswith("missing.py:Mine: there is no simulator")
    assert summary["auc"] is not None and filter_synthetic(made, real, audit=QUICK).summary["kept"] > 0


def test_a_set_that_cannot_be_compared_is_one_clear_error() -> None:
    real = rows(np.random.default_rng(0).normal(size=(60, 3)))
    wide = Demonstrations(tuple(Trajectory(np.zeros((2, 5)), t.actions, None, None, None) for t in real))
    with pytest.raises(InputError, match=r"'observations': expected float64 \[2\].*found float64 \[5\]"):
        audit(wide, real)
    broken = real.trajectories[7].observations.copy()
    broken[0, 0] = np.nan
    edited = (*real.trajectories[:7], replace(real.trajectories[7], observations=broken), *real.trajectories[8:])
    with pytest.raises(InputError, match="'observations' of episode 7 holds NaN"):
        audit(replace(real, trajectories=edited), real)
    with pytest.raises(InputError, match="expected 'Hopper-v5', found 'Walker2d-v5'"):
        audit(replace(real, env_id="Walker2d-v5"), replace(real, env_id="Hopper-v5"))
    with pytest.raises(InputError, match="obs are"):
        audit(real, replace(real, env_id="Hopper-v5"))
    with pytest.raises(InputError, match="holds 3 steps"):
        audit(real.first(3), real)


def test_held_out_episodes_set_the_distance_where_the_training_file_is_given(hopper: dict[str, dict[str, Any]]) -> None:
    assert "each training episode in turn" in hopper["copied"]["held_out"]
    demos = load_demos(bundled_demos("Hopper-v5")).first(4)
    summary = audit(demos.first(1), demos, train=demos.first(2), config=QUICK).summary
    assert summary["held_out"].startswith("2 real episodes") and summary["copies"]


def test_equal_seeds_give_equal_audits() -> None:
    demos = load_demos(bundled_demos("CartPole-v1"))
    first, second = (audit(demos.first(2), demos, config=AuditConfig(rows=100, seed=3)).summary for _ in range(2))
    assert first == second


def test_copies_are_found_where_the_training_file_holds_the_same_steps_in_another_form() -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(2)
    copies = as_transitions(demos, lambda s, a, n: (s[::5], a[::5], n[::5]))
    narrow = tuple(replace(t, observations=t.observations.astype(np.float32)) for t in demos)
    for train in (as_transitions(demos, lambda s, a, n: (s, a, n)), replace(demos, trajectories=narrow)):
        summary = audit(copies, demos, train=train, config=QUICK).summary
        assert summary["duplication"] == 1.0 and summary["copies"]


def test_copies_are_not_claimed_where_fresh_rows_repeat_exactly_too() -> None:
    real = load_demos(bundled_demos("Hopper-v5")).first(4)
    twice = replace(real, trajectories=(*real, *real))
    copies = as_transitions(real, lambda s, a, n: (s[::5], a[::5], n[::5]))
    summary = audit(copies, twice, config=QUICK).summary
    # Fresh data repeats as often: that is no evidence.
    assert (summary["duplication"], summary["duplication_expected"]) == (1.0, 1.0) and not summary["copies"]


def test_agents_that_played_together_are_held_out_together() -> None:
    real = load_demos(bundled_demos("Hopper-v5")).first(4)
    # What one of them sees the other sees too: taken for an episode of its own, it would be its fresh data.
    together = tuple(replace(t, seed=number, agent=name) for number, t in enumerate(real) for name in "ab")
    copies = as_transitions(real, lambda s, a, n: (s[::5], a[::5], n[::5]))
    summary = audit(copies, replace(real, trajectories=together), config=QUICK).summary
    assert (summary["duplication"], summary["copies"]) == (1.0, True) and summary["duplication_expected"] < 0.1
    # Of two recordings that were joined, each with the same seeds, episodes stay as many as there were.
    reset = [replace(t, seed=7, agent=name) for t in real for name in "ab"]
    lives = [reset[0], reset[0], reset[1], replace(reset[0], seed=8), *reset[2:4]]
    assert np.unique(steps_of(replace(real, trajectories=tuple(lives))).episode).tolist() == [0, 1, 2]


def cut(trajectory: Trajectory, steps: int) -> Trajectory:
    return Trajectory(trajectory.observations[: steps + 1], trajectory.actions[:steps], None, False, False)


@pytest.mark.parametrize("short", [2, 8])
def test_an_episode_that_holds_nearly_all_rows_is_split(short: int) -> None:
    demos = load_demos(bundled_demos("Hopper-v5"))
    uneven = replace(demos, trajectories=(cut(demos.trajectories[0], short), demos.trajectories[1]))
    fresh = as_transitions(
        replace(demos, trajectories=demos.trajectories[5:7]), lambda s, a, n: (s[::5], a[::5], n[::5])
    )
    summary = audit(fresh, uneven, config=AuditConfig(rows=400)).summary
    assert summary["rows_compared"] == 200 and not summary["copies"] and summary["copied_share"] < 0.1


def test_fresh_rows_are_no_copies_of_a_single_episode() -> None:
    demos = load_demos(bundled_demos("Hopper-v5"))
    fresh = as_transitions(
        replace(demos, trajectories=demos.trajectories[5:]), lambda s, a, n: (s[::9], a[::9], n[::9])
    )
    summary = audit(fresh, demos.first(1), config=AuditConfig(rows=400)).summary
    assert "tenth" in summary["held_out"] and summary["copied_share"] < 0.07


def test_a_few_impossible_rows_are_told_apart() -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(4)
    rng = np.random.default_rng(0)
    made = as_transitions(demos, lambda s, a, n: (5 * rng.normal(size=(20, 11)), a[:20], 5 * rng.normal(size=(20, 11))))
    summary = audit(made, demos, config=QUICK).summary
    assert summary["rows_compared"] == 20 and summary["auc"] > 0.9 > summary["auc_real_real"] + 0.1


def test_simple_predictors_are_judged_on_the_rows_that_the_floor_is_of() -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(2)
    config = AuditConfig(rows=demos.steps)
    summary = audit(demos, demos, config=config).summary
    obs, successors = (np.concatenate([t.observations[part] for t in demos]) for part in (slice(-1), slice(1, None)))
    shown = (np.abs(obs[:, 5:]) < 10).all(axis=1)
    assert not shown.all()
    expected = ((obs - successors)[shown] ** 2 / obs.var(axis=0)).mean()
    assert summary["persistence_error"] == pytest.approx(expected)


def test_rewards_of_real_rows_are_the_floor_of_the_reward_error() -> None:
    demos = load_demos(bundled_demos("Hopper-v5")).first(4)
    doubled = tuple(replace(t, rewards=2 * t.rewards) for t in demos)
    summary = audit(replace(demos, trajectories=doubled), demos, config=QUICK).summary
    assert summary["reward_error_floor"] < 1e-6 < summary["reward_error"]
    bare = tuple(replace(t, rewards=None) for t in demos)
    summary = audit(replace(demos, trajectories=bare), demos, config=QUICK).summary
    assert summary["reward_error"] is None and summary["skipped"]["rewards"] == "the synthetic set holds no rewards"


def test_states_that_break_the_simulator_leave_the_other_checks() -> None:
    demos = load_demos(bundled_demos("CartPole-v1")).first(4)
    made = as_transitions(demos, lambda s, a, n: (s[:100] * 1e30, a[:100], n[:100]))
    summary = audit(made, demos, config=QUICK).summary
    assert "the simulator broke" in summary["skipped"]["dynamics"] and summary["auc"] > 0.9


def test_a_column_that_is_constant_but_for_rounding_is_no_unit_of_distance() -> None:
    rng = np.random.default_rng(0)

    def plane(count: int) -> Demonstrations:
        values = np.column_stack([rng.normal(size=count), 0.1 + 1e-8 * rng.normal(size=count), rng.normal(size=count)])
        after = [np.array([value, 0.1]) for value in values[:, 0]]
        return rows(values, after)

    made = plane(200)
    edited = tuple(replace(t, observations=t.observations + np.array([0.0, 1e-6])) for t in made)
    summary = audit(replace(made, trajectories=edited), plane(200), config=AuditConfig(rows=200)).summary
    assert summary["coverage"] > 0.8 and summary["novelty"] < 2
