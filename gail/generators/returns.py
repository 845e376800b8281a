"""Demonstrations as token sequences of returns, states and actions, and episodes drawn to a return that is asked for.

Every number of a state is a token of its own, as in the trajectory transformer (Janner et al. 2021); the return to go
comes first, so that asking for one conditions all that follows (decision transformer, Chen et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from gail.demos.info import file_hash
from gail.demos.types import Demonstrations, Trajectory
from gail.generators.dataset import Dataset, require_items
from gail.generators.fields import describe_field, origin_of, require_rewards, split_episodes
from gail.generators.transitions import episode_windows

_GOES_ON, _TERMINATED, _TRUNCATED, _UNKNOWN = 0.0, 1.0, 2.0, 3.0
"""Values of the column that says whether a state is an episode's last."""


@dataclass(frozen=True)
class Bins:
    """One column's values as a few tokens."""

    centers: Tensor
    """``[k]`` rising: what each token stands for."""
    edges: Tensor
    """``[k - 1]``: where one token ends and the next begins."""

    @classmethod
    def of(cls, values: Tensor, most: int) -> Bins:
        """At most ``most`` bins of ``values`` ``[N]``: values of their own where few, else equally full."""
        distinct = values.unique()
        if len(distinct) <= most:
            return cls(distinct, (distinct[1:] + distinct[:-1]) / 2)
        shares = torch.linspace(0, 1, most + 1, dtype=torch.float64)[1:-1]
        edges = torch.from_numpy(np.quantile(values.double().numpy(), shares.numpy())).float().unique()
        place = torch.bucketize(values.contiguous(), edges)
        count = torch.zeros(len(edges) + 1).scatter_add_(0, place, torch.ones_like(values, dtype=torch.float32))
        total = torch.zeros(len(edges) + 1, dtype=torch.float64).scatter_add_(0, place, values.double())
        full = torch.nonzero(count).flatten()
        return cls((total[full] / count[full]).float(), edges[full[1:] - 1])

    def tokens(self, values: Tensor) -> Tensor:
        """Which bin each of ``values`` is in."""
        return torch.bucketize(values.contiguous(), self.edges)


@dataclass(frozen=True)
class ReturnCodec:
    """Windows of ``states`` successive states: a mark, then for each state its tokens.

    A state's tokens: return to go, observation, whether it is the last (and why), action, reward. The mark says whether
    the window begins with the episode's first state.
    """

    kind: ClassVar[str] = "returns"
    obs_shape: tuple[int, ...]
    obs_dtype: str
    action_shape: tuple[int, ...]
    action_dtype: str
    states: int
    """States in a window."""
    longest: int
    """Steps of the longest episode; drawn ones are cut there."""
    bins: tuple[Bins, ...]
    """Of each of a state's columns."""

    @property
    def width(self) -> int:
        """Tokens per state."""
        return len(self.bins)

    @property
    def shape(self) -> tuple[int, ...]:
        """One window."""
        return (1 + self.states * self.width,)

    @property
    def vocabulary(self) -> int:
        """Each column has tokens of its own; two marks come last."""
        return self.offsets[-1] + 2

    @cached_property
    def offsets(self) -> list[int]:
        """Where each column's tokens begin; one more entry says where the last column's end."""
        return [0, *np.cumsum([len(column.centers) for column in self.bins]).tolist()]

    @property
    def start_mark(self) -> int:
        """Begins a window at an episode's first state."""
        return self.offsets[-1]

    @property
    def middle_mark(self) -> int:
        """Begins a window anywhere else."""
        return self.offsets[-1] + 1

    @property
    def _obs(self) -> slice:
        return slice(1, 1 + int(np.prod(self.obs_shape, dtype=np.int64)))

    @property
    def over_column(self) -> int:
        """The column that says whether a state is the last."""
        return self._obs.stop

    def encode(self, items: Tensor) -> Tensor:
        """Rows ``[B, 1 + width, states]`` (the mark's column first) as tokens ``[B, 1 + states * width]``."""
        rows = items.long()
        return torch.cat([rows[:, 0, :1], rows[:, 1:].transpose(1, 2).flatten(1)], dim=1)

    def token(self, column: int, values: Tensor) -> Tensor:
        """The tokens of ``values`` in ``column``."""
        return self.bins[column].tokens(values) + self.offsets[column]

    def value(self, column: int, tokens: Tensor) -> Tensor:
        """What ``tokens`` of ``column`` stand for."""
        return self.bins[column].centers.to(tokens.device)[tokens - self.offsets[column]]

    def decode(self, samples: Tensor) -> Demonstrations:
        """Tokens ``[n, 1 + T * width]`` as episodes: up to the state that is the last, else ``T - 1`` steps.

        An episode that is as long as the longest of the data without an end counts as truncated.
        """
        tokens = samples.cpu()[:, 1:].reshape(len(samples), -1, self.width)
        columns = torch.stack([self.value(column, tokens[..., column]) for column in range(self.width)], dim=-1)
        trajectories = []
        for rows in columns:
            over = rows[:, self.over_column]
            ends = torch.nonzero(over[1:] != _GOES_ON).flatten()
            steps = int(ends[0]) + 1 if len(ends) else len(rows) - 1
            why = float(over[steps]) if len(ends) else _TRUNCATED if steps == self.longest else _GOES_ON
            trajectories.append(
                Trajectory(
                    _shaped(rows[: steps + 1, self._obs], self.obs_shape, self.obs_dtype),
                    _shaped(rows[:steps, self.over_column + 1 : -1], self.action_shape, self.action_dtype),
                    rows[:steps, -1].double().numpy(),
                    terminated=None if why == _UNKNOWN else why == _TERMINATED,
                    truncated=None if why == _UNKNOWN else why == _TRUNCATED,
                )
            )
        return Demonstrations(tuple(trajectories))

    def to_tree(self) -> dict[str, Any]:
        """Shapes and bins."""
        return {
            "kind": self.kind,
            "obs": [list(self.obs_shape), self.obs_dtype],
            "action": [list(self.action_shape), self.action_dtype],
            "states": self.states,
            "longest": self.longest,
            "bins": [[column.centers, column.edges] for column in self.bins],
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> ReturnCodec:
        """The inverse of :meth:`to_tree`."""
        (obs_shape, obs_dtype), (action_shape, action_dtype) = tree["obs"], tree["action"]
        bins = tuple(Bins(centers, edges) for centers, edges in tree["bins"])
        return cls(
            tuple(obs_shape), obs_dtype, tuple(action_shape), action_dtype, tree["states"], tree["longest"], bins
        )


def _shaped(columns: Tensor, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    values = columns.numpy().reshape(len(columns), *shape)
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def return_data(demos: Demonstrations, *, states: int, bins: int, holdout: float = 0.0) -> Dataset:
    """Every window of ``states`` states as tokens; shorter episodes are one window, their last state repeated.

    Args:
        demos: episodes with rewards.
        states: per window, at least 2.
        bins: tokens that a column of numbers gets at most.
        holdout: the share of the episodes, from the end, that is held out.

    Raises:
        InputError: one line naming the file: where rewards are missing, shapes differ, values are not finite or nothing
            is left.
    """
    obs, action = describe_field(demos, "observations"), describe_field(demos, "actions")
    require_rewards(demos, "the return to go")
    learned, held = split_episodes(demos, holdout)
    columns = [_columns(trajectory, states) for trajectory in learned]
    together = torch.cat(columns)
    codec = ReturnCodec(
        obs.shape,
        obs.dtype,
        action.shape,
        action.dtype,
        states,
        max(len(trajectory) for trajectory in learned),
        tuple(Bins.of(column, bins) for column in together.unbind(1)),
    )
    items, index = episode_windows([_tokens(rows, codec) for rows in columns], states)
    require_items(demos.path or "demonstrations", f"windows of {states} states", len(index))
    held_out = None
    if held is not None:
        rows = [_tokens(_columns(trajectory, states), codec) for trajectory in held]
        kept, places = episode_windows(rows, states, stride=states)
        held_out = Dataset(kept, codec, index=places)
    origin = origin_of(demos, file_hash(demos.path) if demos.path else None)
    return Dataset(items, codec, index=index, held_out=held_out, origin=origin)


def _columns(trajectory: Trajectory, states: int) -> Tensor:
    """``[max(T + 1, states), width]`` numbers of an episode's states; what the last does is what the one before did."""
    steps = len(trajectory)
    rewards = np.append(np.asarray(trajectory.rewards, np.float64), 0.0)
    to_go = np.cumsum(rewards[::-1])[::-1]
    actions = trajectory.actions.reshape(steps, -1)
    over = np.zeros(steps + 1)
    known = trajectory.terminated is not None and trajectory.truncated is not None
    over[-1] = _TERMINATED if trajectory.terminated else _TRUNCATED if trajectory.truncated or known else _UNKNOWN
    rewards[-1] = rewards[-2]
    parts = [
        to_go,
        trajectory.observations.reshape(steps + 1, -1),
        over,
        np.concatenate([actions, actions[-1:]]),
        rewards,
    ]
    rows = torch.from_numpy(np.column_stack(parts).astype(np.float32))
    missing = states - (steps + 1)
    return torch.cat([rows, rows[-1:].expand(missing, -1)]) if missing > 0 else rows


def _tokens(columns: Tensor, codec: ReturnCodec) -> Tensor:
    """The mark and the tokens ``[T, 1 + width]`` of an episode's states."""
    marks = torch.full((len(columns),), codec.middle_mark)
    marks[0] = codec.start_mark
    found = [codec.token(column, values) for column, values in enumerate(columns.unbind(1))]
    return torch.stack([marks, *found], dim=1).to(torch.int16 if codec.vocabulary < 2**15 else torch.int32)


class _NextToken(Protocol):
    """What drawing episodes asks of a model; see :class:`gail.generators.token_model.TokenModel`."""

    @property
    def device(self) -> torch.device: ...

    def start(self, n: int, labels: Tensor | None = None) -> tuple[Any, Tensor]: ...

    def feed(self, tokens: Tensor, state: Any) -> Tensor: ...


def sample_episodes(
    model: _NextToken,
    codec: ReturnCodec,
    n: int,
    pick: Callable[[Tensor], Tensor],
    *,
    target_return: float | None = None,
) -> Tensor:
    """Draw ``n`` episodes state by state.

    Args:
        model: gives logits of the next token.
        codec: of the data that the model learned from.
        n: how many.
        pick: draws tokens ``[n]`` from logits ``[n, k]``.
        target_return: the return to ask for (beyond the best or worst of the data, that is meant); None draws one.
            From then on the return to go is that minus the rewards so far.

    Returns:
        Tokens ``[n, 1 + (longest + 1) * width]``; after an episode's end they mean nothing.
    """
    device, width = model.device, codec.width
    rows = torch.zeros((n, codec.longest + 1, width), dtype=torch.int64, device=device)
    to_go = None if target_return is None else torch.full((n,), float(target_return), device=device)
    finished = torch.zeros(n, dtype=torch.bool, device=device)
    state, _ = model.start(n)
    logits = model.feed(_mark(codec.start_mark, n, device), state)
    inside = 0
    for t in range(codec.longest + 1):
        if inside == codec.states:
            inside = codec.states // 2
            state, _ = model.start(n)
            recent = rows[:, t - inside : t].flatten(1)
            logits = model.feed(torch.cat([_mark(codec.middle_mark, n, device), recent], dim=1), state)
        for column in range(width):
            if column == 0 and to_go is not None:
                token = codec.token(0, to_go.cpu()).to(device)
            else:
                low, high = codec.offsets[column], codec.offsets[column + 1]
                if column == codec.over_column and t == 0:
                    high = low + 1  # the first state is always played in; "goes on" is that column's first token
                token = low + pick(logits[:, low:high])
            rows[:, t, column] = token
            last = column == width - 1 and (inside + 1 == codec.states or t == codec.longest)
            if not last:
                logits = model.feed(token[:, None], state)
        inside += 1
        to_go = codec.value(0, rows[:, t, 0]) if to_go is None else to_go
        to_go = to_go - codec.value(width - 1, rows[:, t, -1])
        finished |= codec.value(codec.over_column, rows[:, t, codec.over_column]) != _GOES_ON
        if bool(finished.all()):
            rows[:, t + 1 :] = rows[:, t : t + 1]
            break
    return torch.cat([_mark(codec.start_mark, n, device), rows.flatten(1)], dim=1)


def _mark(token: int, n: int, device: torch.device) -> Tensor:
    return torch.full((n, 1), token, device=device)
