import os

import gymnasium as gym
import imageio.v3 as imageio
import numpy as np
import pytest

from gail.core.errors import InputError
from gail.envs import make_vec, record_video, rendering, side_by_side


def solid(color, count, height=40, width=60):
    return [np.full((height, width, 3), color, np.uint8) for _ in range(count)]


def test_video_has_every_frame_and_odd_sizes_are_padded(tmp_path):
    frames = [np.full((41, 63, 3), 25 * i, np.uint8) for i in range(8)]
    path = record_video(iter(frames), tmp_path / "deep" / "a.mp4", fps=20)
    read = imageio.imread(path, plugin="FFMPEG")
    assert read.shape == (8, 42, 64, 3)
    assert np.allclose(read.mean((1, 2, 3)), [25 * i for i in range(8)], atol=4)
    meta = imageio.immeta(path, plugin="FFMPEG")
    assert meta["codec"] == "h264" and meta["fps"] == 20 and meta["pix_fmt"].startswith("yuv420p")


def test_failing_frames_leave_the_old_video_and_no_rubbish(tmp_path):
    path = record_video(solid(10, 3), tmp_path / "a.mp4", 10)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"frame 2 is uint8 \[10, 60, 3\], expected uint8 \[40, 60, 3\]"):
        record_video([*solid(1, 2), *solid(1, 1, height=10)], path, 10)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize(
    "frames,name,fps,words",
    [
        ([], "a.mp4", 10, "no frames"),
        (solid(0, 1), "a.gif", 10, ".mp4"),
        (solid(0, 1), "a.mp4", 0, "fps"),
        ([np.zeros((4, 4, 3))], "a.mp4", 10, "float64"),
        ([np.zeros((4, 4), np.uint8)], "a.mp4", 10, "H, W, 3"),
    ],
)
def test_bad_frames_get_one_clear_line(tmp_path, frames, name, fps, words):
    with pytest.raises(InputError, match=words):
        record_video(frames, tmp_path / name, fps)


def test_side_by_side_holds_the_last_frame_of_the_shorter_run_and_labels_each():
    joined = list(side_by_side([solid(200, 2), solid(90, 5)], ["expert", "learner"]))
    assert len(joined) == 5
    last = joined[-1]
    assert last[-1, 0].tolist() == [200] * 3 and last[-1, -1].tolist() == [90] * 3
    label = last[: last.shape[0] - 40]
    assert label[:, :60].min() < 100 and label[:, 64:].min() < 100
    with pytest.raises(InputError, match="label"):
        list(side_by_side([solid(1, 1)], ["a", "b"]))


def test_classic_environments_render_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    env = make_vec("CartPole-v1", 2, render_mode="rgb_array")
    env.reset(0)
    frames = env.render()
    assert len(frames) == 2 and frames[0].shape == (400, 600, 3) and frames[0].std() > 0
    env.close()


def test_mujoco_renders_without_opengl_and_the_picture_follows_the_state(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(rendering, "_egl_works", lambda: False)
    env = make_vec("Hopper-v5", 1, render_mode="rgb_array", width=200, height=160)
    env.reset(0)
    standing = env.render()[0]
    assert standing.shape == (160, 200, 3) and standing.dtype == np.uint8
    hopper = env._chunk.envs[0].unwrapped
    qpos = hopper.data.qpos.copy()
    qpos[2] = 1.2
    hopper.set_state(qpos, hopper.data.qvel * 0)
    leaning = env.render()[0]
    assert np.abs(standing.astype(int) - leaning).max() > 100
    # The trunk leans to the right (+x) about its own centre now, so the legs are on the left.
    assert hopper.data.xmat[1].reshape(3, 3)[0, 2] > 0.9
    assert hopper.data.xpos[-1, 0] < hopper.data.xpos[1, 0] - 0.5
    changed = np.flatnonzero(np.abs(leaning.astype(int) - standing).max(2).max(0) > 60)
    assert changed.min() < 60 and changed.max() < 140
    env.close()


@pytest.mark.parametrize("env_id", ["Walker2d-v5", "HalfCheetah-v5", "Ant-v5", "InvertedPendulum-v5", "Reacher-v5"])
def test_side_view_draws_every_mujoco_model(env_id):
    env = gym.make(env_id)
    env.reset(seed=0)
    frame = rendering.draw_side_view(env.unwrapped.model, env.unwrapped.data, 120, 100)
    assert frame.shape == (100, 120, 3) and len(np.unique(frame.reshape(-1, 3), axis=0)) > 5
