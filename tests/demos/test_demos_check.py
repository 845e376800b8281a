"""Each defect, injected into each clean file, is found under its name; clean files give no finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest

from gail.core.errors import InputError
from gail.demos import (
    RULES,
    Columns,
    Demonstrations,
    Trajectory,
    check_demos,
    inspect_demos,
    load_demos,
    save_demos,
)
from gail.demos.join import unrelated_transitions

FILES = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCar-v0",
    "Pendulum-v1",
    "LunarLander-v3",
    "Hopper-v5",
    "HalfCheetah-v5",
)

Injection = Callable[[Demonstrations], Demonstrations]


def edit(demos: Demonstrations, index: int, **changes) -> Demonstrations:
    trajectories = list(demos.trajectories)
    trajectories[index] = replace(trajectories[index], **changes)
    return replace(demos, trajectories=tuple(trajectories))


def each(demos: Demonstrations, change: Callable[[Trajectory], Trajectory]) -> Demonstrations:
    return replace(demos, trajectories=tuple(change(t) for t in demos))


def with_value(array: np.ndarray, row: int, value: float) -> np.ndarray:
    array = array.copy()
    array[row] = value
    return array


def nan_in_observations(demos: Demonstrations) -> Demonstrations:
    return edit(demos, 1, observations=with_value(demos.trajectories[1].observations, 7, np.nan))


def infinite_reward(demos: Demonstrations) -> Demonstrations:
    return edit(demos, 1, rewards=with_value(demos.trajectories[1].rewards, 7, np.inf))


def action_outside(demos: Demonstrations) -> Demonstrations:
    return edit(demos, 1, actions=with_value(demos.trajectories[1].actions, 7, 9))


def extra_column(demos: Demonstrations) -> Demonstrations:
    observations = demos.trajectories[1].observations
    return edit(demos, 1, observations=np.hstack([observations, observations[:, :1]]))


def actions_of_the_other_kind(demos: Demonstrations) -> Demonstrations:
    kind = np.float32 if demos.trajectories[0].actions.dtype.kind == "i" else np.int64
    return each(demos, lambda t: replace(t, actions=t.actions.astype(kind)))


def byte_observations(demos: Demonstrations) -> Demonstrations:
    return each(demos, lambda t: replace(t, observations=np.clip(t.observations, 0, 255).astype(np.uint8)))


def doubled_episode(demos: Demonstrations) -> Demonstrations:
    return replace(demos, trajectories=(*demos.trajectories, demos.trajectories[0]))


def cut_in_half(demos: Demonstrations) -> Demonstrations:
    first = demos.trajectories[1]
    half = len(first) // 2
    return edit(
        demos,
        1,
        observations=first.observations[: half + 1],
        actions=first.actions[:half],
        rewards=first.rewards[:half],
        terminated=False,
        truncated=False,
    )


def played_on(demos: Demonstrations) -> Demonstrations:
    """An episode that ends, and 20 more steps: merged with the next one, or played on past the end."""
    first, second = demos.trajectories[:2]
    if demos.env_id in ("Acrobot-v1", "MountainCar-v0", "LunarLander-v3"):
        merged = replace(
            second,
            observations=np.concatenate([first.observations[:-1], second.observations]),
            actions=np.concatenate([first.actions, second.actions]),
            rewards=np.concatenate([first.rewards, second.rewards]),
        )
        return replace(demos, trajectories=(merged, *demos.trajectories[2:]))
    env = gym.make(demos.env_id).unwrapped
    observations, actions, rewards = [env.reset(seed=0)[0]], [], []
    left = 20
    while left:
        action = np.asarray(1) if demos.env_id == "CartPole-v1" else np.ones(3, dtype=np.float32)
        obs, reward, over, _, _ = env.step(action)
        left -= over
        observations.append(obs)
        actions.append(action)
        rewards.append(reward)
    endless = Trajectory(
        np.asarray(observations, dtype=np.float32), np.asarray(actions), np.asarray(rewards), True, False
    )
    return replace(demos, trajectories=(endless, *demos.trajectories[1:]))


def swapped_flags(demos: Demonstrations) -> Demonstrations:
    return each(demos, lambda t: replace(t, terminated=t.truncated, truncated=t.terminated))


def no_reward(demos: Demonstrations) -> Demonstrations:
    return each(demos, lambda t: replace(t, rewards=np.zeros_like(t.rewards)))


def actions_one_row_late(demos: Demonstrations) -> Demonstrations:
    """Row t holds the action that led to row t, as recorders that store (s', a) make it."""
    return each(demos, lambda t: replace(t, actions=np.concatenate([t.actions[:1], t.actions[:-1]])))


def moved_row(demos: Demonstrations) -> Demonstrations:
    observations = demos.trajectories[1].observations
    return edit(demos, 1, observations=with_value(observations, 10, observations[40]))


def longer_than_the_limit(demos: Demonstrations) -> Demonstrations:
    first = demos.trajectories[1]
    times = gym.spec(demos.env_id).max_episode_steps // len(first) + 1
    return edit(
        demos,
        1,
        observations=np.concatenate([*[first.observations[:-1]] * times, first.observations[-1:]]),
        actions=np.concatenate([first.actions] * times),
        rewards=np.concatenate([first.rewards] * times),
    )


EVERYWHERE: list[tuple[str, Injection]] = [
    ("not-finite", nan_in_observations),
    ("not-finite", infinite_reward),
    ("outside-space", action_outside),
    ("wrong-shape", extra_column),
    ("wrong-dtype", actions_of_the_other_kind),
    ("wrong-dtype", byte_observations),
    ("duplicate-episodes", doubled_episode),
    ("cut-without-truncated", cut_in_half),
    ("wrong-end-flag", swapped_flags),
    ("zero-returns", no_reward),
    ("shifted-actions", actions_one_row_late),
    ("environment-mismatch", longer_than_the_limit),
    ("steps-after-termination", played_on),
    ("impossible-steps", moved_row),
]

NOT_APPLICABLE = {
    ("steps-after-termination", "Pendulum-v1"): "the task never terminates",
    ("steps-after-termination", "HalfCheetah-v5"): "the task never terminates",
    ("impossible-steps", "LunarLander-v3"): "its state cannot be set from an observation",
}


@pytest.fixture(scope="module")
def clean(third_party_data) -> dict[str, Demonstrations]:
    return {name: load_demos(third_party_data / "demos" / f"{name}.npz") for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_clean_file_gives_no_finding(third_party_data, name):
    assert check_demos(third_party_data / "demos" / f"{name}.npz") == []


@pytest.mark.parametrize(
    ("name", "rule", "inject"),
    [(name, *case) for name in FILES for case in EVERYWHERE if (case[0], name) not in NOT_APPLICABLE],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_an_injected_defect_is_found_under_its_name(clean, name, rule, inject):
    few = clean[name].first(3)
    assert check_demos(few) == []
    found = {finding.rule for finding in check_demos(inject(few))}
    assert rule in found


@pytest.mark.parametrize("name", FILES)
def test_rows_that_do_not_fit_the_lengths_are_a_finding(clean, tmp_path, name):
    path = save_demos(clean[name].first(2), tmp_path / "d.npz")
    with np.load(path) as file:
        arrays = dict(file)
    for field in ("observations", "actions"):
        np.savez(tmp_path / "bad.npz", **(arrays | {field: arrays[field][:-1]}))
        (finding,) = check_demos(tmp_path / "bad.npz")
        assert finding.rule == "row-counts" and field in finding.message


@pytest.mark.parametrize("name", FILES)
def test_another_environment_version_or_argument_is_a_finding(clean, name):
    few = clean[name].first(1)
    base = name.rpartition("-v")[0]
    other = check_demos(replace(few, env_id="Blackjack-v1"), env_id=name, simulate=False)
    version = check_demos(replace(few, env_id=f"{base}-v9"), env_id=name, simulate=False)
    argument = check_demos(replace(few, env_kwargs={"x": 1}), env_id=name, env_kwargs={}, simulate=False)
    for findings, words in ((other, "another environment"), (version, "version"), (argument, "arguments")):
        (finding,) = findings
        assert finding.rule == "environment-mismatch" and words in finding.message


@pytest.mark.parametrize("name", [name for name in FILES if name != "LunarLander-v3"])
def test_one_cause_gives_findings_of_its_episode_only(clean, name):
    findings = check_demos(moved_row(clean[name].first(3)))
    assert {finding.episode for finding in findings} == {1}


@pytest.mark.parametrize("name", FILES)
def test_a_shift_is_named_and_action_shift_mends_it(clean, tmp_path, name):
    late = actions_one_row_late(clean[name].first(5))
    assert [finding.rule for finding in check_demos(late)] == ["shifted-actions"]
    mended = load_demos(save_demos(late, tmp_path / "d.npz"), action_shift=1)
    assert check_demos(mended) == []


def test_every_rule_is_injected_somewhere():
    elsewhere = {"row-counts", "unreadable"}
    assert {rule for rule, _ in EVERYWHERE} | elsewhere == set(RULES)


def test_foreign_mountain_car_file_is_found_shifted_and_mended(third_party_data):
    path = third_party_data / "foreign" / "mountaincar_state_action.npy"
    as_it_is = {finding.rule for finding in check_demos(load_demos(path, env_id="MountainCar-v0"))}
    assert as_it_is == {"shifted-actions", "steps-after-termination"}
    mended = check_demos(load_demos(path, env_id="MountainCar-v0", action_shift=1))
    assert {finding.rule for finding in mended} == {"steps-after-termination"}


def test_foreign_cartpole_files_are_sound(third_party_data):
    folder = third_party_data / "foreign"
    csv = load_demos(folder / "csv_cartpole", env_id="CartPole-v0", columns=Columns(episode_by_jump=True))
    baselines = load_demos(folder / "sb2_expert_cartpole.npz", env_id="CartPole-v1", episodes=20)
    for demos in (csv, baselines):
        report = inspect_demos(demos)
        assert report.findings == ()
        assert "cut-without-truncated" in {skip.rule for skip in report.skipped}


def test_old_pendulum_dynamics_show_as_impossible_steps(third_party_data):
    """Pendulum-v0 clipped the speed after moving the angle; Pendulum-v1 clips it before."""
    path = third_party_data / "foreign" / "sb2_expert_pendulum.npz"
    findings = check_demos(load_demos(path, env_id="Pendulum-v1", episodes=10))
    assert {finding.rule for finding in findings} == {"impossible-steps"}


# Below: made on the spot, no third-party data.

PLAYABLE = (
    "CartPole-v1",
    "Acrobot-v1",
    "MountainCarContinuous-v0",
    "Pendulum-v1",
    "Ant-v5",
    "Walker2d-v5",
    "Swimmer-v5",
    "InvertedPendulum-v5",
)


@pytest.mark.parametrize("env_id", PLAYABLE)
def test_random_play_is_sound_and_a_shift_of_it_is_found(play, env_id):
    demos = play(env_id, episodes=6)
    assert check_demos(demos) == []
    assert "shifted-actions" in {finding.rule for finding in check_demos(actions_one_row_late(demos))}


def test_random_play_under_other_gravity_is_an_environment_mismatch(play):
    demos = play("Pendulum-v1", episodes=4)
    (finding,) = check_demos(replace(demos, env_kwargs={"g": 3.0}))
    assert finding.rule == "environment-mismatch" and finding.episode is None


def test_an_environment_whose_state_cannot_be_set_lists_the_checks_it_skips(play):
    report = inspect_demos(play("Reacher-v5", episodes=2))
    assert report.findings == ()
    skipped = {skip.rule: skip.reason for skip in report.skipped}
    assert {"shifted-actions", "steps-after-termination", "impossible-steps"} <= skipped.keys()
    assert "ReacherEnv" in skipped["shifted-actions"]


def test_unknown_end_flags_are_no_defect_but_listed_as_unchecked(play):
    unknown = each(play("Pendulum-v1", episodes=2), lambda t: replace(t, terminated=None, truncated=None))
    report = inspect_demos(unknown)
    assert report.findings == ()
    assert [skip.rule for skip in report.skipped] == ["cut-without-truncated"]


def test_rewarded_unrelated_steps_are_not_said_to_lack_rewards(play):
    report = inspect_demos(unrelated_transitions(play("Pendulum-v1", episodes=2)))
    assert {skip.rule: skip.reason for skip in report.skipped}["zero-returns"].startswith("the rows are unrelated")


def test_without_an_environment_only_the_numbers_are_checked(play):
    demos = replace(no_reward(doubled_episode(play("Pendulum-v1", episodes=2))), env_id=None)
    report = inspect_demos(demos)
    assert {finding.rule for finding in report.findings} == {"duplicate-episodes", "zero-returns"}
    assert "shifted-actions" in {skip.rule for skip in report.skipped}


def test_an_environment_that_cannot_be_made_is_an_error_only_when_it_was_asked_for(play):
    demos = replace(play("Pendulum-v1", episodes=1), env_id="Nowhere-v0")
    assert check_demos(demos) == []
    with pytest.raises(InputError, match="cannot be made"):
        check_demos(demos, env_id="Nowhere-v0")


@pytest.mark.parametrize("side", [-1, 1])
def test_float32_rounding_at_a_bound_is_not_outside_the_space(play, side):
    demos = play("Pendulum-v1", episodes=1)
    at_bound = edit(demos, 0, actions=np.full_like(demos.trajectories[0].actions, side * 2.0000002))
    beyond = edit(demos, 0, actions=np.full_like(demos.trajectories[0].actions, side * 2.001))
    assert "outside-space" not in {f.rule for f in check_demos(at_bound, simulate=False)}
    assert "outside-space" in {f.rule for f in check_demos(beyond, simulate=False)}


def test_repeated_actions_leave_the_shift_undecided_not_guessed(play):
    demos = each(play("MountainCar-v0", episodes=2), lambda t: replace(t, actions=np.full_like(t.actions, 2)))
    report = inspect_demos(demos)
    assert "shifted-actions" not in {finding.rule for finding in report.findings}
    assert "shifted-actions" in {skip.rule for skip in report.skipped}


def test_the_check_does_not_change_the_demonstrations(play):
    demos = play("Walker2d-v5", episodes=1)
    before = [t.observations.tobytes() + t.actions.tobytes() for t in demos]
    check_demos(demos)
    assert [t.observations.tobytes() + t.actions.tobytes() for t in demos] == before


def test_a_file_that_cannot_be_read_is_a_finding_and_a_missing_one_an_error(play, tmp_path):
    path = save_demos(play("Pendulum-v1", episodes=1), tmp_path / "d.npz")
    path.write_bytes(path.read_bytes()[:300])
    (finding,) = check_demos(path)
    assert finding.rule == "unreadable" and str(path) in finding.message
    with pytest.raises(InputError, match="no such file"):
        check_demos(tmp_path / "absent.npz")
