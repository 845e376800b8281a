"""Rows of numbers as tokens, each number of a state a token of its own; and rows drawn token by token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from gail.demos.types import Trajectory

GOES_ON, TERMINATED, TRUNCATED, UNKNOWN = 0.0, 1.0, 2.0, 3.0
"""Values of the column that says whether a state is an episode's last."""


def end_code(trajectory: Trajectory) -> float:
    """Why an episode ended."""
    if trajectory.terminated:
        return TERMINATED
    known = trajectory.terminated is not None and trajectory.truncated is not None
    return TRUNCATED if trajectory.truncated or known else UNKNOWN


def ended_at(over: Tensor, longest: int) -> tuple[int, bool | None, bool | None]:
    """How many steps the episode has whose states say ``over`` ``[T]``, and whether it was terminated and truncated.

    It has at least one; where it is as long as the longest of the data without an end, it counts as truncated.
    """
    ends = torch.nonzero(over[1:] != GOES_ON).flatten()
    steps = int(ends[0]) + 1 if len(ends) else len(over) - 1
    why = float(over[steps]) if len(ends) else TRUNCATED if steps == longest else GOES_ON
    return (steps, None, None) if why == UNKNOWN else (steps, why == TERMINATED, why == TRUNCATED)


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
class ColumnCodec(ABC):
    """Windows of ``states`` successive states: a mark, then for each state a token per column.

    The mark says whether the window begins with the episode's first state.
    """

    states: int
    """States in a window."""
    longest: int
    """Steps of the longest episode; drawn ones are cut there."""
    bins: tuple[Bins, ...]
    """Of each of a state's columns."""

    @property
    @abstractmethod
    def over_column(self) -> int:
        """The column that says whether a state is the last."""

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

    def token(self, column: int, values: Tensor) -> Tensor:
        """The tokens of ``values`` in ``column``."""
        return self.bins[column].tokens(values) + self.offsets[column]

    def value(self, column: int, tokens: Tensor) -> Tensor:
        """What ``tokens`` of ``column`` stand for."""
        return self.bins[column].centers.to(tokens.device)[tokens - self.offsets[column]]

    def values(self, tokens: Tensor) -> Tensor:
        """What rows of tokens ``[..., width]`` stand for."""
        return torch.stack([self.value(column, tokens[..., column]) for column in range(self.width)], dim=-1)


class NextToken(Protocol):
    """What drawing episodes asks of a model; see :class:`gail.generators.token_model.TokenModel`."""

    @property
    def device(self) -> torch.device:
        """Where it is."""

    def start(self, n: int, labels: Tensor | None = None) -> tuple[Any, Tensor]:
        """As the token model's."""

    def feed(self, tokens: Tensor, state: Any) -> Tensor:
        """As the token model's."""


class Given(Protocol):
    """What is known of the rows that are drawn, beside what the model says."""

    def token(self, column: int) -> Tensor | None:
        """The tokens ``[n]`` of ``column`` in the current row; None: the model says."""

    def took(self, row: Tensor) -> None:
        """The row ``[n, width]`` is complete."""


def draw_rows(model: NextToken, codec: ColumnCodec, n: int, pick: Callable[[Tensor], Tensor], given: Given) -> Tensor:
    """Draw ``n`` episodes state by state.

    Args:
        model: gives logits of the next token.
        codec: of the data that the model learned from.
        n: how many.
        pick: draws tokens ``[n]`` from logits ``[n, k]``.
        given: what the model is not asked for.

    Returns:
        Tokens ``[n, 1 + (longest + 1) * width]``; after an episode's end they mean nothing.
    """
    device, width = model.device, codec.width
    rows = torch.zeros((n, codec.longest + 1, width), dtype=torch.int64, device=device)
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
            token = given.token(column)
            if token is None:
                low, high = codec.offsets[column], codec.offsets[column + 1]
                if column == codec.over_column and t == 0:
                    high = low + 1  # the first state is always played in; "goes on" is that column's first token
                token = low + pick(logits[:, low:high])
            rows[:, t, column] = token
            last = column == width - 1 and (inside + 1 == codec.states or t == codec.longest)
            if not last:
                logits = model.feed(token[:, None], state)
        inside += 1
        given.took(rows[:, t])
        finished |= codec.value(codec.over_column, rows[:, t, codec.over_column]) != GOES_ON
        if bool(finished.all()):
            rows[:, t + 1 :] = rows[:, t : t + 1]
            break
    return torch.cat([_mark(codec.start_mark, n, device), rows.flatten(1)], dim=1)


def _mark(token: int, n: int, device: torch.device) -> Tensor:
    return torch.full((n, 1), token, device=device)
