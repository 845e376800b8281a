"""Spaces as numbers: how observations and actions enter a network, and how spaces are written to files."""

from __future__ import annotations

from typing import Any, TypeGuard

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from gail.core.errors import InputError
from gail.core.leaves import Leaves
from gail.envs.leaves import SUPPORTED, leaf_spaces

Categorical = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""Spaces whose elements are one or several category numbers."""


def categories(space: Categorical) -> tuple[list[int], list[int]]:
    """How many values each component takes, and the lowest of each."""
    if isinstance(space, spaces.MultiBinary):
        count = int(np.prod(space.shape))
        return [2] * count, [0] * count
    if isinstance(space, spaces.Discrete):
        return [int(space.n)], [int(space.start)]
    return [int(n) for n in space.nvec.reshape(-1)], [int(s) for s in space.start.reshape(-1)]


def is_image(space: gym.Space) -> TypeGuard[spaces.Box]:
    """Whether elements are images: bytes in three dimensions, channels first or last."""
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and len(space.shape) == 3


class MaskedBox(spaces.Box):
    """A flat Box whose last ``mask_size`` columns say which actions of a Discrete space are legal (1) or not (0).

    The mask is part of the observation, so it goes wherever that goes: into rollouts, demonstrations and files.
    """

    def __init__(self, low: np.ndarray, high: np.ndarray, mask_size: int, dtype: Any) -> None:
        super().__init__(low, high, dtype=dtype)
        self.mask_size = mask_size

    @classmethod
    def around(cls, space: spaces.Box, actions: int) -> MaskedBox:
        """``space``, flattened, with a mask over so many actions behind it."""
        dtype = np.dtype(np.uint8 if space.dtype == np.bool_ else space.dtype)
        low, high = (np.asarray(bound).reshape(-1).astype(dtype) for bound in (space.low, space.high))
        zeros = np.zeros(actions, dtype)
        return cls(np.concatenate([low, zeros]), np.concatenate([high, zeros + 1]), actions, dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MaskedBox) and super().__eq__(other) and self.mask_size == other.mask_size

    __hash__ = None  # type: ignore[assignment]


def legal_actions(space: gym.Space, obs: Tensor) -> Tensor | None:
    """Which actions are legal in observations ``[B, ...]``, as bool ``[B, actions]``; None where all are."""
    return obs[:, -space.mask_size :] > 0 if isinstance(space, MaskedBox) else None


class SpaceEncoder(nn.Module):
    """Turns elements of a space into float rows ``[B, size]``.

    Discrete values become one-hot; MultiDiscrete, concatenated one-hots; MultiBinary stays 0 and 1; Box is flattened
    and, where ``scale_bounded`` is set and all bounds are finite, scaled to [-1, 1]; the leaves of Dict and Tuple
    spaces are encoded each on its own and concatenated in their order (:func:`gail.envs.leaves.leaf_spaces`).
    """

    def __init__(self, space: gym.Space, *, scale_bounded: bool = False) -> None:
        super().__init__()
        self.categories: list[int] | None = None
        self.size: int
        self.center: Tensor | None
        self.half_range: Tensor | None
        center = half_range = None
        leaves = leaf_spaces(space)
        self.leaves = list(leaves) if isinstance(leaves, dict) else None
        parts = [SpaceEncoder(leaves[key], scale_bounded=scale_bounded) for key in self.leaves or ()]
        self.parts = nn.ModuleList(parts)
        if self.leaves is not None:
            self.size = sum(part.size for part in parts)
        elif isinstance(space, spaces.MultiBinary):
            self.size = int(np.prod(space.shape))
        elif isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
            self.categories, self.offset = categories(space)
            self.size = sum(self.categories)
        elif isinstance(space, spaces.Box):
            self.size = int(np.prod(space.shape))
            if scale_bounded and bool(np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
                low = torch.from_numpy(np.asarray(space.low, dtype=np.float32).reshape(-1))
                high = torch.from_numpy(np.asarray(space.high, dtype=np.float32).reshape(-1))
                center, half_range = (high + low) / 2, ((high - low) / 2).clamp(min=1e-8)
        else:
            raise InputError(f"space {space} is not supported; supported are {SUPPORTED}")
        self.register_buffer("center", center, persistent=False)
        self.register_buffer("half_range", half_range, persistent=False)

    def forward(self, x: Leaves) -> Tensor:
        """Encode ``x`` ``[B, ...]`` as float32 ``[B, size]``."""
        if self.leaves is not None:
            return torch.cat([part(x[key]) for key, part in zip(self.leaves, self.parts, strict=True)], dim=1)
        if self.categories is None:
            x = x.reshape(x.shape[0], -1).float()
            return x if self.center is None or self.half_range is None else (x - self.center) / self.half_range
        x = x.reshape(x.shape[0], -1).long()
        parts = []
        for column, (count, start) in enumerate(zip(self.categories, self.offset, strict=True)):
            # Comparing with arange works on every device, meta included; F.one_hot reads the data back.
            values = torch.arange(start, start + count, device=x.device)
            parts.append((x[:, column : column + 1] == values).float())
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def space_to_json(space: gym.Space) -> dict[str, Any]:
    """A JSON description of a space of any supported kind."""
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {str(key): space_to_json(part) for key, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    if isinstance(space, MaskedBox):
        box = spaces.Box(space.low, space.high, dtype=space.dtype.type)
        return {**space_to_json(box), "type": "MaskedBox", "mask_size": space.mask_size}
    if isinstance(space, spaces.Box):
        # repr keeps infinities readable in strict JSON.
        return {
            "type": "Box",
            "low": _bound_to_json(space.low),
            "high": _bound_to_json(space.high),
            "shape": list(space.shape),
            "dtype": str(space.dtype),
        }
    raise InputError(f"space {space} is not supported; supported are {SUPPORTED}")


def _bound_to_json(bound: np.ndarray) -> list[str]:
    """One number where all are equal: an image would otherwise be described by its own size in text."""
    values = bound.reshape(-1)
    return [repr(float(v)) for v in (values[:1] if (values == values[:1]).all() else values)]


def _bound_from_json(texts: list[str], shape: list[int], dtype: np.dtype) -> np.ndarray:
    values = np.asarray([float(v) for v in texts]).astype(dtype)
    return np.full(shape, values[0]) if len(values) == 1 else values.reshape(shape)


def space_from_json(data: dict[str, Any]) -> gym.Space:
    """The inverse of :func:`space_to_json`."""
    kind = data.get("type")
    if kind == "Dict":
        return spaces.Dict({key: space_from_json(part) for key, part in data["spaces"].items()})
    if kind == "Tuple":
        return spaces.Tuple([space_from_json(part) for part in data["spaces"]])
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["shape"])
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        return spaces.MultiDiscrete(np.asarray(data["nvec"]), start=np.asarray(data["start"]))
    if kind == "Box":
        dtype = np.dtype(data["dtype"])
        low, high = (_bound_from_json(data[name], data["shape"], dtype) for name in ("low", "high"))
        return spaces.Box(low, high, tuple(data["shape"]), dtype.type)
    if kind == "MaskedBox":
        box = space_from_json({**data, "type": "Box"})
        assert isinstance(box, spaces.Box)
        return MaskedBox(box.low, box.high, data["mask_size"], box.dtype)
    raise InputError(f"space type {kind!r} is unknown; expected one of {SUPPORTED}")


def spaces_equal(a: gym.Space, b: gym.Space) -> bool:
    """Whether two spaces accept the same elements."""
    return space_to_json(a) == space_to_json(b)
