"""What one step of an episode is made of, as columns of numbers: shared by transitions, segments and tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.demos.types import Demonstrations
from gail.envs.spaces import categories

_MOST_COLUMNS = 4096
"""Beyond it an observation is an image, which needs a model of images."""


@dataclass(frozen=True)
class ArraySpec:
    """Shape and type of one field of a step, and the values that occurred."""

    shape: tuple[int, ...]
    """Of one step's value."""
    dtype: str
    """numpy's name of the type in the file."""
    low: int
    """The smallest value of an integer field; 0 for floats."""
    count: int | None
    """How many integers from ``low`` on occurred; None for floats."""

    @property
    def size(self) -> int:
        """How many numbers a step has here."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def columns(self) -> int:
        """How many columns it becomes: one per number, or one per possible value of an integer field."""
        return self.size * (self.count or 1)

    def to_columns(self, values: Tensor) -> Tensor:
        """Values ``[B, *shape]`` as float columns ``[B, columns]``; integers become one-hot."""
        flat = values.reshape(values.shape[0], -1)
        if self.count is None:
            return flat.float()
        return (flat[..., None] == torch.arange(self.low, self.low + self.count, device=flat.device)).flatten(1).float()

    def from_columns(self, columns: Tensor) -> np.ndarray:
        """The inverse of :meth:`to_columns` ``[B, *shape]``; of an integer field the highest column counts."""
        rows = columns.shape[0]
        if self.count is None:
            values = columns
        else:
            values = columns.reshape(rows, self.size, self.count).argmax(-1) + self.low
        dtype = np.dtype(self.dtype)
        array = values.reshape(rows, *self.shape).numpy()
        return np.ascontiguousarray((np.rint(array) if dtype.kind in "iu" else array).astype(dtype))

    def to_tree(self) -> dict[str, Any]:
        """As JSON values."""
        return {"shape": list(self.shape), "dtype": self.dtype, "low": self.low, "count": self.count}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> ArraySpec:
        """The inverse of :meth:`to_tree`."""
        return cls(tuple(tree["shape"]), tree["dtype"], tree["low"], tree["count"])


_MOST_VALUES = 64
"""An integer action with more values than this is treated as a number."""


def describe_field(demos: Demonstrations, name: str) -> ArraySpec:
    """The specification of ``observations`` or ``actions`` over all episodes of ``demos``.

    Raises:
        InputError: naming the file: where episodes differ in shape, values are not finite, or observations are images.
    """
    where = demos.path or "demonstrations"
    arrays = [getattr(trajectory, name) for trajectory in demos]
    if any(isinstance(array, dict) for array in arrays):
        raise InputError(f"{where}: field {name!r} has several parts (a Dict or Tuple space), expected one array")
    shape = tuple(arrays[0].shape[1:])
    for episode, array in enumerate(arrays):
        if array.shape[1:] != shape:
            raise InputError(
                f"{where}: field {name!r} of episode {episode} has shape {array.shape[1:]} per step, expected {shape} "
                "as in episode 0"
            )
        if not np.isfinite(array).all():
            raise InputError(f"{where}: field {name!r} of episode {episode} holds NaN or infinity, expected numbers")
    size = int(np.prod(shape, dtype=np.int64))
    if size > _MOST_COLUMNS:
        raise InputError(f"{where}: field {name!r} has {size} numbers per step, expected at most {_MOST_COLUMNS}")
    kind = arrays[0].dtype.kind
    low = min(int(array.min()) for array in arrays) if kind in "iub" else 0
    values = max(int(array.max()) for array in arrays) - low + 1 if kind in "iub" else None
    return _field(shape, arrays[0].dtype, low, values)


def field_of(space: gym.Space) -> ArraySpec:
    """The specification of one element of a Box (whose numbers have no fixed values), Discrete or MultiDiscrete."""
    if isinstance(space, gym.spaces.Box):
        return _field(space.shape, space.dtype, 0, None)
    assert isinstance(space, gym.spaces.Discrete | gym.spaces.MultiDiscrete)
    counts, lows = categories(space)
    lowest = min(lows)
    highest = max(low + count for low, count in zip(lows, counts, strict=True))
    return _field(space.shape or (), space.dtype, lowest, highest - lowest)


def _field(shape: tuple[int, ...], dtype: Any, low: int, count: int | None) -> ArraySpec:
    if count is not None and count > _MOST_VALUES:
        low, count = 0, None
    return ArraySpec(shape, np.dtype(dtype).name, low, count)


@dataclass(frozen=True)
class Scaling:
    """Columns to zero mean and unit variance and back, clipped to the range that occurred."""

    mean: Tensor
    std: Tensor
    low: Tensor
    high: Tensor
    """Each ``[D]``."""

    @classmethod
    def of(cls, columns: Tensor) -> Scaling:
        """Of columns ``[N, D]``."""
        exact = columns.double()
        std = exact.std(0, correction=0)
        # What never varies comes back as it was: its scale is zero both ways.
        std = torch.where(std > 1e-6 * exact.abs().amax(0).clamp(min=1e-6), std, 0.0)
        return cls(exact.mean(0).float(), std.float(), columns.amin(0), columns.amax(0))

    def apply(self, columns: Tensor) -> Tensor:
        """Columns ``[..., D]`` in units of their spread."""
        inverse = torch.where(self.std > 0, 1.0 / self.std.clamp(min=1e-12), 0.0)
        return (columns - self.mean) * inverse

    def undo(self, columns: Tensor) -> Tensor:
        """The inverse of :meth:`apply`, clipped to what occurred."""
        return (columns * self.std + self.mean).clamp(self.low, self.high)

    def part(self, columns: slice) -> Scaling:
        """Of some of the columns."""
        return Scaling(self.mean[columns], self.std[columns], self.low[columns], self.high[columns])

    def to(self, device: torch.device | str) -> Scaling:
        """On ``device``."""
        return Scaling(*(tensor.to(device) for tensor in (self.mean, self.std, self.low, self.high)))

    def to_tree(self) -> dict[str, Any]:
        """As tensors."""
        return {"mean": self.mean, "std": self.std, "low": self.low, "high": self.high}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Scaling:
        """The inverse of :meth:`to_tree`."""
        return cls(tree["mean"], tree["std"], tree["low"], tree["high"])


def split_episodes(demos: Demonstrations, holdout: float) -> tuple[Demonstrations, Demonstrations | None]:
    """Episodes to learn from, and the last ``holdout`` share of them to hold out (None where the share is 0).

    Raises:
        InputError: where nothing would be left.
    """
    if holdout == 0:
        return demos, None
    held = max(round(len(demos) * holdout), 1)
    where = demos.path or "demonstrations"
    if held >= len(demos):
        raise InputError(f"{where}: holds {len(demos)} episodes, holding out {held} leaves none to learn from")
    learned = demos.first(len(demos) - held)
    return learned, Demonstrations(
        demos.trajectories[len(learned) :], env_id=demos.env_id, env_kwargs=demos.env_kwargs, path=demos.path
    )


def origin_of(demos: Demonstrations, sha256: str | None) -> dict[str, Any]:
    """Where a data set made of ``demos`` is from."""
    return {
        "path": str(demos.path) if demos.path else None,
        "sha256": sha256,
        "read_as": demos.read_as,
        "env_id": demos.env_id,
        "env_kwargs": dict(demos.env_kwargs),
    }


def require_rewards(demos: Demonstrations, what: str) -> None:
    """Refuse demonstrations without rewards, or with some that are not finite.

    Raises:
        InputError: naming the file.
    """
    where: Path | str = demos.path or "demonstrations"
    for episode, trajectory in enumerate(demos):
        if trajectory.rewards is None:
            raise InputError(f"{where}: field 'rewards' is missing in episode {episode}, {what} needs it")
        if not np.isfinite(trajectory.rewards).all():
            raise InputError(f"{where}: field 'rewards' of episode {episode} holds NaN or infinity, expected numbers")
