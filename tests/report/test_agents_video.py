"""Videos of several agents: every state of one episode, drawn by the environment itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gail.agents.groups import save_policies
from gail.agents.policy import new_policy, save_policy
from gail.cli.main import main
from gail.core.errors import InputError
from gail.envs.multi_agent import make_multi_agent
from gail.report import agents_video as module
from gail.report import groups_video, policy_video


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What the video is made of, once it is made."""
    seen: list[np.ndarray] = []
    original = module.record_video

    def spy(stream, path, fps):  # type: ignore[no-untyped-def]
        def kept():  # type: ignore[no-untyped-def]
            for frame in stream:
                seen.append(frame)
                yield frame

        return original(kept(), path, fps)

    monkeypatch.setattr(module, "record_video", spy)
    return seen


def test_one_policy_plays_all_agents_until_nobody_lives(tmp_path: Path, frames: list[np.ndarray]) -> None:
    env = make_multi_agent("mpe2.simple_spread_v3", 1)
    (group,) = env.groups.values()
    save_policy(new_policy(group, 0), tmp_path / "policy.safetensors", env_id=env.env_id, env_kwargs={"max_cycles": 7})
    out = policy_video(tmp_path / "policy.safetensors", tmp_path / "v.mp4", seed=3)
    assert out.stat().st_size > 0
    assert len(frames) == 7 and frames[0].shape[2] == 3 and not np.array_equal(frames[0], frames[6])


def test_each_group_plays_its_own_policy(
    tmp_path: Path, frames: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    env = make_multi_agent("mpe2.simple_tag_v3", 1, max_cycles=2)
    save_policies({name: new_policy(group, 0) for name, group in env.groups.items()}, tmp_path, env)
    video = tmp_path / "v.mp4"
    assert main(["evaluate", str(tmp_path), "--episodes", "1", "--video", str(video)]) == 0
    assert f"video: {video}" in capsys.readouterr().out and video.stat().st_size > 0 and len(frames) == 2
    assert main(["evaluate", str(tmp_path), "--episodes", "1", "--video", str(video)]) == 2
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "policy-agent.safetensors").unlink()
    with pytest.raises(InputError, match="no policy for group 'agent', found adversary"):
        groups_video(tmp_path, tmp_path / "w.mp4")
