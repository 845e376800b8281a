"""Demonstrations as tokens of states, actions and innovations: what a linear model of the step leaves over.

A token says in which bin a number lies, so a model of tokens is a model of numbers with a piecewise density. Bins of
the states themselves are far wider than a step; an innovation has unit spread whatever the step's size
(:mod:`gail.generators.linear`), and the next state and the reward follow from it exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.generators.columns import GOES_ON, Bins, ColumnCodec, NextToken, draw_rows, end_code, ended_at
from gail.generators.dataset import Dataset
from gail.generators.fields import split_episodes
from gail.generators.linear import StepLikelihood
from gail.generators.returns import shaped
from gail.generators.transitions import SegmentCodec, describe_segments, episode_rows, padded, window_data


@dataclass(frozen=True)
class InnovationCodec(ColumnCodec):
    """A state's tokens: observation, whether it is the last (and why), action, innovations of the step that follows.

    Items are the numbers themselves, ``[1 + width, states]``, with the mark's column first.
    """

    kind: ClassVar[str] = "innovations"
    segments: SegmentCodec
    """Fields, scaling, and the linear model of the step."""

    @property
    def over_column(self) -> int:
        """See :class:`ColumnCodec`."""
        return self.segments.obs.size

    @property
    def innovations(self) -> slice:
        """The columns of the innovations."""
        first = self.over_column + 1 + self.segments.action.size
        return slice(first, first + self.segments.obs.size + 1)

    @cached_property
    def _edges(self) -> Tensor:
        """``[width, k]``: the bins' edges, filled up with infinity."""
        most = max(len(column.edges) for column in self.bins)
        return torch.stack([pad(column.edges, (0, most - len(column.edges)), value=torch.inf) for column in self.bins])

    def encode(self, items: Tensor) -> Tensor:
        """Items ``[B, 1 + width, states]`` as tokens ``[B, 1 + states * width]``."""
        values = items[:, 1:].permute(1, 0, 2).flatten(1).contiguous()
        places = torch.searchsorted(self._edges, values) + torch.tensor(self.offsets[:-1])[:, None]
        tokens = places.view(self.width, len(items), -1).permute(1, 2, 0).flatten(1)
        return torch.cat([items[:, 0, :1].long(), tokens], dim=1)

    def decode(self, samples: Tensor) -> Demonstrations:
        """Tokens ``[n, 1 + T * width]`` as episodes: up to the state that is the last, else ``T - 1`` steps."""
        tokens = samples.cpu()[:, 1:].reshape(len(samples), -1, self.width)
        columns = self.values(tokens)
        obs, seen, rewards = columns[:, 0, : self.over_column], [], []
        for row in columns.unbind(1):
            seen.append(obs)
            obs, reward = self.follow(obs, row)
            rewards.append(reward)
        states, paid = torch.stack(seen, 1), torch.stack(rewards, 1)
        acted, spec = columns[..., self.over_column + 1 : self.innovations.start], self.segments
        trajectories = []
        for episode in range(len(columns)):
            steps, terminated, truncated = ended_at(columns[episode, :, self.over_column], self.longest)
            trajectories.append(
                Trajectory(
                    shaped(states[episode, : steps + 1], spec.obs.shape, spec.obs.dtype),
                    shaped(acted[episode, :steps], spec.action.shape, spec.action.dtype),
                    paid[episode, :steps].double().numpy(),
                    terminated=terminated,
                    truncated=truncated,
                )
            )
        return Demonstrations(tuple(trajectories))

    def follow(self, obs: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
        """The states ``[n, D]`` and rewards ``[n]`` after ``obs`` ``[n, D]`` and the columns ``row`` ``[n, width]``.

        Clipped to what occurred, as all that is generated.
        """
        spec, size = self.segments, self.over_column
        action = spec.action.to_columns(row[:, size + 1 : self.innovations.start])
        known = torch.cat([obs, action], dim=1)
        scaled = spec.scaling.part(slice(0, known.shape[1])).apply(known)
        answer = spec.dynamics.answers(scaled, row[:, self.innovations])
        after = spec.scaling.part(slice(0, size)).undo(scaled[:, :size] + answer[:, :size])
        place = known.shape[1]
        return after, spec.scaling.part(slice(place, place + 1)).undo(answer[:, size:])[:, 0]

    def log_density(self, column: int, values: Tensor) -> Tensor:
        """Log-density of ``values`` of a column given their token: what the token's probability leaves open.

        Uniform in a bin between two edges: minus the log of its width. The outermost bins have no end; there the
        density falls exponentially, with the bin's mean.
        """
        bins = self.bins[column]
        token, last = bins.tokens(values), len(bins.edges)
        if last == 0:
            raise ValueError(f"column {column} has one bin, expected one with a density")
        inner = pad(bins.edges.diff().log().neg(), (1, 1))[token]
        low, high = bins.edges[0] - bins.centers[0], bins.centers[-1] - bins.edges[-1]
        below, above = (bins.edges[0] - values) / low, (values - bins.edges[-1]) / high
        return torch.where(token == 0, -below - low.log(), torch.where(token == last, -above - high.log(), inner))

    def step_likelihood(self, logits: Tensor, items: Tensor) -> StepLikelihood:
        """Of each state's step ``[B, states]``, by the ``logits`` ``[B, 1 + states * width, V]`` of all tokens."""
        dynamics, tokens = self.segments.dynamics, self.encode(items)[:, 1:].view(len(items), -1, self.width)
        logits = logits[:, 1:].float().cpu().view(*tokens.shape, -1)
        first = self.innovations.start
        total = torch.zeros(tokens.shape[:2])
        # The innovations with a density come first, so that the product of their factors is their density.
        for column in range(first, first + dynamics.scored):
            low, high = self.offsets[column], self.offsets[column + 1]
            chosen = (tokens[..., column] - low)[..., None]
            total += logits[:, :, column, low:high].log_softmax(-1).gather(-1, chosen)[..., 0]
            total += self.log_density(column, items[:, 1 + column])
        left = items[:, 1:][:, self.innovations].transpose(1, 2)
        played = items[:, 1 + self.over_column] == GOES_ON
        return StepLikelihood(total - dynamics.log_volume.float(), dynamics.log_prob(left), played)

    def to_tree(self) -> dict[str, Any]:
        """Bins and what they are of."""
        return {
            "kind": self.kind,
            "states": self.states,
            "longest": self.longest,
            "bins": [[column.centers, column.edges] for column in self.bins],
            "segments": self.segments.to_tree(),
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> InnovationCodec:
        """The inverse of :meth:`to_tree`."""
        bins = tuple(Bins(centers, edges) for centers, edges in tree["bins"])
        return cls(tree["states"], tree["longest"], bins, SegmentCodec.from_tree(tree["segments"]))


def innovation_data(demos: Demonstrations, *, states: int, bins: int, holdout: float = 0.0) -> Dataset:
    """Every window of ``states`` states; shorter episodes are one window, their last state repeated.

    Args:
        demos: episodes with rewards.
        states: per window, at least 2.
        bins: tokens that a column of numbers gets at most.
        holdout: the share of the episodes, from the end, that is held out.

    Raises:
        InputError: one line naming the file: where rewards are missing, observations are integers, shapes differ,
            values are not finite or nothing is left.
    """
    learned, held = split_episodes(demos, holdout)
    segments, _ = describe_segments(demos, learned, states)
    where = demos.path or "demonstrations"
    if segments.obs.count is not None:
        raise InputError(f"{where}: field 'observations' holds integers, a model of innovations needs numbers")
    columns = [padded(_columns(trajectory, segments), states) for trajectory in learned]
    found = tuple(Bins.of(column, bins) for column in torch.cat(columns).unbind(1))
    codec = InnovationCodec(states, segments.longest, found, segments)
    rows = [_marked(episode, codec) for episode in columns]
    kept = None if held is None else [_marked(_columns(trajectory, segments), codec) for trajectory in held]
    return window_data(demos, codec, rows, kept, states)


def _columns(trajectory: Trajectory, segments: SegmentCodec) -> Tensor:
    """``[T + 1, width]`` numbers of an episode's states; what the last does is what the one before did."""
    steps = len(trajectory)
    rows = segments.scaling.apply(episode_rows(trajectory, segments.obs, segments.action))
    known, size = segments.obs.columns + segments.action.columns, segments.obs.columns
    answers = torch.cat([rows.diff(dim=0)[:, :size], rows[:-1, known : known + 1]], dim=1)
    left = segments.dynamics.innovations(rows[:-1, :known], answers)
    over = torch.full((steps + 1, 1), GOES_ON)
    over[-1] = end_code(trajectory)
    actions = torch.from_numpy(trajectory.actions.reshape(steps, -1).astype(np.float32))
    done = padded(torch.cat([actions, left], dim=1), steps + 1)
    observed = torch.from_numpy(trajectory.observations.reshape(steps + 1, -1).astype(np.float32))
    return torch.cat([observed, over, done], dim=1)


def _marked(rows: Tensor, codec: InnovationCodec) -> Tensor:
    """The rows with the mark's column before them."""
    marks = torch.full((len(rows), 1), float(codec.middle_mark))
    marks[0] = codec.start_mark
    return torch.cat([marks, rows], dim=1)


class _States:
    """The state that follows from the innovation."""

    def __init__(self, codec: InnovationCodec) -> None:
        self.codec = codec
        self.obs: Tensor | None = None

    def token(self, column: int) -> Tensor | None:
        if self.obs is None or column >= self.codec.over_column:
            return None
        return self.codec.token(column, self.obs[:, column])

    def took(self, row: Tensor) -> None:
        columns = self.codec.values(row.cpu())
        obs = columns[:, : self.codec.over_column] if self.obs is None else self.obs
        self.obs, _ = self.codec.follow(obs, columns)


def sample_steps(model: NextToken, codec: InnovationCodec, n: int, pick: Callable[[Tensor], Tensor]) -> Tensor:
    """As :func:`gail.generators.columns.draw_rows`; every state but the first follows from the innovations."""
    return draw_rows(model, codec, n, pick, _States(codec))
