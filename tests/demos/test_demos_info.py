from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, describe, file_hash, load_demos, save_demos


def episode(length: int, reward: float, terminated: bool | None, truncated: bool | None) -> Trajectory:
    observations = np.zeros((length + 1, 2), dtype=np.float32)
    return Trajectory(observations, np.zeros(length, int), np.full(length, reward), terminated, truncated)


DEMOS = Demonstrations(
    (
        episode(2, 1.0, True, False),
        episode(4, 1.0, False, True),
        episode(3, 0.0, False, False),
        episode(3, 3.0, None, None),
        episode(3, 2.0, False, None),
    ),
    env_id="CartPole-v1",
    env_kwargs={"a": 1},
    source="me",
)


def test_describe_counts_ends_returns_and_lengths(tmp_path):
    about = describe(load_demos(save_demos(DEMOS, tmp_path / "d.npz")))
    assert about["ends"] == {"terminated": 1, "truncated": 1, "neither": 1, "unknown": 2}
    assert (about["episodes"], about["steps"]) == (5, 15)
    assert about["return"] == {"mean": 4.2, "std": pytest.approx(9.76**0.5), "min": 0.0, "max": 9.0}
    assert about["length"]["min"] == 2.0 and about["length"]["max"] == 4.0
    assert about["observations"] == {"shape": [2], "dtype": "float32"}
    assert about["actions"] == {"shape": [], "dtype": "int64"}
    assert (about["env_id"], about["env_kwargs"], about["source"]) == ("CartPole-v1", {"a": 1}, "me")
    assert about["synthetic"] is False and about["hash"] == file_hash(tmp_path / "d.npz")


def test_describe_is_json_also_without_rewards_or_with_nan():
    silent = replace(DEMOS, trajectories=tuple(replace(t, rewards=None) for t in DEMOS))
    assert describe(silent)["return"] is None and describe(silent)["hash"] is None
    nan = replace(DEMOS, trajectories=(replace(DEMOS.trajectories[0], rewards=np.array([1.0, np.nan])),))
    json.dumps(describe(nan), allow_nan=False)
    assert describe(replace(DEMOS, generator={"kind": "vae"}))["synthetic"] is True


def test_file_hash_changes_with_any_byte_or_name(tmp_path):
    (tmp_path / "f").write_bytes(b"abc")
    assert file_hash(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_bytes(b"abc")
    assert file_hash(tmp_path / "one") == file_hash(tmp_path / "two")
    (tmp_path / "two" / "x").rename(tmp_path / "two" / "y")
    assert file_hash(tmp_path / "one") != file_hash(tmp_path / "two")
    with pytest.raises(InputError, match="cannot be read"):
        file_hash(tmp_path / "absent")
