"""Text and token arrays as windows, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gail.core.errors import InputError
from gail.generators.load import DataConfig, load_data
from gail.generators.text import load_text, load_tokens

TEXT = "the quick brown fox jumps over the lazy dög. " * 4


@pytest.mark.parametrize("alphabet", ["characters", "bytes"])
def test_windows_of_a_text_decode_to_what_is_written_there(tmp_path: Path, alphabet) -> None:
    file = tmp_path / "t.txt"
    file.write_text(TEXT, encoding="utf-8")
    data = load_text(file, length=20, alphabet=alphabet)
    tokens, _ = data.encoded(torch.tensor([0, 3]))
    assert tokens.dtype == torch.int64 and tokens.shape == (2, 20)
    assert data.codec.decode(tokens) == [TEXT[0:20], TEXT[3:23]]
    assert data.codec.vocabulary == (len(set(TEXT)) if alphabet == "characters" else 256)


def test_windows_hold_the_text_once(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text(TEXT, encoding="utf-8")
    data = load_text(file, length=50, alphabet="characters")
    assert len(data) == len(TEXT) - 49
    assert data.items.untyped_storage().nbytes() == len(TEXT)  # one byte a character


def test_the_end_of_a_text_is_held_out_in_windows_side_by_side(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text("a" * 80 + "bcdefghij" * 2 + "xx")
    data = load_text(file, length=9, alphabet="characters", holdout=0.2)
    assert data.held_out is not None
    assert data.codec.decode(data.held_out.items) == ["bcdefghij", "bcdefghij"]
    assert data.codec.decode(data.encoded(torch.tensor([len(data) - 1]))[0]) == ["a" * 9]


def test_a_prompt_becomes_the_tokens_of_the_alphabet(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text(TEXT, encoding="utf-8")
    codec = load_text(file, length=9, alphabet="characters").codec
    assert codec.decode(codec.tokens("dög")[None]) == ["dög"]
    with pytest.raises(InputError, match="'Q' does not occur"):
        codec.tokens("Quick")


def test_token_arrays_are_rows_of_integers(tmp_path: Path) -> None:
    rows = np.arange(12).reshape(4, 3)
    np.save(tmp_path / "codes.npy", rows)
    data = load_data(tmp_path / "codes.npy")
    assert data.codec.kind == "tokens" and data.codec.vocabulary == 12 and data.codec.shape == (3,)
    assert sorted(data.items.tolist()) == rows.tolist()


def test_bad_text_gets_one_line_that_names_the_file(tmp_path: Path) -> None:
    latin = tmp_path / "latin.txt"
    latin.write_bytes(("abc " * 50 + "dög").encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.txt: expected text in UTF-8, found byte 0xf6 at offset 201"):
        load_text(latin, length=8, alphabet="characters")
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(InputError, match=r"empty\.txt: holds 0 tokens"):
        load_text(empty, length=8, alphabet="bytes")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"abc\0def" * 10)
    with pytest.raises(InputError, match=r"binary\.txt: expected text, found a zero byte at offset 3"):
        load_text(binary, length=8, alphabet="characters")
    with pytest.raises(InputError, match=r"missing\.txt"):
        load_data(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros((3,), int), np.full((3, 3), -1), np.zeros((1, 3), int), np.zeros((4, 1), int)]
)
def test_bad_token_arrays_are_named(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(InputError, match=r"bad\.npy"):
        load_tokens(tmp_path / "bad.npy")


def test_a_pickle_in_a_token_file_is_refused_and_not_run(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"evil\.npy"):
        load_tokens(tmp_path / "evil.npy")


def test_options_of_other_data_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((4, 3), int))
    with pytest.raises(InputError, match="--length: is for text, segments, returns, innovations"):
        load_data(tmp_path / "codes.npy", DataConfig(length=8))
    with pytest.raises(InputError, match="--labels: is for images"):
        load_data(tmp_path / "codes.npy", DataConfig(labels=Path("l")))
