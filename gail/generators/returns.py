"""Demonstrations as token sequences of returns, states and actions, and episodes drawn to a return that is asked for.

Every number of a state is a token of its own, as in the trajectory transformer (Janner et al. 2021); the return to go
comes first, so that asking for one conditions all that follows (decision transformer, Chen et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from gail.demos.types import Demonstrations, Trajectory
from gail.generators.columns import Bins, ColumnCodec, NextToken, draw_rows, end_code, ended_at
from gail.generators.dataset import Dataset
from gail.generators.fields import describe_field, require_rewards, split_episodes
from gail.generators.transitions import padded, window_data


@dataclass(frozen=True)
class ReturnCodec(ColumnCodec):
    """A state's tokens: return to go, observation, whether it is the last (and why), action, reward."""

    kind: ClassVar[str] = "returns"
    obs_shape: tuple[int, ...]
    obs_dtype: str
    action_shape: tuple[int, ...]
    action_dtype: str
    actions_only: bool = False
    """Whether the model learns the actions alone: it then plays, and draws no episodes."""

    @property
    def _obs(self) -> slice:
        return slice(1, 1 + int(np.prod(self.obs_shape, dtype=np.int64)))

    @property
    def over_column(self) -> int:
        """The column that says whether a state is the last."""
        return self._obs.stop

    @property
    def action_tokens(self) -> tuple[int, int]:
        """Where the tokens of the actions begin and end."""
        return self.offsets[self.over_column + 1], self.offsets[-2]

    def of_actions(self, sequences: Tensor) -> Tensor:
        """What ``sequences`` ``[B, 1 + states * width, ...]`` hold for actions, ``[B, states, columns, ...]``."""
        return sequences[:, 1:].unflatten(1, (self.states, self.width))[:, :, self.over_column + 1 : -1]

    def encode(self, items: Tensor) -> Tensor:
        """Rows ``[B, 1 + width, states]`` (the mark's column first) as tokens ``[B, 1 + states * width]``."""
        rows = items.long()
        return torch.cat([rows[:, 0, :1], rows[:, 1:].transpose(1, 2).flatten(1)], dim=1)

    def decode(self, samples: Tensor) -> Demonstrations:
        """Tokens ``[n, 1 + T * width]`` as episodes: up to the state that is the last, else ``T - 1`` steps.

        An episode that is as long as the longest of the data without an end counts as truncated.
        """
        tokens = samples.cpu()[:, 1:].reshape(len(samples), -1, self.width)
        columns = self.values(tokens)
        trajectories = []
        for rows in columns:
            steps, terminated, truncated = ended_at(rows[:, self.over_column], self.longest)
            trajectories.append(
                Trajectory(
                    shaped(rows[: steps + 1, self._obs], self.obs_shape, self.obs_dtype),
                    shaped(rows[:steps, self.over_column + 1 : -1], self.action_shape, self.action_dtype),
                    rows[:steps, -1].double().numpy(),
                    terminated=terminated,
                    truncated=truncated,
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
            "actions_only": self.actions_only,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> ReturnCodec:
        """The inverse of :meth:`to_tree`."""
        (obs_shape, obs_dtype), (action_shape, action_dtype) = tree["obs"], tree["action"]
        bins = tuple(Bins(centers, edges) for centers, edges in tree["bins"])
        return cls(
            tree["states"],
            tree["longest"],
            bins,
            tuple(obs_shape),
            obs_dtype,
            tuple(action_shape),
            action_dtype,
            tree.get("actions_only", False),
        )


def shaped(columns: Tensor, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Columns ``[T, k]`` as values ``[T, *shape]`` of a numpy type."""
    values = columns.numpy().reshape(len(columns), *shape)
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def return_data(
    demos: Demonstrations, *, states: int, bins: int, holdout: float = 0.0, actions_only: bool = False
) -> Dataset:
    """Every window of ``states`` states as tokens; shorter episodes are one window, their last state repeated.

    Args:
        demos: episodes with rewards.
        states: per window, at least 2.
        bins: tokens that a column of numbers gets at most.
        holdout: the share of the episodes, from the end, that is held out.
        actions_only: whether the actions alone are learned.

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
        states,
        max(len(trajectory) for trajectory in learned),
        tuple(Bins.of(column, bins) for column in together.unbind(1)),
        obs.shape,
        obs.dtype,
        action.shape,
        action.dtype,
        actions_only,
    )
    rows = [_tokens(episode, codec) for episode in columns]
    kept = None if held is None else [_tokens(_columns(trajectory, states), codec) for trajectory in held]
    return window_data(demos, codec, rows, kept, states)


def _columns(trajectory: Trajectory, states: int) -> Tensor:
    """``[max(T + 1, states), width]`` numbers of an episode's states; what the last does is what the one before did."""
    steps = len(trajectory)
    rewards = np.append(np.asarray(trajectory.rewards, np.float64), 0.0)
    to_go = np.cumsum(rewards[::-1])[::-1]
    actions = trajectory.actions.reshape(steps, -1)
    over = np.zeros(steps + 1)
    over[-1] = end_code(trajectory)
    rewards[-1] = rewards[-2]
    parts = [
        to_go,
        trajectory.observations.reshape(steps + 1, -1),
        over,
        np.concatenate([actions, actions[-1:]]),
        rewards,
    ]
    return padded(torch.from_numpy(np.column_stack(parts).astype(np.float32)), states)


def _tokens(columns: Tensor, codec: ReturnCodec) -> Tensor:
    """The mark and the tokens ``[T, 1 + width]`` of an episode's states."""
    marks = torch.full((len(columns),), codec.middle_mark)
    marks[0] = codec.start_mark
    found = [codec.token(column, values) for column, values in enumerate(columns.unbind(1))]
    return torch.stack([marks, *found], dim=1).to(torch.int16 if codec.vocabulary < 2**15 else torch.int32)


class _ToGo:
    """The return to go: what was asked for (or drawn) minus the rewards so far."""

    def __init__(self, codec: ReturnCodec, n: int, target_return: float | None, device: torch.device) -> None:
        self.codec = codec
        self.left = None if target_return is None else torch.full((n,), float(target_return), device=device)

    def token(self, column: int) -> Tensor | None:
        if column > 0 or self.left is None:
            return None
        return self.codec.token(0, self.left.cpu()).to(self.left.device)

    def took(self, row: Tensor) -> None:
        left = self.codec.value(0, row[:, 0]) if self.left is None else self.left
        self.left = left - self.codec.value(self.codec.width - 1, row[:, -1])


def sample_episodes(
    model: NextToken,
    codec: ReturnCodec,
    n: int,
    pick: Callable[[Tensor], Tensor],
    *,
    target_return: float | None = None,
) -> Tensor:
    """As :func:`gail.generators.columns.draw_rows`, where every return to go follows from the first one.

    That is ``target_return`` (beyond the best or worst of the data, that is meant); None draws one.
    """
    return draw_rows(model, codec, n, pick, _ToGo(codec, n, target_return, model.device))
