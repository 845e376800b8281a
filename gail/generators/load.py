"""One loader for every kind of data, and codecs from model files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np

from gail.core.config import require
from gail.core.errors import InputError
from gail.demos import Demonstrations, load_demos
from gail.demos.load import locate
from gail.generators.dataset import Codec, Dataset
from gail.generators.images import DIGITS, ImageCodec, load_images
from gail.generators.innovations import InnovationCodec, innovation_data
from gail.generators.returns import ReturnCodec, return_data
from gail.generators.text import Alphabet, TextCodec, TokenCodec, load_text, load_tokens
from gail.generators.transitions import SegmentCodec, TransitionCodec, segment_data, transition_data

_WINDOWS = ("segments", "returns", "innovations")
"""Kinds of data that are windows of episodes."""

DataKind = Literal["auto", "images", "text", "tokens", "transitions", "segments", "returns", "innovations"]

_CODECS: dict[str, Callable[[dict[str, Any]], Codec]] = {
    ImageCodec.kind: ImageCodec.from_tree,
    TextCodec.kind: TextCodec.from_tree,
    TokenCodec.kind: TokenCodec.from_tree,
    TransitionCodec.kind: TransitionCodec.from_tree,
    SegmentCodec.kind: SegmentCodec.from_tree,
    ReturnCodec.kind: ReturnCodec.from_tree,
    InnovationCodec.kind: InnovationCodec.from_tree,
}


@dataclass(frozen=True)
class DataConfig:
    """How data becomes items."""

    data_kind: DataKind = "auto"
    """What the items are: images (IDX, a folder of PNG files, `digits`), text, tokens (a .npy of integers), or, from
    demonstrations, transitions, segments (windows of episodes), returns (tokens of returns to go, states, actions) or
    innovations (tokens of states, actions and what a linear model of the step leaves over); auto looks at the file and
    at what the kind of generator learns from."""
    labels: Path | None = None
    """The IDX file with the images' labels, where it does not lie beside them."""
    length: int | None = None
    """Window: tokens of a text (default 128), states of a segment (default 32), of returns (default 16) or of
    innovations (default 8)."""
    bins: int = 64
    """Tokens that a column of numbers gets at most (returns, innovations)."""
    actions_only: bool = False
    """Learn the actions alone (returns), as the decision transformer does: the model plays, and draws no episodes."""
    alphabet: Alphabet = "characters"
    """What a token of a text is: a character or a byte."""
    holdout: float = 0.0
    """Share of the data that is kept from training and on which the loss is measured at the end."""

    def __post_init__(self) -> None:
        if self.length is not None:
            require("data", self, at_least={"length": 2})
        require("data", self, at_least={"bins": 2})
        if not 0.0 <= self.holdout < 1.0:
            raise InputError(f"data.holdout: {self.holdout}, expected a share from 0 to below 1")


def load_data(
    source: str | Path | Demonstrations, config: DataConfig | None = None, *, tokens: bool = False
) -> Dataset:
    """Read data of any kind.

    Args:
        source: a file or folder; ``digits``; or demonstrations in memory.
        config: how it becomes items.
        tokens: whether demonstrations become tokens where ``config`` leaves the kind open.

    Raises:
        InputError: one line naming the file, what was found and what was expected.
    """
    config = config or DataConfig()
    kind = _sniff(source, "returns" if tokens else "transitions") if config.data_kind == "auto" else config.data_kind
    if config.labels is not None and kind != "images":
        raise InputError(f"--labels: is for images, the data is of kind {kind!r}")
    if config.actions_only and kind != "returns":
        raise InputError(f"--actions-only: is for returns; the data is of kind {kind!r}")
    if config.length is not None and kind not in ("text", *_WINDOWS):
        raise InputError(f"--length: is for text, {', '.join(_WINDOWS)}; the data is of kind {kind!r}")
    if isinstance(source, Demonstrations) or kind in ("transitions", *_WINDOWS):
        demos = source if isinstance(source, Demonstrations) else load_demos(source)
        if len(demos) == 0:
            raise InputError(f"{demos.path or 'demonstrations'}: holds no episodes")
        if kind in _WINDOWS and demos.kind == "transitions":
            where = demos.path or "demonstrations"
            raise InputError(f"{where}: holds unrelated transitions, expected episodes, which {kind} are windows of")
        if kind == "segments":
            return segment_data(demos, length=config.length or 32, holdout=config.holdout)
        if kind == "returns":
            return return_data(
                demos,
                states=config.length or 16,
                bins=config.bins,
                holdout=config.holdout,
                actions_only=config.actions_only,
            )
        if kind == "innovations":
            return innovation_data(demos, states=config.length or 8, bins=config.bins, holdout=config.holdout)
        if kind == "transitions":
            return transition_data(demos, holdout=config.holdout)
        wanted = f"one of transitions, {', '.join(_WINDOWS)}"
        raise InputError(f"--data-kind: {kind!r} cannot be made of demonstrations, expected {wanted}")
    path = Path(source)
    if kind == "images":
        return load_images(source, labels=config.labels, holdout=config.holdout)
    if kind == "text":
        return load_text(path, length=config.length or 128, alphabet=config.alphabet, holdout=config.holdout)
    return load_tokens(path, holdout=config.holdout)


def codec_from_tree(tree: dict[str, Any]) -> Codec:
    """The codec that wrote ``tree``.

    Raises:
        InputError: where its kind is unknown.
    """
    if tree.get("kind") not in _CODECS:
        raise InputError(f"codec: kind {tree.get('kind')!r} is unknown, expected one of {', '.join(_CODECS)}")
    return _CODECS[tree["kind"]](tree)


def _sniff(source: str | Path | Demonstrations, of_demos: str) -> str:
    if isinstance(source, Demonstrations):
        return of_demos
    path = locate(source)
    if not path.exists():
        if str(source) == DIGITS:
            return "images"
        raise InputError(f"{source}: no such file or folder")
    name = path.name.lower().removesuffix(".gz")
    if path.is_dir():
        return "images" if next(path.rglob("*.png"), None) or not any(path.iterdir()) else of_demos
    if name.endswith(("-ubyte", ".idx")):
        return "images"
    if name.endswith((".txt", ".md")):
        return "text"
    return "tokens" if name.endswith(".npy") and _may_be_tokens(path) else of_demos


def _may_be_tokens(path: Path) -> bool:
    """Whether ``path`` is for the loader of tokens to read or refuse: no array of floats, nor of three axes."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, BadZipFile):
        return True
    return not isinstance(array, np.ndarray) or (array.ndim == 2 and array.dtype.kind in "iu")
