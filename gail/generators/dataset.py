"""What generators learn from: items held once, and the codec between them and a network.

Glossary:
    item   what the data holds: an image, a transition, a window of an episode, a window of text.
    codec  turns items into what a network sees (``encode``) and a network's samples into a product (``decode``).
           It is saved with the model, so that a model file is all that sampling needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from gail.core.errors import InputError


class Codec(Protocol):
    """Between the items of one data set and a network."""

    kind: ClassVar[str]
    """Its name in a model file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one encoded item: ``[D]`` a vector, ``[D, L]`` a segment, ``[C, H, W]`` an image, ``[L]`` tokens."""

    @property
    def vocabulary(self) -> int | None:
        """How many tokens there are; None where items are numbers."""

    def encode(self, items: Tensor) -> Tensor:
        """Items ``[B, ...]`` as the network sees them: float32 (about unit scale) or int64 tokens."""

    def decode(self, samples: Tensor) -> Any:
        """The product that samples ``[n, *shape]`` stand for."""

    def to_tree(self) -> dict[str, Any]:
        """Tensors and JSON values from which :func:`gail.generators.load.codec_from_tree` builds it again."""


@dataclass(frozen=True)
class Dataset:
    """Items, each held once: bytes stay bytes, and windows are views of what they overlap on."""

    items: Tensor
    """``[S, ...]`` in the data's own type."""
    codec: Codec
    index: Tensor | None = None
    """``[N]``: which rows of ``items`` are items (windows that run over an episode's end are not); None: all."""
    labels: Tensor | None = None
    """``[N]`` int64: the class of each item, where the data has classes."""
    classes: tuple[str, ...] = ()
    """Their names, in the labels' order."""
    held_out: Dataset | None = None
    """Items that training never sees."""
    origin: dict[str, Any] = field(default_factory=dict)
    """Where the data is from: ``path``, ``sha256`` and, for demonstrations, ``env_id`` and ``env_kwargs``."""

    def __len__(self) -> int:
        return self.items.shape[0] if self.index is None else len(self.index)

    def encoded(self, rows: Tensor, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor | None]:
        """Items ``rows`` ``[B]`` as a network sees them, and their labels, on ``device``."""
        places = rows if self.index is None else self.index[rows]
        labels = None if self.labels is None else self.labels[rows].to(device)
        return self.codec.encode(self.items[places]).to(device), labels


def require_items(source: Path | str, what: str, found: int) -> None:
    """Refuse a data set that nothing can be learned from.

    Raises:
        InputError: with fewer than two items.
    """
    if found < 2:
        raise InputError(f"{source}: holds {found} {what}, expected at least 2")


def held_out_count(source: Path | str, what: str, found: int, share: float) -> int:
    """How many of ``found`` items a held-out ``share`` is.

    Raises:
        InputError: where fewer than two would be left to learn from.
    """
    count = round(found * share)
    if share > 0 and count == 0:
        count = 1
    require_items(source, f"{what} beside the {count} held out" if count else what, found - count)
    return count
