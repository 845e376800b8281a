"""Checkpoint files: exact, atomic, and never code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from gail.core.checkpoint import BackgroundWrites, load_tree, save_tree
from gail.core.errors import InputError
from gail.core.files import write_atomic

TREE = {
    "weights": {"a": torch.randn(3, 2), "empty": torch.zeros(0, 4)},
    "flags": torch.tensor([True, False]),
    "count": torch.tensor(7, dtype=torch.int64),
    "doubles": torch.randn(2, dtype=torch.float64),
    "list": [1, 2.5, None, "text", {"nested": torch.arange(3)}],
    "big": 2**127 + 1,
}


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    save_tree(tmp_path / "t.safetensors", TREE)
    assert same(load_tree(tmp_path / "t.safetensors"), TREE)


def test_tensors_that_share_memory_are_written_apart(tmp_path: Path) -> None:
    base = torch.arange(6)
    save_tree(tmp_path / "t.safetensors", {"a": base, "b": base[:3], "c": base.view(2, 3).T})
    tree = load_tree(tmp_path / "t.safetensors")
    assert torch.equal(tree["b"], base[:3]) and torch.equal(tree["c"], base.view(2, 3).T)


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    save_tree(file, {"value": 1})

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_atomic(file, fail)
    assert load_tree(file) == {"value": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


def test_background_writes_hold_the_values_of_the_moment_they_were_collected(tmp_path: Path) -> None:
    weights = torch.zeros(3)
    with BackgroundWrites() as writes:
        with writes.collect():
            save_tree(tmp_path / "a.safetensors", {"w": weights})
            weights += 1
            save_tree(tmp_path / "b.safetensors", {"w": weights})
        weights += 1
    assert load_tree(tmp_path / "a.safetensors")["w"].tolist() == [0.0, 0.0, 0.0]
    assert load_tree(tmp_path / "b.safetensors")["w"].tolist() == [1.0, 1.0, 1.0]


def test_a_background_write_that_fails_is_told_before_the_next_one(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file stands where the folder should be")
    with BackgroundWrites() as writes:
        with writes.collect():
            save_tree(tmp_path / "folder" / "t.safetensors", {"value": 1})
        with pytest.raises(InputError, match="cannot be written"), writes.collect():
            raise AssertionError("the next group must not be collected")


@pytest.mark.parametrize("damage", ["cut", "pickle", "missing", "foreign"])
def test_files_that_are_not_ours_are_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    file = tmp_path / "t.safetensors"
    if damage == "cut":
        save_tree(file, TREE)
        file.write_bytes(file.read_bytes()[:-10])
    elif damage == "pickle":
        file.write_bytes(pickle.dumps({"a": 1}))
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(InputError) as caught:
        load_tree(file)
    assert "t.safetensors" in str(caught.value) and "\n" not in str(caught.value)
