"""LunarLander, whose state cannot be set: ends are told by the reward, shifted actions by a regression."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gail.demos.check_dynamics import Episodes
from gail.demos.findings import Finding, SkippedCheck

LAST_REWARD = 100.0
"""The reward of the step that ends the task is exactly -100 (crash, out of view) or +100 (at rest)."""
_VERTICAL_SPEED = 3
_MIN_ROWS = 200


def check_lander_ends(episodes: Episodes) -> Iterator[Finding | SkippedCheck]:
    """Steps after the reward that ends the task, and end flags that contradict the last reward."""
    for index, trajectory in episodes:
        if trajectory.rewards is None:
            yield SkippedCheck("steps-after-termination", f"episode {index} has no rewards")
            yield SkippedCheck("wrong-end-flag", f"episode {index} has no rewards")
            continue
        ends = np.abs(trajectory.rewards) == LAST_REWARD
        over = np.flatnonzero(ends[:-1])
        if over.size:
            row = int(over[0])
            yield Finding(
                "steps-after-termination",
                index,
                f"the reward of step {row} is {trajectory.rewards[row]:g}, which ends the task, but "
                f"{len(trajectory) - row - 1} steps follow; expected an end there",
            )
        elif trajectory.terminated is not None and trajectory.terminated != ends[-1]:
            yield Finding(
                "wrong-end-flag",
                index,
                f"terminated is {trajectory.terminated}, but the last reward is {trajectory.rewards[-1]:g}; "
                f"expected {bool(ends[-1])} (only -100 and 100 end the task)",
            )


def check_lander_steps(episodes: Episodes) -> Iterator[Finding | SkippedCheck]:
    """Actions shifted by one row, by regression.

    The main engine's push shows in the next change of the vertical speed. That change is fitted linearly
    to the row and its action under both readings (see :mod:`gail.demos.check_dynamics`), and the shares of
    its variance that the fits leave are compared: on an expert's rows 0.18 for the true reading, 0.6 to
    0.8 for the wrong one.
    """
    yield SkippedCheck("impossible-steps", "LunarLander's state cannot be set from an observation")
    pieces = [trajectory for _, trajectory in episodes if len(trajectory) > 1]
    rows = sum(len(trajectory) - 1 for trajectory in pieces)
    if rows < _MIN_ROWS or pieces[0].actions.ndim != 1:
        reason = f"the regression needs discrete actions and {_MIN_ROWS} rows, found {rows}"
        yield SkippedCheck("shifted-actions", reason)
        return
    obs = np.concatenate([t.observations[:-2] for t in pieces]).astype(np.float64)
    speeds = [t.observations[:-1, _VERTICAL_SPEED].astype(np.float64) for t in pieces]
    change = np.concatenate([np.diff(speed) for speed in speeds])
    taken_in = _residual(obs, np.concatenate([t.actions[:-1] for t in pieces]), change)
    led_to = _residual(obs, np.concatenate([t.actions[1:] for t in pieces]), change)
    if led_to < 0.7 * taken_in:
        yield Finding(
            "shifted-actions",
            None,
            f"the next row's action explains the vertical speed better (residual {led_to:.2g} against "
            f"{taken_in:.2g}); expected the action taken in row t (load with action_shift=1)",
        )


def _residual(obs: np.ndarray, actions: np.ndarray, change: np.ndarray) -> float:
    """The share of the variance of ``change`` that a linear fit on the row and its action leaves."""
    chosen = np.eye(int(actions.max()) + 1)[actions]
    inputs = np.column_stack([obs, chosen])
    fit = np.linalg.lstsq(inputs, change, rcond=None)[0]
    return float(np.var(change - inputs @ fit) / np.var(change))
