"""Checks that need the recorded numbers and the spaces, but no simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gail.core.leaves import named_leaves
from gail.demos.findings import Finding, SkippedCheck
from gail.demos.types import Demonstrations, Trajectory

TOLERANCE = 1e-5
"""How far beyond a bound a value may lie, relative to the bound: what rounding to float32 can do."""


def check_finite(demos: Demonstrations) -> Iterator[Finding]:
    """NaN and infinity in observations, actions and rewards."""
    for index, trajectory in enumerate(demos):
        fields = ("observations", "actions", "rewards")
        for name, value in (leaf for field in fields for leaf in named_leaves(field, getattr(trajectory, field))):
            if value is None or value.dtype.kind != "f":
                continue
            bad = ~np.isfinite(value)
            if bad.any():
                row = int(np.argmax(bad.reshape(len(value), -1).any(axis=1)))
                yield Finding(
                    "not-finite",
                    index,
                    f"{name}: found {int(bad.sum())} NaN or infinite values, first in row {row}",
                )


def check_duplicates(demos: Demonstrations) -> Iterator[Finding]:
    """Episodes whose observations and actions equal an earlier one's."""
    if demos.kind == "transitions":
        return
    first_with: dict[tuple[bytes, ...], int] = {}
    for index, trajectory in enumerate(demos):
        observations = named_leaves("observations", trajectory.observations)
        key = (*(rows.tobytes() for _, rows in observations), trajectory.actions.tobytes())
        earlier = first_with.setdefault(key, index)
        if earlier != index:
            yield Finding("duplicate-episodes", index, f"found the same rows as in episode {earlier}; expected others")


def check_returns(demos: Demonstrations) -> Iterator[Finding]:
    """Sets in which no episode earned anything."""
    returns = demos.returns
    if returns is not None and not returns.any():
        rewards_are_zero = not any(t.rewards is not None and t.rewards.any() for t in demos)
        found = "all rewards are 0" if rewards_are_zero else "all returns are 0"
        yield Finding("zero-returns", None, f"{found} in {len(demos)} episodes; expected an expert's rewards")


def check_end_flags(demos: Demonstrations) -> Iterator[Finding | SkippedCheck]:
    """Episodes that stop with neither flag set; unknown flags are no defect, only not checkable."""
    if demos.kind == "transitions":
        yield SkippedCheck("cut-without-truncated", "the rows are unrelated steps, not episodes")
        return
    unknown = 0
    for index, trajectory in enumerate(demos):
        if trajectory.terminated is None or trajectory.truncated is None:
            unknown += 1
        elif not trajectory.terminated and not trajectory.truncated:
            yield Finding(
                "cut-without-truncated",
                index,
                f"found an end after {len(trajectory)} steps with neither end flag set; expected one",
            )
    if unknown:
        yield SkippedCheck("cut-without-truncated", f"end flags are unknown in {unknown} of {len(demos)} episodes")


def check_spaces(demos: Demonstrations, observation_space: Any, action_space: Any) -> Iterator[Finding]:
    """Shape, dtype and bounds of every episode against the environment's spaces."""
    from gail.envs.leaves import leaf_spaces

    for index, trajectory in enumerate(demos):
        leaves = dict(named_leaves("observations", leaf_spaces(observation_space)))
        found = dict(named_leaves("observations", trajectory.observations))
        if found.keys() != leaves.keys():
            message = f"observations: found the parts {', '.join(found)}; expected {', '.join(leaves)}"
            yield Finding("wrong-shape", index, message)
        for name in found.keys() & leaves.keys():
            yield from _check_space(index, name, found[name], leaves[name])
        yield from _check_space(index, "actions", trajectory.actions, action_space)


def is_playable(trajectory: Trajectory, observation_space: Any, action_space: Any) -> bool:
    """Whether a simulator can play an episode again: finite rows, right shapes and kinds, actions of the space.

    States outside the observation space are playable: they are what follows a missed end.
    """
    return (
        not isinstance(trajectory.observations, dict)
        and trajectory.observations.shape[1:] == observation_space.shape
        and _same_kind(trajectory.observations.dtype, np.dtype(observation_space.dtype))
        and bool(np.isfinite(trajectory.observations).all() and np.isfinite(trajectory.actions).all())
        and not any(_check_space(0, "actions", trajectory.actions, action_space))
    )


def _check_space(index: int, name: str, value: np.ndarray, space: Any) -> Iterator[Finding]:
    from gymnasium import spaces

    if not isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary):
        return
    if value.shape[1:] != space.shape:
        message = f"{name}: found rows of shape {value.shape[1:]}; expected {space.shape}"
        yield Finding("wrong-shape", index, message)
        return
    if not _same_kind(value.dtype, np.dtype(space.dtype)):
        yield Finding("wrong-dtype", index, f"{name}: found {value.dtype}; expected {space.dtype}")
        return
    low, high = _bounds(space)
    if value.dtype == np.uint8 and low.max() <= 0 and high.min() >= 255:
        return  # bytes cannot be outside, and images are too many to look at each
    slack_low = TOLERANCE * np.maximum(1.0, np.abs(np.where(np.isfinite(low), low, 0.0)))
    slack_high = TOLERANCE * np.maximum(1.0, np.abs(np.where(np.isfinite(high), high, 0.0)))
    # NaN compares as False: it has its own rule.
    outside = (value < low - slack_low) | (value > high + slack_high)
    outside &= np.isfinite(value)
    if outside.any():
        row = int(np.argmax(outside.reshape(len(value), -1).any(axis=1)))
        first = value[outside][0]
        yield Finding(
            "outside-space",
            index,
            f"{name}: found {int(outside.sum())} values, first {first:.6g} in row {row}; expected {_range(low, high)}",
        )


def _same_kind(found: np.dtype, expected: np.dtype) -> bool:
    """Widths do not matter (float32 for float64, int64 for int32), except that bytes are images."""
    if expected == np.uint8:
        return found == expected
    integers = found.kind in "iu" and expected.kind in "iu"
    return found.kind == expected.kind or integers


def _bounds(space: Any) -> tuple[np.ndarray, np.ndarray]:
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        return space.low.astype(np.float64), space.high.astype(np.float64)
    if isinstance(space, spaces.MultiBinary):
        return np.asarray(0.0), np.asarray(1.0)
    start = np.asarray(space.start, dtype=np.float64)
    size = space.n if isinstance(space, spaces.Discrete) else space.nvec
    return start, start + size - 1


def _range(low: np.ndarray, high: np.ndarray) -> str:
    if np.unique(low).size == 1 and np.unique(high).size == 1:
        return f"[{np.ravel(low)[0]:g}, {np.ravel(high)[0]:g}]"
    return "the bounds of each column"
