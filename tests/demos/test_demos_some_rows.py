"""Sets of transitions that need not fit into memory are written in blocks and read a block at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, load_demos, save_demos
from gail.demos.archive import stream_npz_blocks
from gail.demos.npz import write_flat_npz_blocks
from gail.demos.some_rows import count_transitions, read_some

MEGABYTE = 1 << 20


def transitions(start: int, count: int) -> Demonstrations:
    """Row k goes from (k, 0) to (k, 1) by action k, for the reward -k; every third terminates."""
    rows = tuple(
        Trajectory(
            np.array([[k, 0], [k, 1]], np.float32), np.array([k]), np.array([-float(k)]), k % 3 == 0, truncated=False
        )
        for k in range(start, start + count)
    )
    return Demonstrations(rows, env_id="Toy-v0", env_kwargs={"g": 1}, kind="transitions", generator={"kind": "vae"})


def columns(count: int) -> dict[str, np.ndarray]:
    """The arrays of a set of transitions with states of 11 numbers."""
    return {
        "observations": np.zeros((2 * count, 11), np.float32),
        "actions": np.arange(count),
        "rewards": np.zeros(count),
        "lengths": np.ones(count, np.int64),
        "terminated": np.zeros(count, bool),
        "truncated": np.zeros(count, bool),
    }


def peak(work: Callable[[], object]) -> int:
    """The most bytes that were allocated at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_set_written_in_blocks_equals_the_set_written_at_once(tmp_path: Path) -> None:
    save_demos(transitions(0, 25), tmp_path / "once.npz")
    write_flat_npz_blocks(tmp_path / "blocks.npz", (transitions(k, min(10, 25 - k)) for k in (0, 10, 20)))
    with np.load(tmp_path / "once.npz") as once, np.load(tmp_path / "blocks.npz") as blocks:
        assert set(once) == set(blocks)
        for name in once:
            assert once[name].dtype == blocks[name].dtype
            np.testing.assert_array_equal(once[name], blocks[name])


def test_writing_holds_one_block_at_a_time_and_reading_too(tmp_path: Path) -> None:
    path, block = tmp_path / "large.npz", columns(10_000)
    others = {"kind": np.asarray("transitions")}
    size = 20 * sum(array.nbytes for array in block.values())
    assert size > 20 * MEGABYTE
    assert peak(lambda: stream_npz_blocks(path, (block for _ in range(20)), lambda: others)) < 3 * MEGABYTE
    assert count_transitions(path) == 200_000
    assert peak(lambda: read_some(path, np.arange(0, 200_000, 1000))) < 6 * MEGABYTE


def test_the_chosen_rows_are_those_that_loading_everything_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gail.demos.some_rows._BLOCK", 7)
    path = save_demos(transitions(0, 40), tmp_path / "set.npz")
    chosen = np.array([0, 6, 7, 20, 21, 39])
    some, everything = read_some(path, chosen), load_demos(path)
    assert (some.kind, some.env_id, some.env_kwargs, some.generator) == (
        "transitions",
        "Toy-v0",
        {"g": 1},
        {"kind": "vae"},
    )
    for found, row in zip(some, chosen, strict=True):
        expected = everything.trajectories[row]
        assert (found.terminated, found.truncated) == (expected.terminated, expected.truncated)
        for name in ("observations", "actions", "rewards"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_only_flat_files_of_transitions_are_counted(tmp_path: Path) -> None:
    episode = Trajectory(np.zeros((4, 2), np.float32), np.zeros(3), None, True, False)
    assert count_transitions(save_demos(Demonstrations((episode,)), tmp_path / "episodes.npz")) is None
    assert count_transitions(tmp_path / "missing.npz") is None
    assert count_transitions(tmp_path) is None


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("rewards", lambda a: np.where(np.arange(len(a)) == 33, np.nan, a), "'rewards' of transition 33 holds NaN"),
        ("observations", lambda a: a * np.where(np.arange(len(a)) == 21, np.inf, 1.0)[:, None], "transition 10 holds"),
        ("lengths", lambda a: a + (np.arange(len(a)) == 5), "expected 1 step in each transition"),
        ("actions", lambda a: a[:-1], "'actions': expected 40 rows"),
        ("actions", lambda a: a.astype(str), "'actions': expected numbers"),
        ("actions", lambda a: a.astype(object), "expected rows of numbers in order, found object"),
    ],
)
def test_a_fault_in_a_row_that_was_not_chosen_is_found(
    name: str, spoil: Callable[[np.ndarray], np.ndarray], message: str, tmp_path: Path
) -> None:
    arrays = {**columns(40), "kind": np.asarray("transitions")}
    arrays["observations"] = arrays["observations"] + 1.0
    np.savez(tmp_path / "bad.npz", **{**arrays, name: spoil(arrays[name])})  # type: ignore[arg-type]
    with pytest.raises(InputError, match=message):
        read_some(tmp_path / "bad.npz", np.array([1, 2]))


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = save_demos(transitions(0, 4000), tmp_path / "cut.npz")
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"cut\.npz"):
        read_some(path, np.array([1]))


def test_an_interrupt_leaves_nothing_behind_and_a_block_that_differs_is_refused(tmp_path: Path) -> None:
    def interrupted() -> Iterator[Demonstrations]:
        yield transitions(0, 10)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_flat_npz_blocks(tmp_path / "set.npz", interrupted())
    different = {"rows": np.zeros(3)}, {"rows": np.zeros((3, 2))}
    with pytest.raises(InputError, match="block 1"):
        stream_npz_blocks(tmp_path / "set.npz", different, dict)
    assert list(tmp_path.iterdir()) == []
