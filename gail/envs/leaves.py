"""Dict and Tuple spaces as flat dicts of plain spaces; imports no torch."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from gail.core.errors import InputError
from gail.core.leaves import Leaves

SUPPORTED = "Box, Discrete, MultiDiscrete, MultiBinary, and (for observations) Dict and Tuple of them"
_PLAIN = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def element_layout(space: gym.Space) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype of one element of a Box, Discrete, MultiDiscrete or MultiBinary space.

    Raises:
        InputError: for any other space.
    """
    if not isinstance(space, _PLAIN):
        raise InputError(f"space {space} is not supported; supported are {SUPPORTED}")
    assert space.shape is not None and space.dtype is not None
    return tuple(space.shape), np.dtype(space.dtype)


def leaf_spaces(space: gym.Space) -> Leaves:
    """``space`` itself, or its leaves by their path: nested keys joined by ``/``, in sorted order, tuples by number.

    Raises:
        InputError: where a key holds a ``/``, or two paths are the same.
    """
    parts = _parts(space)
    if parts is None:
        return space
    leaves: dict[str, gym.Space] = {}
    for key, part in parts:
        if "/" in key:
            raise InputError(f"space key {key!r} holds a '/', which joins nested keys; rename it")
        inner = leaf_spaces(part)
        found = {f"{key}/{name}": leaf for name, leaf in inner.items()} if isinstance(inner, dict) else {key: inner}
        if clash := leaves.keys() & found.keys():
            raise InputError(f"space has the key {min(clash)!r} twice; rename one")
        leaves |= found
    return leaves


def leaf_values(space: gym.Space, value: Any) -> Leaves:
    """An element of ``space`` as its leaves, keys as in :func:`leaf_spaces`.

    Raises:
        KeyError, IndexError, TypeError: where ``value`` lacks a part.
    """
    parts = _parts(space)
    if parts is None:
        return value
    leaves: dict[str, Any] = {}
    for key, part in parts:
        own = value[int(key)] if isinstance(space, spaces.Tuple) else value[_raw_key(space, key)]
        inner = leaf_values(part, own)
        leaves |= {f"{key}/{name}": leaf for name, leaf in inner.items()} if _parts(part) is not None else {key: inner}
    return leaves


def _parts(space: gym.Space) -> list[tuple[str, gym.Space]] | None:
    if isinstance(space, spaces.Dict):
        return sorted((str(key), part) for key, part in space.spaces.items())
    if isinstance(space, spaces.Tuple):
        return [(str(index), part) for index, part in enumerate(space.spaces)]
    return None


def _raw_key(space: gym.Space, key: str) -> Any:
    assert isinstance(space, spaces.Dict)
    return key if key in space.spaces else next(raw for raw in space.spaces if str(raw) == key)
