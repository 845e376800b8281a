"""Human recordings are played again frame by frame, and what comes out is what the environment gives."""

import dataclasses
import json
import zipfile

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch

from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos import check_demos, load_demos, save_demos
from gail.demos.frames import single_frames, stack_frames
from gail.demos.replay import replay, replay_native
from gail.envs import make_vec

pytest.importorskip("ale_py")

STEPS = 130


@pytest.fixture(scope="module")
def steps():
    """Actions of an agent in Breakout, each held for 4 frames, and what it saw and earned."""
    env = make_vec("Breakout", 1, repeat_action_probability=0.0)
    actions = np.random.default_rng(0).integers(0, 4, STEPS)
    observed, rewards = [env.reset(0)[0].numpy()], []
    for action in actions:
        step = env.step(torch.tensor([action]))
        observed.append(step.next_obs[0].numpy())
        rewards.append(float(step.reward[0]))
    return actions, np.stack(observed), np.asarray(rewards)


@pytest.fixture(scope="module")
def frames(steps):
    """The same as a recording: one action and reward per frame."""
    env = gym.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0)
    env.reset(seed=0)
    actions = np.repeat(steps[0], 4).astype(np.uint8)
    return actions, np.asarray([env.step(int(action))[1] for action in actions], np.float32)


def record(path, actions, rewards, **fields):
    np.savez(path, **{"actions": actions, "rewards": rewards, "rom": np.asarray("breakout"), **fields})
    return path


@pytest.fixture
def recording(frames, tmp_path):
    return record(tmp_path / "human.npz", *frames)


def test_replayed_windows_are_what_the_environment_gives_for_these_actions(recording, steps):
    result = replay(recording)
    (trajectory,) = result.demos
    actions, observed, rewards = steps
    assert np.array_equal(trajectory.observations, observed)
    assert np.array_equal(trajectory.actions, actions) and np.array_equal(trajectory.rewards, rewards)
    assert rewards.any() and result.mixed == 0 and result.frames == 4 * STEPS
    assert result.recorded_return == result.replayed_return == rewards.sum()
    assert (result.demos.env_id, result.demos.env_kwargs["repeat_action_probability"]) == ("ALE/Breakout-v5", 0.0)
    assert (trajectory.terminated, trajectory.truncated) == (False, True)


def test_a_window_has_the_action_held_longest_and_the_latest_of_equals(frames, tmp_path):
    actions = np.zeros(10, np.uint8)
    actions[:4], actions[4:8], actions[8:] = [2, 3, 3, 3], [2, 2, 3, 3], [3, 2]
    path = record(tmp_path / "mixed.npz", actions, np.zeros(10))
    result = replay(path)
    assert result.demos.trajectories[0].actions.tolist() == [3, 3, 2] and result.mixed == 3


def test_first_differing_frame_is_named(frames, tmp_path, capsys):
    actions, rewards = frames
    rewards = rewards.copy()
    rewards[17] += 1
    rewards[40] += 1
    path = record(tmp_path / "wrong.npz", actions, rewards)
    with pytest.raises(InputError, match=r"wrong.npz: frame 17: recorded reward 1, replayed 0"):
        replay(path)
    assert main(["demos", "replay", str(path), "-o", str(tmp_path / "out.npz")]) == 2
    assert not (tmp_path / "out.npz").exists()
    with pytest.raises(InputError, match="frame 17"):
        replay_native(path, tmp_path / "out.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["wrong.npz"]


@pytest.mark.parametrize(
    "fields,words",
    [
        ({"rom": np.asarray("not_a_game")}, "rom"),
        ({"rom": np.asarray("os.system")}, "names code"),
        ({"actions": np.asarray([0, 9])}, "frame 1: action 9, expected 0 to 3"),
        ({"frame_skip": np.asarray(4)}, "frame_skip"),
        ({"repeat_action_probability": np.asarray(0.25)}, "repeat_action_probability"),
        ({"action_set": np.asarray("some")}, "action_set"),
        ({"rewards": np.zeros(3)}, "rewards"),
        ({"actions": np.zeros(2)}, "actions"),
    ],
)
def test_bad_recordings_get_one_clear_line(fields, words, tmp_path):
    path = record(tmp_path / "bad.npz", **{"actions": np.zeros(2, int), "rewards": np.zeros(2), **fields})
    with pytest.raises(InputError, match=words):
        replay(path)


def test_image_demonstrations_round_trip_byte_for_byte_and_npz_holds_each_frame_once(
    recording, tmp_path, monkeypatch, same_episodes
):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = replay(recording).demos
    flat, folder = save_demos(demos, tmp_path / "flat.npz"), save_demos(demos, tmp_path / "human-v0")
    for path in (flat, folder):
        loaded = load_demos(path)
        assert same_episodes(loaded, demos)
        assert (loaded.env_id, loaded.env_kwargs) == (demos.env_id, demos.env_kwargs)
        assert check_demos(path) == []
    dataset = minari.load_dataset("human-v0")
    assert next(iter(dataset)).observations.tobytes() == demos.trajectories[0].observations.tobytes()
    assert dataset.action_space == gym.spaces.Discrete(4)
    with zipfile.ZipFile(flat) as archive:
        assert archive.getinfo("observations.npy").file_size < 1.01 * (STEPS + 1) * 84 * 84


def test_foreign_minari_files_are_raw_screens_where_they_do_not_say_otherwise(recording, tmp_path):
    folder = save_demos(replay(recording).demos, tmp_path / "theirs-v0")
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    spec = json.loads(metadata["env_spec"])
    spec["kwargs"] = {"game": "breakout", "frameskip": 2, "render_mode": None}
    (folder / "data" / "metadata.json").write_text(json.dumps({**metadata, "env_spec": json.dumps(spec)}))
    assert load_demos(folder).env_kwargs == {"obs_type": "rgb", "frameskip": 2}


def test_native_frames_are_the_screen_of_every_frame(frames, tmp_path):
    path = record(tmp_path / "short.npz", frames[0][:50], frames[1][:50])
    result = replay_native(path, tmp_path / "native.npz")
    (trajectory,) = load_demos(tmp_path / "native.npz")
    env = gym.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0)
    screens = [env.reset(seed=0)[0], *(env.step(int(action))[0] for action in frames[0][:50])]
    assert np.array_equal(trajectory.observations, np.stack(screens))
    assert np.array_equal(trajectory.actions, frames[0][:50]) and len(result.demos.trajectories[0]) == 50
    assert make_vec(result.demos.env_id, 1, **result.demos.env_kwargs).observation_space.shape == (210, 160, 3)
    assert {finding.rule for finding in check_demos(tmp_path / "native.npz")} == {"zero-returns"}


def test_dropped_noops_are_played_before_the_recording(frames, tmp_path):
    actions = np.concatenate([np.zeros(8, np.uint8), frames[0][:60]])
    whole = replay(record(tmp_path / "whole.npz", actions, np.zeros(68))).demos.trajectories[0]
    path = record(tmp_path / "cut.npz", actions[8:], np.zeros(60), dropped_initial_noops=np.asarray(8))
    cut = replay(path).demos.trajectories[0]
    assert np.array_equal(cut.observations[1:, -1], whole.observations[3:, -1])
    assert not np.array_equal(whole.observations[1:-2, -1], whole.observations[3:, -1])


def test_stacks_are_views_of_single_frames_and_anything_else_is_no_stack():
    frames = np.random.default_rng(0).integers(1, 256, (6, 5, 4), dtype=np.uint8)
    stacked = stack_frames(frames, 3)
    assert stacked.shape == (6, 3, 5, 4) and not stacked[0, :2].any()
    assert np.array_equal(stacked[4], frames[2:5]) and np.array_equal(single_frames(stacked), frames)
    other = stacked.copy()
    other[3, 0] += 1
    assert single_frames(other) is None and single_frames(stacked[1:]) is None
    assert single_frames(stacked.astype(np.float32)) is None and single_frames(frames) is None
    # A black screen satisfies the rule of stacks, row by row; the depth that a file may name does not reach so far.
    assert single_frames(np.zeros((4, 210, 160, 3), np.uint8)) is None


@pytest.mark.parametrize("game,total", [("Pong", 5.0), ("PrivateEye", 100_400.0)])
def test_every_reward_of_the_human_recordings_is_reproduced(game, total, third_party_data, tmp_path):
    path = third_party_data / "atari" / f"{game}.npz"
    with np.load(path) as data:
        fields = dict(data)
    if game == "Pong":  # the first points are enough for every test run; the whole is in the docs
        fields |= {"actions": fields["actions"][:3000], "rewards": fields["rewards"][:3000]}
        total = float(fields["rewards"].sum())
    np.savez(tmp_path / "recording.npz", **fields)
    result = replay(tmp_path / "recording.npz")
    assert result.recorded_return == result.replayed_return == result.demos.returns.sum() == total != 0
    assert dataclasses.asdict(result)["frames"] == len(fields["actions"])
