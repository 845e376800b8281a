"""Text as tokens (bytes or characters), and arrays of tokens of any other origin."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.core.random import make_generator
from gail.demos.info import file_hash
from gail.generators.dataset import Dataset, held_out_count

Alphabet = Literal["characters", "bytes"]


@dataclass(frozen=True)
class TextCodec:
    """Windows of ``length`` tokens; the tokens are bytes, or the characters of ``alphabet``."""

    kind: ClassVar[str] = "text"
    length: int
    alphabet: str | None
    """The characters in the tokens' order; None: tokens are bytes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """One window."""
        return (self.length,)

    @property
    def vocabulary(self) -> int:
        """256, or how many characters there are."""
        return 256 if self.alphabet is None else len(self.alphabet)

    def encode(self, items: Tensor) -> Tensor:
        """Tokens as int64."""
        return items.long()

    def decode(self, samples: Tensor) -> list[str]:
        """Tokens ``[n, L]`` as texts; bytes that are no UTF-8 become the replacement character."""
        rows = samples.tolist()
        if self.alphabet is None:
            return [bytes(row).decode("utf-8", "replace") for row in rows]
        return ["".join(self.alphabet[token] for token in row) for row in rows]

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: token for token, character in enumerate(self.alphabet or "")}

    def tokens(self, text: str) -> Tensor:
        """The tokens ``[L]`` of ``text``, for a prompt.

        Raises:
            InputError: where a character is not in the alphabet.
        """
        if self.alphabet is None:
            return torch.tensor(list(text.encode("utf-8")))
        unknown = next((character for character in text if character not in self._index), None)
        if unknown is not None:
            raise InputError(f"--prompt: {unknown!r} does not occur in the text that the model learned from")
        return torch.tensor([self._index[character] for character in text])

    def to_tree(self) -> dict[str, Any]:
        """Length and alphabet."""
        return {"kind": self.kind, "length": self.length, "alphabet": self.alphabet}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> TextCodec:
        """The inverse of :meth:`to_tree`."""
        return cls(tree["length"], tree["alphabet"])


@dataclass(frozen=True)
class TokenCodec:
    """Rows of ``length`` tokens that mean whatever their file means."""

    kind: ClassVar[str] = "tokens"
    length: int
    vocabulary: int

    @property
    def shape(self) -> tuple[int, ...]:
        """One row."""
        return (self.length,)

    def encode(self, items: Tensor) -> Tensor:
        """Tokens as int64."""
        return items.long()

    def decode(self, samples: Tensor) -> Tensor:
        """The tokens themselves."""
        return samples

    def to_tree(self) -> dict[str, Any]:
        """Length and vocabulary."""
        return {"kind": self.kind, "length": self.length, "vocabulary": self.vocabulary}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> TokenCodec:
        """The inverse of :meth:`to_tree`."""
        return cls(tree["length"], tree["vocabulary"])


def load_text(path: Path, *, length: int, alphabet: Alphabet, holdout: float = 0.0) -> Dataset:
    """Read a UTF-8 text; an item is any window of ``length`` tokens.

    Args:
        path: the file.
        length: tokens per window.
        alphabet: whether a token is a character of the text or a byte.
        holdout: this share, from the text's end, is held out, as windows side by side.

    Raises:
        InputError: where the file is missing, is no UTF-8, or is too short.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: expected text in UTF-8, found byte 0x{error.object[error.start]:02x} at offset {error.start} "
            "(another encoding? convert it: iconv -f LATIN1 -t UTF-8)"
        ) from error
    if "\0" in text:
        raise InputError(f"{path}: expected text, found a zero byte at offset {text.index(chr(0))}")
    if alphabet == "bytes":
        characters, tokens = None, np.frombuffer(raw, np.uint8).copy()
    else:
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        known, places = np.unique(points, return_inverse=True)
        characters = "".join(map(chr, known.tolist()))
        tokens = places.astype(np.uint8 if len(known) <= 256 else np.int32)
    stream = torch.from_numpy(tokens)
    cut = len(stream) - round(len(stream) * holdout)
    if cut < length + 1:
        raise InputError(f"{path}: holds {cut} tokens to learn from, expected more than one window of {length}")
    held = stream[cut:]
    if holdout > 0 and len(held) < length:
        raise InputError(f"{path}: holds out {len(held)} tokens, expected at least one window of {length}")
    codec = TextCodec(length, characters)
    return Dataset(
        stream[:cut].unfold(0, length, 1),
        codec,
        held_out=Dataset(held.unfold(0, length, length), codec) if holdout > 0 else None,
        origin={"path": str(path), "sha256": file_hash(path)},
    )


def load_tokens(path: Path, *, holdout: float = 0.0) -> Dataset:
    """Read an integer array ``[N, L]`` from a ``.npy`` file; a row is an item.

    Raises:
        InputError: where the file is missing or damaged, or holds anything but such an array.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(f"{path}: cannot be read as .npy ({' '.join(str(error).split())[:120]})") from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "iu" or array.shape[1] < 2:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"{path}: expected integers of shape [items, length >= 2], found {found}")
    if array.size and array.min() < 0:
        raise InputError(f"{path}: expected tokens from 0 on, found {array.min()}")
    count = held_out_count(path, "rows", len(array), holdout)
    rows = torch.from_numpy(array.astype(np.int32))
    order = torch.randperm(len(rows), generator=make_generator(0, "holdout"))
    codec = TokenCodec(rows.shape[1], int(rows.max()) + 1)
    return Dataset(
        rows[order[count:]],
        codec,
        held_out=Dataset(rows[order[:count]], codec) if count else None,
        origin={"path": str(path), "sha256": file_hash(path)},
    )
