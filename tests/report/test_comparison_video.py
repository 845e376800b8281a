from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np
import pytest

from gail.agents.policy import MLPPolicy, RandomPolicy, save_policy
from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory
from gail.report import comparison_video
from gail.report import video as video_module


def record(seed: int, length: int) -> Trajectory:
    """Push the cart left until the pole falls or ``length`` steps are over."""
    env = gym.make("CartPole-v1")
    observations = [env.reset(seed=seed)[0]]
    terminated = False
    while not terminated and len(observations) <= length:
        obs, _, terminated, _, _ = env.step(0)
        observations.append(obs)
    steps = len(observations) - 1
    return Trajectory(
        np.stack(observations), np.zeros(steps, np.int64), np.ones(steps), terminated, not terminated, seed
    )


@pytest.fixture
def demos() -> Demonstrations:
    return Demonstrations((record(3, 2), record(7, 5), record(5, 50)), env_id="CartPole-v1")


@pytest.fixture
def policy() -> MLPPolicy:
    env = gym.make("CartPole-v1")
    return MLPPolicy(env.observation_space, env.action_space, hidden=(4,))


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The labels that the video gets, once it is made."""
    found: list[str] = []
    original = video_module.side_by_side

    def spy(sequences: Any, labels: Any) -> Any:
        found.extend(labels)
        return original(sequences, labels)

    monkeypatch.setattr(video_module, "side_by_side", spy)
    return found


def test_video_replays_the_median_episode_beside_the_learner(
    demos: Demonstrations, policy: MLPPolicy, labels: list[str], tmp_path: Path
) -> None:
    out = comparison_video(policy, demos, tmp_path / "v.mp4", seconds=0.2)
    assert labels[0] == "Expert: 5.0 in 5 steps"
    assert labels[1].startswith("Learner: ")
    reader = imageio_ffmpeg.read_frames(str(out))
    meta = next(reader)
    # CartPole runs at 50 steps a second: every second one is shown, at most 0.2 seconds of them.
    assert meta["fps"] == 25
    assert 1 <= len(list(reader)) <= 5


def test_learner_starts_from_the_demonstrations_seed(
    demos: Demonstrations, policy: MLPPolicy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[np.ndarray] = []
    act = policy.act
    monkeypatch.setattr(policy, "act", lambda obs, *a, **k: (seen.append(obs[0].numpy().copy()), act(obs, *a, **k))[1])
    comparison_video(policy, demos, tmp_path / "v.mp4", seconds=0.1)
    np.testing.assert_array_equal(seen[0], demos.trajectories[1].observations[0])


@pytest.mark.parametrize("change", ["no seed", "another start"])
def test_label_says_where_the_start_differs(
    demos: Demonstrations, policy: MLPPolicy, labels: list[str], tmp_path: Path, change: str
) -> None:
    first = demos.trajectories[0]
    other = replace(first, seed=None) if change == "no seed" else replace(first, observations=first.observations + 1)
    comparison_video(policy, replace(demos, trajectories=(other,)), tmp_path / "v.mp4", seconds=0.1)
    assert labels[0].startswith("Expert, other start: ")


def test_run_of_several_seeds_shows_its_first_finished_one(
    demos: Demonstrations, policy: MLPPolicy, labels: list[str], tmp_path: Path, make_run: Callable[..., Path]
) -> None:
    run = make_run(returns=[None, 100.0])
    with pytest.raises(InputError, match=r"holds no policy\.safetensors"):
        comparison_video(run, demos, tmp_path / "v.mp4")
    save_policy(policy, run / "seed-1" / "policy.safetensors", env_id="CartPole-v1", env_kwargs={})
    comparison_video(run, demos, tmp_path / "v.mp4", seconds=0.1)
    assert labels[1].startswith("GAIL (seed 1): ")


def test_what_cannot_be_replayed_is_refused(demos: Demonstrations, policy: MLPPolicy, tmp_path: Path) -> None:
    out = tmp_path / "v.mp4"
    with pytest.raises(InputError, match="env_id is missing"):
        comparison_video(policy, replace(demos, env_id=None), out)
    with pytest.raises(InputError, match="holds 3 transitions, expected at least one episode"):
        comparison_video(policy, replace(demos, kind="transitions"), out)
    with pytest.raises(InputError, match="seconds is 0"):
        comparison_video(policy, demos, out, seconds=0)
    with pytest.raises(InputError, match="observation_space"):
        other = RandomPolicy(gym.spaces.Box(-1, 1, (3,)), gym.spaces.Discrete(2))
        comparison_video(other, demos, out)
    assert not out.exists()


def test_bundled_cartpole_episodes_are_replayed_to_their_end():
    """They were recorded in the torch-native environment, whose starts Gymnasium's class does not share."""
    from gail.demos import bundled_demos, load_demos
    from gail.report.video import _env_of, _replay

    recorded = load_demos(bundled_demos("CartPole-v1")).trajectories[0]
    env = _env_of(recorded, recorded.seed, "CartPole-v1", {"render_mode": "rgb_array"})
    episode = _replay(env, recorded.seed, recorded)
    assert episode.same_start and len(episode.actions) == len(recorded) == 500
