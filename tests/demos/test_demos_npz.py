from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.demos import Demonstrations, inspect_demos, load_demos, save_demos


@pytest.fixture(scope="module")
def demos(play) -> Demonstrations:
    return replace(play("CartPole-v1", episodes=3), env_kwargs={"sutton_barto_reward": False})


@pytest.fixture
def arrays(demos, tmp_path) -> dict[str, np.ndarray]:
    path = save_demos(demos, tmp_path / "good.npz")
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def refusal(path: Path) -> str:
    """The message with which ``path`` is refused: one line that names the file."""
    with pytest.raises(InputError) as caught:
        load_demos(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


class Bomb:
    """Unpickling an instance would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_flat_npz_round_trips_bit_for_bit(demos, same_episodes, tmp_path):
    synthetic = replace(demos, generator={"kind": "vae", "seed": 3})
    loaded = load_demos(save_demos(synthetic, tmp_path / "d.npz"))
    assert same_episodes(loaded, demos)
    assert (loaded.env_id, loaded.env_kwargs) == ("CartPole-v1", {"sutton_barto_reward": False})
    assert (loaded.source, loaded.kind, loaded.generator) == (
        "random play",
        "episodes",
        {"kind": "vae", "seed": 3},
    )
    assert (loaded.format, loaded.dropped) == ("npz", 0)


def test_image_observations_round_trip_byte_exact(demos, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    image = replace(demos.trajectories[0], observations=pixels, actions=np.arange(4), rewards=np.ones(4))
    loaded = load_demos(save_demos(replace(demos, trajectories=(image,)), tmp_path / "d.npz"))
    assert loaded.trajectories[0].observations.tobytes() == pixels.tobytes()


def test_unknown_flags_seeds_and_rewards_stay_unknown(demos, tmp_path):
    first, *rest = demos.trajectories
    unknown = replace(first, terminated=None, truncated=None, seed=None)
    kept = replace(demos, trajectories=tuple(replace(t, rewards=None) for t in (unknown, *rest)), env_id=None)
    loaded = load_demos(save_demos(kept, tmp_path / "d.npz"))
    assert loaded.env_id is None and loaded.returns is None
    assert (loaded.trajectories[0].terminated, loaded.trajectories[0].truncated) == (None, None)
    assert loaded.trajectories[0].seed is None
    assert loaded.trajectories[1].terminated is rest[0].terminated and loaded.trajectories[1].seed == 1


def test_terminated_wins_where_both_flags_are_set(arrays, tmp_path):
    arrays["terminated"][:] = True
    arrays["truncated"][:] = True
    np.savez(tmp_path / "d.npz", **arrays)
    assert all(t.terminated is True and t.truncated is False for t in load_demos(tmp_path / "d.npz"))


def test_an_existing_file_is_replaced_only_when_asked(demos, tmp_path):
    path = save_demos(demos, tmp_path / "d.npz")
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        save_demos(demos.first(1), path)
    assert path.read_bytes() == before
    save_demos(demos.first(1), path, overwrite=True)
    assert len(load_demos(path)) == 1


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(demos, tmp_path):
    path = save_demos(demos, tmp_path / "d.npz")
    before = path.read_bytes()
    with pytest.raises(InputError, match="env_kwargs"):
        save_demos(replace(demos, env_kwargs={"f": object()}), path, overwrite=True)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["d.npz"]


@pytest.mark.parametrize("name", ["observations", "actions", "lengths"])
def test_a_missing_field_is_named(arrays, tmp_path, name):
    del arrays[name]
    np.savez(tmp_path / "d.npz", **arrays)
    assert repr(name) in refusal(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lengths", np.array([60.0, np.nan, 3.0])),
        ("lengths", np.array([[1, 2]])),
        ("lengths", np.array([], dtype=np.int64)),
        ("lengths", np.array([5, -2, 3])),
        ("lengths", np.array(5)),
        ("observations", np.zeros((3, 4))),
        ("observations", np.array(1.0)),
        ("observations", np.array(["a", "b"])),
        ("actions", np.zeros(2, dtype=np.int64)),
        ("rewards", np.zeros((4, 2))),
        ("rewards", np.zeros(1)),
        ("terminated", np.array([True])),
        ("terminated", np.array([0, 1, 7])),
        ("truncated", np.array([0.0, 0.5, 1.0])),
        ("seeds", np.array([0.5, 1.0, 2.0])),
        ("env_id", np.array(["a", "b"])),
        ("env_id", np.array("a\nb")),
        ("env_kwargs", np.array("[1]")),
        ("env_kwargs", np.array("{")),
        ("env_kwargs", np.array("[" * 100_000)),
        ("generator", np.array("no json")),
        ("kind", np.array("pictures")),
    ],
)
def test_a_wrong_field_is_named_in_one_line(arrays, tmp_path, name, value):
    arrays[name] = value
    np.savez(tmp_path / "d.npz", **arrays)
    assert repr(name) in refusal(tmp_path / "d.npz")


def test_lengths_too_large_for_the_rows_are_refused(arrays, tmp_path):
    arrays["lengths"] = np.array([2**62, 2**62, 2**62])
    np.savez(tmp_path / "d.npz", **arrays)
    assert f"({3 * 2**62} steps in 3 episodes)" in refusal(tmp_path / "d.npz")


def test_a_module_in_the_environment_id_is_not_imported(arrays, tmp_path):
    arrays["env_id"] = np.array("this:CartPole-v1")
    np.savez(tmp_path / "d.npz", **arrays)
    sys.modules.pop("this", None)
    demos = load_demos(tmp_path / "d.npz")
    skipped = {check.reason for check in inspect_demos(demos).skipped}
    assert any("--env this:CartPole-v1" in reason for reason in skipped), skipped
    save_demos(demos, tmp_path / "d-v0")
    assert load_demos(tmp_path / "d-v0").env_id == "this:CartPole-v1"
    assert "this" not in sys.modules


@pytest.mark.parametrize("name", ["observations", "lengths", "env_id", "terminated", "source"])
def test_a_pickled_member_is_refused_and_runs_nothing(arrays, tmp_path, name):
    mark = tmp_path / "executed"
    arrays[name] = np.array([Bomb(mark)] * 3, dtype=object)
    np.savez(tmp_path / "d.npz", **arrays)
    assert "pickled" in refusal(tmp_path / "d.npz")
    assert not mark.exists()
    with np.load(tmp_path / "d.npz", allow_pickle=True) as file:
        assert len(file[name]) == 3  # numpy's unsafe way does run it: the bomb is live
    assert mark.exists()


def test_a_pickle_named_npz_is_refused_and_runs_nothing(tmp_path):
    import pickle

    mark = tmp_path / "executed"
    (tmp_path / "d.npz").write_bytes(pickle.dumps(Bomb(mark)))
    assert "pickle" in refusal(tmp_path / "d.npz") and not mark.exists()


def test_every_truncation_of_a_file_is_refused(demos, tmp_path):
    whole = save_demos(demos, tmp_path / "whole.npz").read_bytes()
    for size in [0, 1, 3, 10, 100, *range(200, len(whole), len(whole) // 20), len(whole) - 1]:
        (tmp_path / "cut.npz").write_bytes(whole[:size])
        refusal(tmp_path / "cut.npz")


def test_damaged_bytes_are_refused_or_harmless(demos, tmp_path):
    whole = save_demos(demos, tmp_path / "whole.npz").read_bytes()
    refused = 0
    for position in range(0, len(whole), max(1, len(whole) // 150)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "bad.npz").write_bytes(damaged)
        try:
            load_demos(tmp_path / "bad.npz")
        except InputError:
            refused += 1
    assert refused > 100


def test_a_member_that_is_no_array_is_refused(arrays, tmp_path):
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            archive.writestr(f"{name}.npy", b"hello" if name == "actions" else buffer.getvalue())
    assert "'actions'" in refusal(path)


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path):
    assert "no such file" in refusal(tmp_path / "absent.npz")
    (tmp_path / "x.bin").write_bytes(b"12345678")
    assert "no reader fits" in refusal(tmp_path / "x.bin")
    (tmp_path / "empty").mkdir()
    assert "found nothing" in refusal(tmp_path / "empty")


def test_env_id_fills_the_gap_and_may_not_contradict(demos, tmp_path):
    nameless = save_demos(replace(demos, env_id=None), tmp_path / "nameless.npz")
    assert load_demos(nameless, env_id="CartPole-v0", env_kwargs={"a": 1}).env_kwargs == {"a": 1}
    named = save_demos(demos, tmp_path / "named.npz")
    assert load_demos(named, env_id="CartPole-v1").env_id == "CartPole-v1"
    with pytest.raises(InputError, match="expected 'CartPole-v0', found 'CartPole-v1'"):
        load_demos(named, env_id="CartPole-v0")


def test_episodes_keeps_the_first_ones(demos, tmp_path):
    path = save_demos(demos, tmp_path / "d.npz")
    assert [t.seed for t in load_demos(path, episodes=2)] == [0, 1]
    with pytest.raises(InputError, match="expected 1 to 3, found 4"):
        load_demos(path, episodes=4)


def test_action_shift_pairs_each_state_with_the_next_rows_action(demos, tmp_path):
    path = save_demos(demos, tmp_path / "d.npz")
    shifted = load_demos(path, action_shift=1)
    assert shifted.dropped == 3
    for before, after in zip(demos, shifted, strict=True):
        assert np.array_equal(after.actions, before.actions[1:])
        assert np.array_equal(after.observations, before.observations[:-1])
        assert after.terminated is None and after.truncated is None
    with pytest.raises(InputError, match="expected 0 or 1"):
        load_demos(path, action_shift=2)


def test_importing_demos_loads_no_file_library():
    heavy = ("h5py", "minari", "pyarrow", "gymnasium", "mujoco")
    code = f"import sys, gail.demos; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
