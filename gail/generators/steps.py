"""Steps of demonstrations as a table of numbers: what the audit compares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from gail.core.errors import InputError
from gail.demos.types import Demonstrations, to_transitions
from gail.envs.ids import same_environment
from gail.generators.fields import ArraySpec, describe_field

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """How a step becomes columns: state, action, next state; integers become one column per value."""

    obs: ArraySpec
    action: ArraySpec

    @property
    def names(self) -> list[str]:
        """Of the columns of :meth:`Steps.columns`."""
        return [
            f"{part}[{column}]"
            for part, spec in (("s", self.obs), ("a", self.action), ("s'", self.obs))
            for column in range(spec.columns)
        ]


@dataclass(frozen=True)
class Steps:
    """N steps with the episodes that they are from."""

    obs: np.ndarray
    """``[N, ...]``, as in the file."""
    actions: np.ndarray
    """``[N, ...]``, as in the file."""
    next_obs: np.ndarray
    """``[N, ...]``."""
    terminated: NDArray[np.bool_]
    """``[N]``; where the file does not say, False."""
    rewards: Array | None
    """``[N]``."""
    episode: NDArray[np.int64]
    """``[N]``: which episode each is of: those of agents that played together are one; unrelated transitions are one
    each."""

    def __len__(self) -> int:
        return len(self.episode)

    def __getitem__(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Steps:
        return Steps(
            self.obs[rows],
            self.actions[rows],
            self.next_obs[rows],
            self.terminated[rows],
            None if self.rewards is None else self.rewards[rows],
            self.episode[rows],
        )

    def columns(self, layout: Layout) -> Array:
        """State, action and next state of each step ``[N, C]``."""
        parts = ((layout.obs, self.obs), (layout.action, self.actions), (layout.obs, self.next_obs))
        return np.concatenate([spec.to_columns(torch.from_numpy(rows)).double().numpy() for spec, rows in parts], 1)


def layout_of(real: Demonstrations, other: Demonstrations) -> Layout:
    """The columns of both sets.

    Raises:
        InputError: one line naming the file: where values are not finite, observations are images or have several
            parts, or ``other`` is of another environment or has other shapes than ``real``.
    """
    if real.env_id and other.env_id and not same_environment(real.env_id, other.env_id):
        raise InputError(f"{name_of(other)}: field 'env_id': expected {real.env_id!r}, found {other.env_id!r}")
    specs = []
    for field in ("observations", "actions"):
        spec, found = (describe_field(demos, field) for demos in (real, other))
        if (spec.shape, np.dtype(spec.dtype).kind in "iub") != (found.shape, np.dtype(found.dtype).kind in "iub"):
            raise InputError(
                f"{name_of(other)}: field {field!r}: expected {spec.dtype} {list(spec.shape)} per step as in "
                f"{name_of(real)}, found {found.dtype} {list(found.shape)}"
            )
        specs.append(spec)
    for demos in (real, other):
        rewards = [t.rewards for t in demos if t.rewards is not None]
        if rewards and not np.isfinite(np.concatenate(rewards)).all():
            raise InputError(f"{name_of(demos)}: field 'rewards' holds NaN or infinity, expected numbers")
    return Layout(*specs)


def steps_of(demos: Demonstrations) -> Steps:
    """All steps of ``demos``, whose observations are single arrays."""
    rows = to_transitions(demos)
    return Steps(
        rows.obs.numpy(),
        rows.actions.numpy(),
        rows.next_obs.numpy(),
        rows.terminated.numpy(),
        None if rows.rewards is None else rows.rewards.double().numpy(),
        _episodes(demos)[trajectory_of(demos)],
    )


def trajectory_of(demos: Demonstrations) -> NDArray[np.int64]:
    """``[N]``: which trajectory each step is of."""
    return np.repeat(np.arange(len(demos)), [len(trajectory) for trajectory in demos])


def _episodes(demos: Demonstrations) -> NDArray[np.int64]:
    """``[E]``: a number from 0 on for each trajectory, the same for all agents of one reset.

    Those follow each other; joined sets may hold the same seed again.
    """
    resets = [None if t.agent is None else t.seed for t in demos]
    begins = [place == 0 or seed is None or seed != resets[place - 1] for place, seed in enumerate(resets)]
    return np.cumsum(begins) - 1


def name_of(demos: Demonstrations) -> str:
    """Its file, for messages."""
    return str(demos.path or "demonstrations")
