"""Demonstrations as independent transitions, and as windows of episodes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gail.demos.info import file_hash
from gail.demos.types import Demonstrations, Trajectory, Transitions, single_steps, to_transitions
from gail.generators.dataset import Codec, Dataset, require_items
from gail.generators.fields import ArraySpec, Scaling, describe_field, origin_of, require_rewards, split_episodes
from gail.generators.linear import LinearDynamics, is_discrete


@dataclass(frozen=True)
class TransitionCodec:
    """One row per step: observation, action, change of the observation, reward (where recorded), terminated."""

    kind: ClassVar[str] = "transitions"
    obs: ArraySpec
    action: ArraySpec
    rewards: bool
    """Whether the data holds rewards."""
    scaling: Scaling
    """Of the columns in that order."""
    vocabulary: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, ...]:
        """One row."""
        return (len(self.scaling.mean),)

    def encode(self, items: Tensor) -> Tensor:
        """Rows ``[B, D]`` in units of their spread."""
        return self.scaling.apply(items)

    def transitions(self, samples: Tensor) -> Transitions:
        """Samples ``[n, D]`` as a batch of steps, on the host."""
        columns = self.scaling.undo(samples.float().cpu())
        sizes = [self.obs.columns, self.action.columns, self.obs.columns, int(self.rewards), 1]
        obs, action, change, reward, terminated = columns.split(sizes, dim=1)
        first = self.obs.from_columns(obs)
        # Where the observation is an integer, the "change" holds the successor itself: see `_columns`.
        successor = obs + change if self.obs.count is None else change
        low, high = self.scaling.low[: self.obs.columns], self.scaling.high[: self.obs.columns]
        second = self.obs.from_columns(successor.clamp(low, high) if self.obs.count is None else successor)
        return Transitions(
            torch.from_numpy(first),
            torch.from_numpy(self.action.from_columns(action)),
            torch.from_numpy(second),
            terminated[:, 0] > 0.5,
            reward[:, 0].double() if self.rewards else None,
        )

    def decode(self, samples: Tensor) -> Demonstrations:
        """Samples ``[n, D]`` as demonstrations of kind ``transitions``: each is a trajectory of one step."""
        return Demonstrations(single_steps(self.transitions(samples)), kind="transitions")

    def to_tree(self) -> dict[str, Any]:
        """Fields and scaling."""
        return {
            "kind": self.kind,
            "obs": self.obs.to_tree(),
            "action": self.action.to_tree(),
            "rewards": self.rewards,
            "scaling": self.scaling.to_tree(),
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> TransitionCodec:
        """The inverse of :meth:`to_tree`."""
        obs, action = (ArraySpec.from_tree(tree[name]) for name in ("obs", "action"))
        return cls(obs, action, tree["rewards"], Scaling.from_tree(tree["scaling"]))


def transition_data(demos: Demonstrations, *, holdout: float = 0.0) -> Dataset:
    """Every step of ``demos`` as a row; the last ``holdout`` share of the episodes is held out.

    Raises:
        InputError: one line naming the file: where shapes differ, values are not finite or nothing is left.
    """
    obs, action = describe_field(demos, "observations"), describe_field(demos, "actions")
    rewards = all(trajectory.rewards is not None for trajectory in demos)
    if rewards:
        require_rewards(demos, "a model of rewards")
    learned, held = split_episodes(demos, holdout)
    require_items(demos.path or "demonstrations", "transitions", learned.steps)
    items, codec = rows_and_codec(to_transitions(learned), obs, action, rewards=rewards)
    return Dataset(
        items,
        codec,
        held_out=None if held is None else Dataset(_columns(to_transitions(held), obs, action, rewards), codec),
        origin=origin_of(demos, file_hash(demos.path) if demos.path else None),
    )


def transition_rows(demos: Demonstrations, rows: Transitions) -> tuple[Tensor, TransitionCodec]:
    """Items ``[N, D]`` of the given ``rows`` of ``demos``, without rewards, and their codec.

    Raises:
        InputError: as :func:`transition_data`.
    """
    obs, action = describe_field(demos, "observations"), describe_field(demos, "actions")
    require_items(demos.path or "demonstrations", "transitions", len(rows))
    return rows_and_codec(rows, obs, action, rewards=False)


def rows_and_codec(
    rows: Transitions, obs: ArraySpec, action: ArraySpec, *, rewards: bool
) -> tuple[Tensor, TransitionCodec]:
    """Items ``[N, D]`` of ``rows``, on the host, and the codec whose scales are theirs."""
    items = _columns(rows, obs, action, rewards).cpu()
    return items, TransitionCodec(obs, action, rewards, _scaling(items, obs, action))


def _scaling(items: Tensor, obs: ArraySpec, action: ArraySpec) -> Scaling:
    """Of the columns; the range of observations is that of the states before and after."""
    scaling = Scaling.of(items)
    if obs.count is not None:
        return scaling
    size, start = obs.columns, obs.columns + action.columns
    after = items[:, :size] + items[:, start : start + size]
    low, high = scaling.low.clone(), scaling.high.clone()
    low[:size] = torch.minimum(low[:size], after.amin(0))
    high[:size] = torch.maximum(high[:size], after.amax(0))
    return replace(scaling, low=low, high=high)


def _columns(rows: Transitions, obs: ArraySpec, action: ArraySpec, rewards: bool) -> Tensor:
    before, after = obs.to_columns(rows.obs), obs.to_columns(rows.next_obs)
    # A small change beside a large state would drown in the state's scale.
    change = after - before if obs.count is None else after
    parts = [before, action.to_columns(rows.actions), change]
    if rewards and rows.rewards is not None:
        parts.append(rows.rewards.float()[:, None])
    return torch.cat([*parts, rows.terminated.float()[:, None]], dim=1)


@dataclass(frozen=True)
class SegmentCodec:
    """``length`` successive states with what was done in them: ``[D, length]``, columns as channels.

    The columns of a state are: observation, action, reward, ``over`` (1 from the last state of an episode on, where
    nothing is done any more: action and reward are 0 there) and ``terminated`` (1 where that end was a termination).
    """

    kind: ClassVar[str] = "segments"
    obs: ArraySpec
    action: ArraySpec
    length: int
    scaling: Scaling
    dynamics: LinearDynamics
    """Of the columns in units of their spread."""
    starts: Tensor
    """``[E, obs columns]``: the states in which the episodes began, in the data's own units."""
    longest: int
    """Steps of the longest episode."""
    vocabulary: ClassVar[None] = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels and length."""
        return (len(self.scaling.mean), self.length)

    @property
    def sizes(self) -> list[int]:
        """Columns of observation, action, reward, over, terminated."""
        return [self.obs.columns, self.action.columns, 1, 1, 1]

    def encode(self, items: Tensor) -> Tensor:
        """Windows ``[B, D, length]`` in units of their spread."""
        return self.scaling.apply(items.transpose(1, 2)).transpose(1, 2)

    def decode(self, samples: Tensor) -> Demonstrations:
        """Samples ``[n, D, length]`` as episodes: up to the state that is ``over``, else ``length - 1`` steps."""
        columns = self.scaling.undo(samples.float().cpu().transpose(1, 2))
        trajectories = []
        for window in columns:
            obs, action, reward, over, terminated = window.split(self.sizes, dim=1)
            # The first state is always played in: an episode has at least one step.
            ends = torch.nonzero(over[1:, 0] > 0.5).flatten()
            steps = int(ends[0]) + 1 if len(ends) else self.length - 1
            ended = bool(len(ends)) and bool(terminated[steps, 0] > 0.5)
            trajectories.append(
                Trajectory(
                    self.obs.from_columns(obs[: steps + 1]),
                    self.action.from_columns(action[:steps]),
                    reward[:steps, 0].double().numpy(),
                    terminated=ended,
                    truncated=bool(len(ends)) and not ended,
                )
            )
        return Demonstrations(tuple(trajectories))

    def to_tree(self) -> dict[str, Any]:
        """Fields, length and scaling."""
        return {
            "kind": self.kind,
            "obs": self.obs.to_tree(),
            "action": self.action.to_tree(),
            "length": self.length,
            "scaling": self.scaling.to_tree(),
            "dynamics": self.dynamics.to_tree(),
            "starts": self.starts,
            "longest": self.longest,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> SegmentCodec:
        """The inverse of :meth:`to_tree`."""
        obs, action = (ArraySpec.from_tree(tree[name]) for name in ("obs", "action"))
        scaling, dynamics = Scaling.from_tree(tree["scaling"]), LinearDynamics.from_tree(tree["dynamics"])
        return cls(obs, action, tree["length"], scaling, dynamics, tree["starts"], tree["longest"])


def segment_data(demos: Demonstrations, *, length: int, holdout: float = 0.0) -> Dataset:
    """Every window of ``length`` states as an item; shorter episodes are one window, their last state repeated.

    Raises:
        InputError: one line naming the file: where rewards are missing, shapes differ, values are not finite or nothing
            is left.
    """
    learned, held = split_episodes(demos, holdout)
    codec, rows = describe_segments(demos, learned, length)
    return window_data(demos, codec, rows, None if held is None else state_rows(held, codec), length)


def window_data(
    demos: Demonstrations, codec: Codec, learned: list[Tensor], held: list[Tensor] | None, length: int
) -> Dataset:
    """Windows of ``length`` states of the rows ``[T, D]`` of episodes of ``demos``; ``held`` are kept from training.

    Raises:
        InputError: where there is none.
    """
    items, index = episode_windows(learned, length)
    require_items(demos.path or "demonstrations", f"windows of {length} states", len(index))
    held_out = None
    if held is not None:
        kept, places = held_out_windows(held, length)
        held_out = Dataset(kept, codec, index=places)
    origin = origin_of(demos, file_hash(demos.path) if demos.path else None)
    return Dataset(items, codec, index=index, held_out=held_out, origin=origin)


def describe_segments(demos: Demonstrations, learned: Demonstrations, length: int) -> tuple[SegmentCodec, list[Tensor]]:
    """The codec of segments of ``demos``, by the statistics of the episodes ``learned`` of it, and those as rows.

    Raises:
        InputError: as :func:`segment_data`.
    """
    obs, action = describe_field(demos, "observations"), describe_field(demos, "actions")
    require_rewards(demos, "a model of episodes")
    rows = [episode_rows(trajectory, obs, action) for trajectory in learned]
    scaling = Scaling.of(torch.cat(rows))
    scaled = [scaling.apply(episode) for episode in rows]
    known = obs.columns + action.columns
    inputs = torch.cat([episode[:-1, :known] for episode in scaled])
    changes = torch.cat([episode.diff(dim=0)[:, : obs.columns] for episode in scaled])
    rewards = torch.cat([episode[:-1, known : known + 1] for episode in scaled])
    discrete = is_discrete(torch.cat([inputs[:, : obs.columns], rewards], 1))
    dynamics = LinearDynamics.fit(inputs, torch.cat([changes, rewards], 1), discrete)
    starts = torch.stack([episode[0, : obs.columns] for episode in rows])
    codec = SegmentCodec(obs, action, length, scaling, dynamics, starts, max(map(len, learned)))
    return codec, [padded(episode, length) for episode in rows]


def padded(rows: Tensor, length: int) -> Tensor:
    """Rows ``[T, D]`` of an episode, the last one repeated until there are ``length``."""
    missing = length - len(rows)
    return torch.cat([rows, rows[-1:].expand(missing, -1)]) if missing > 0 else rows


def held_out_windows(episodes: list[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """Windows side by side, so that no state counts twice; an episode's last window is filled with its last state."""
    whole = [padded(rows, -(-len(rows) // length) * length) for rows in episodes]
    return episode_windows(whole, length, stride=length)


def episode_windows(episodes: list[Tensor], length: int, *, stride: int = 1) -> tuple[Tensor, Tensor]:
    """Windows ``[S, D, length]`` of the rows ``[T_i, D]`` of episodes, and which of them lie within one episode.

    The windows are views of one array. Every ``stride``-th window of an episode counts, from its first on.
    """
    rows = torch.cat(episodes)
    starts, first = [], 0
    for episode in episodes:
        starts.append(torch.arange(first, first + len(episode) - length + 1, stride))
        first += len(episode)
    return rows.unfold(0, length, 1), torch.cat(starts)


def state_rows(demos: Demonstrations, codec: SegmentCodec) -> list[Tensor]:
    """Columns ``[max(T + 1, length), D]`` of each episode's states."""
    return [padded(episode_rows(trajectory, codec.obs, codec.action), codec.length) for trajectory in demos]


def episode_rows(trajectory: Trajectory, obs: ArraySpec, action: ArraySpec) -> Tensor:
    """Columns ``[T + 1, D]`` of an episode's states."""
    states = obs.to_columns(torch.from_numpy(trajectory.observations))
    acts = action.to_columns(torch.from_numpy(trajectory.actions))
    rewards = torch.from_numpy(np.asarray(trajectory.rewards, np.float32))[:, None]
    flags = torch.zeros(len(trajectory) + 1, 2)
    flags[-1] = torch.tensor([1.0, float(bool(trajectory.terminated))])
    blank = torch.zeros(1, acts.shape[1] + 1)
    return torch.cat([states, torch.cat([torch.cat([acts, rewards], 1), blank]), flags], 1)
