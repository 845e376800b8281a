"""Observations of several parts: a flat dict of arrays or tensors, handled like a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

Leaves: TypeAlias = Any
"""An array or a tensor, or a flat dict of them that have their rows in common."""


def map_leaves(apply: Callable[..., Any], first: Leaves, *others: Leaves) -> Leaves:
    """``apply(leaf, ...)`` on every leaf; the others have the keys of the first."""
    if isinstance(first, dict):
        return {key: apply(leaf, *(other[key] for other in others)) for key, leaf in first.items()}
    return apply(first, *others)


def first_leaf(value: Leaves) -> Any:
    """One of the leaves: rows and device are the same in all."""
    return next(iter(value.values())) if isinstance(value, dict) else value


def named_leaves(name: str, value: Leaves) -> list[tuple[str, Any]]:
    """The leaves as ``name/key``, or ``name`` itself where there is one without a key."""
    if isinstance(value, dict):
        return [(f"{name}/{key}", leaf) for key, leaf in value.items()]
    return [(name, value)]


def join_leaves(apply: Callable[[list[Any]], Any], values: Iterable[Leaves]) -> Leaves:
    """``apply([leaf of each value])`` on every leaf: how rows are stacked or concatenated."""
    return map_leaves(lambda *leaves: apply(list(leaves)), *values)


def gather_leaves(name: str, arrays: Mapping[str, Any]) -> Leaves:
    """The inverse of :func:`named_leaves`: what ``arrays`` hold under ``name`` or ``name/key``; None where nothing."""
    if name in arrays:
        return arrays[name]
    found = {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}
    return found or None
