"""What experts did: trajectories (episodes as recorded) and transitions (what learners consume)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.core.leaves import Leaves, first_leaf, join_leaves, map_leaves, named_leaves

JOINED = "joined"
"""The ``kind`` of ``generator`` where several sets were joined; see :mod:`gail.demos.origin`."""


@dataclass(frozen=True)
class Trajectory:
    """One episode of T steps, or a piece of one."""

    observations: Leaves
    """``[T + 1, ...]``: the states acted in, then the last successor; of Dict and Tuple spaces one array per leaf."""
    actions: np.ndarray
    """``[T, ...]``: the actions as executed."""
    rewards: np.ndarray | None
    """``[T]``, or None where the file does not hold them."""
    terminated: bool | None
    """Whether the task ended at the last step; None where the file does not say."""
    truncated: bool | None
    """Whether the last step was cut by a time limit; None where the file does not say."""
    seed: int | None = None
    """The seed that the episode was reset with, where known."""
    agent: str | None = None
    """Whose trajectory it is, where the environment has several agents."""

    def __post_init__(self) -> None:
        length = len(self.actions)
        if length == 0:
            raise ValueError("a trajectory needs at least one step")
        for name, rows in named_leaves("observations", self.observations):
            if len(rows) != length + 1:
                raise ValueError(f"{length} actions need {length + 1} {name}, found {len(rows)}")
        if self.rewards is not None and self.rewards.shape != (length,):
            raise ValueError(f"{length} actions need rewards of shape ({length},), found {self.rewards.shape}")
        if self.terminated and self.truncated:
            raise ValueError("an episode is terminated or truncated, not both")

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total_reward(self) -> float | None:
        """The undiscounted return, or None where rewards are not recorded."""
        return None if self.rewards is None else float(np.sum(self.rewards, dtype=np.float64))


@dataclass(frozen=True)
class Demonstrations:
    """Trajectories of one environment with where they come from."""

    trajectories: tuple[Trajectory, ...]
    env_id: str | None = None
    """The Gymnasium id, or None where the file does not say."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """What the environment was made with."""
    source: str = ""
    """Who or what made them, in words."""
    kind: str = "episodes"
    """``episodes``, or ``transitions`` where the rows are unrelated steps."""
    generator: dict[str, Any] | None = None
    """Present exactly when any of the data is synthetic: kind, hash, seed, parent file's hash; of a joined set, the
    parts (see :mod:`gail.demos.origin`)."""
    path: Path | None = None
    """The file they were read from."""
    format: str = ""
    """The kind of file they were read from, as the loader sniffed it."""
    read_as: dict[str, Any] = field(default_factory=dict)
    """How the reader was told to read a file that does not describe itself; empty for all others."""
    dropped: int = 0
    """How many transitions were left out because the file holds no successor for them."""

    def __len__(self) -> int:
        return len(self.trajectories)

    def __iter__(self) -> Iterator[Trajectory]:
        return iter(self.trajectories)

    @property
    def steps(self) -> int:
        """The number of transitions."""
        return sum(len(t) for t in self.trajectories)

    @property
    def returns(self) -> np.ndarray | None:
        """``[E]`` undiscounted returns; None where any episode lacks rewards, or the rows are unrelated transitions."""
        if self.kind == "transitions":
            return None
        returns = [t.total_reward for t in self.trajectories]
        known = [r for r in returns if r is not None]
        return np.asarray(known, dtype=np.float64) if len(known) == len(returns) else None

    def first(self, episodes: int) -> Demonstrations:
        """The first ``episodes`` trajectories.

        Raises:
            InputError: where fewer are asked of a joined set, whose parts would no longer be as it lists them.
        """
        if self.generator is not None and self.generator.get("kind") == JOINED and episodes < len(self):
            raise InputError(
                f"{self.path or 'demonstrations'}: is joined of several sets, expected one of them: "
                f"cut them to {episodes} episodes before they are joined"
            )
        return replace(self, trajectories=self.trajectories[:episodes])


@dataclass(frozen=True)
class Transitions:
    """A batch of B steps: all that a discriminator or a transition generator sees."""

    obs: Leaves
    """``[B, ...]``: the states acted in; of Dict and Tuple spaces a flat dict of tensors."""
    actions: Tensor
    """``[B, ...]``: the actions as executed."""
    next_obs: Leaves
    """``[B, ...]``: the true successors, same shape and dtype as ``obs``."""
    terminated: Tensor
    """``[B]`` bool: whether the task ended at this step."""
    rewards: Tensor | None = None
    """``[B]``; discriminators never read it."""

    def __post_init__(self) -> None:
        batch = first_leaf(self.obs).shape[0]
        for (_, next_obs), (_, obs) in zip(named_leaves("", self.next_obs), named_leaves("", self.obs), strict=True):
            if next_obs.shape != obs.shape or next_obs.dtype != obs.dtype or obs.shape[0] != batch:
                raise ValueError(
                    f"next_obs must be like obs: {tuple(next_obs.shape)} {next_obs.dtype} against "
                    f"{tuple(obs.shape)} {obs.dtype}"
                )
        if self.actions.shape[0] != batch:
            raise ValueError(f"actions: {self.actions.shape[0]} rows, obs: {batch}")
        for name, value in (("terminated", self.terminated), ("rewards", self.rewards)):
            if value is not None and value.shape != (batch,):
                raise ValueError(f"{name} must have shape ({batch},), found {tuple(value.shape)}")
        if self.terminated.dtype != torch.bool:
            raise ValueError(f"terminated must be bool, found {self.terminated.dtype}")

    def __len__(self) -> int:
        return int(first_leaf(self.obs).shape[0])

    def __getitem__(self, index: Tensor | slice) -> Transitions:
        return Transitions(
            map_leaves(lambda leaf: leaf[index], self.obs),
            self.actions[index],
            map_leaves(lambda leaf: leaf[index], self.next_obs),
            self.terminated[index],
            None if self.rewards is None else self.rewards[index],
        )


def to_transitions(
    demos: Demonstrations,
    *,
    subsample: int = 1,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Transitions:
    """All steps of ``demos`` as one batch.

    Args:
        demos: the trajectories; an unknown ``terminated`` counts as False (the conservative reading:
            a learner then never believes that an episode ended there).
        subsample: keep one step in ``subsample`` of each trajectory, from a random first one
            (Ho & Ermon 2016, section 6).
        generator: draws the first step of each trajectory; needed with ``subsample > 1``.
        device: where the batch lives.
    """
    rows: dict[str, list[Leaves]] = {
        "obs": [],
        "actions": [],
        "next_obs": [],
        "terminated": [],
        "rewards": [],
    }
    for trajectory in demos:
        length = len(trajectory)
        start = 0
        if subsample > 1:
            if generator is None:
                raise ValueError("subsample > 1 needs a generator")
            start = int(torch.randint(min(subsample, length), (), generator=generator))
        keep = slice(start, length, subsample)
        ended = np.zeros(length, dtype=bool)
        ended[-1] = bool(trajectory.terminated)
        rows["obs"].append(map_leaves(lambda leaf, keep=keep: leaf[:-1][keep], trajectory.observations))
        rows["next_obs"].append(map_leaves(lambda leaf, keep=keep: leaf[1:][keep], trajectory.observations))
        rows["actions"].append(trajectory.actions[keep])
        rows["terminated"].append(ended[keep])
        if trajectory.rewards is not None:
            rows["rewards"].append(trajectory.rewards[keep])

    def stack(name: str) -> Leaves:
        return join_leaves(
            lambda pieces: torch.from_numpy(np.ascontiguousarray(np.concatenate(pieces))).to(device), rows[name]
        )

    has_rewards = len(rows["rewards"]) == len(demos)
    return Transitions(
        stack("obs"),
        stack("actions"),
        stack("next_obs"),
        stack("terminated"),
        stack("rewards") if has_rewards else None,
    )


def single_steps(rows: Transitions) -> tuple[Trajectory, ...]:
    """Unrelated steps with single observations, on the host, as trajectories of one step each: what a set of kind
    ``transitions`` holds.
    """
    states = torch.stack([rows.obs, rows.next_obs], 1).numpy()
    actions, ended = rows.actions.numpy(), rows.terminated.tolist()
    rewards = None if rows.rewards is None else rows.rewards.numpy()
    return tuple(
        Trajectory(
            states[row],
            actions[row : row + 1],
            None if rewards is None else rewards[row : row + 1],
            terminated=ended[row],
            truncated=False,
        )
        for row in range(len(rows))
    )
