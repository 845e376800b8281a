"""From what a file recorded to trajectories: successors dropped, actions shifted, in one place."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gail.core.errors import InputError
from gail.core.leaves import Leaves, map_leaves, named_leaves
from gail.demos.columns import Columns
from gail.demos.errors import ROW_COUNTS, DemosError
from gail.demos.types import Trajectory


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about a file that the file itself does not."""

    columns: Columns | None = None
    """Which columns hold what, for the formats that have columns."""
    action_shift: int = 0
    """1 where row t holds the action that led *to* row t; 0 where it holds the action taken in row t."""
    env_id: str | None = None
    """The environment, where the user named it; its simulator can then find where episodes begin."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """What that environment is made with."""

    def __post_init__(self) -> None:
        if self.action_shift not in (0, 1):
            raise InputError(f"action_shift: expected 0 or 1, found {self.action_shift}")


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode as a file holds it."""

    observations: Leaves
    """``[T + 1, ...]``, or ``[T, ...]`` where the format stores no last successor."""
    actions: np.ndarray
    """``[T, ...]``."""
    rewards: np.ndarray | None = None
    """``[T]``, or None where not recorded."""
    terminated: bool | None = None
    """As in :class:`Trajectory`; both set means terminated (Gymnasium may set both at the limit)."""
    truncated: bool | None = None
    """As in :class:`Trajectory`."""
    seed: int | None = None
    """As in :class:`Trajectory`."""
    agent: str | None = None
    """As in :class:`Trajectory`."""


def assemble(
    path: Path, episodes: Iterable[RecordedEpisode], *, has_last_successor: bool, action_shift: int = 0
) -> tuple[tuple[Trajectory, ...], int]:
    """Trajectories from recorded episodes, and how many transitions had to be dropped.

    Without a last successor the last action leads nowhere known: that transition is dropped. With
    ``action_shift=1`` the action of row t is the one in row t + 1, so the *first* action (taken before
    the recording began) is dropped instead, and where a last successor exists, the transition to it too.
    Either way the end of the episode is no longer at the last kept step, so its flags become unknown.
    Rewards move with the actions.

    Raises:
        DemosError: where an episode's rows do not match (rule ``row-counts``) or nothing is left.
    """
    trajectories: list[Trajectory] = []
    dropped = 0
    for index, episode in enumerate(episodes):
        length = len(episode.actions)
        expected = length + 1 if has_last_successor else length
        for name, rows in named_leaves("observations", episode.observations):
            if len(rows) != expected:
                raise DemosError(
                    f"{path}: episode {index}: expected {expected} {name} for {length} actions, found {len(rows)}",
                    ROW_COUNTS,
                )
        if episode.rewards is not None and episode.rewards.shape != (length,):
            raise DemosError(
                f"{path}: episode {index}: expected {length} rewards, found shape {episode.rewards.shape}",
                ROW_COUNTS,
            )
        complete = has_last_successor and action_shift == 0
        kept = slice(0, length) if complete else slice(action_shift, action_shift + length - 1)
        count = len(episode.actions[kept])
        dropped += length - count
        if count == 0:
            continue
        trajectories.append(
            Trajectory(
                map_leaves(lambda rows, count=count: rows[: count + 1], episode.observations),
                episode.actions[kept],
                None if episode.rewards is None else episode.rewards[kept],
                episode.terminated if complete else None,
                (episode.truncated and not episode.terminated) if complete else None,
                episode.seed,
                episode.agent,
            )
        )
    if not trajectories:
        raise DemosError(f"{path}: no transition found; expected at least one step with its successor")
    return tuple(trajectories), dropped


def split_rows(value: np.ndarray, lengths: Sequence[int]) -> list[np.ndarray]:
    """``value`` cut along its first axis into pieces of ``lengths`` rows."""
    return np.split(value, np.cumsum(lengths)[:-1])
