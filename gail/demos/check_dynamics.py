"""Checks that play recorded steps again: steps after an end, shifted actions, impossible successors.

Glossary:
    reading "taken in"  row t holds the action taken in the state of row t (what a trajectory means).
    reading "led to"    row t holds the action that led to the state of row t (the off-by-one mistake).
    error of a step     the largest difference, over the observation's columns, between the simulator's
                        successor and the recorded one, in units of that column's usual change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gail.demos.findings import Finding, SkippedCheck
from gail.demos.simulator import POSSIBLE, Simulator, step_errors, usual_change
from gail.demos.types import Trajectory

EDGE = 1e-5
"""How far a state must lie beyond an end condition to count as one, so that rounding cannot move it there."""
MIN_ROWS = 4
"""Rows that tell the two readings apart which a verdict on shifted actions needs (the simulator is exact)."""

Episodes = Sequence[tuple[int, Trajectory]]


def check_ends(episodes: Episodes, simulator: Simulator) -> Iterator[Finding | SkippedCheck]:
    """Terminal states that are followed by steps, and end flags that contradict the last state."""
    for index, trajectory in episodes:
        beyond = simulator.beyond_end(trajectory.observations.astype(np.float64))
        if beyond is None:
            reason = "this environment does not say from a state whether its task is over"
            yield SkippedCheck("steps-after-termination", reason)
            yield SkippedCheck("wrong-end-flag", reason)
            return
        length = len(trajectory)
        over = np.flatnonzero(beyond[1:length] > EDGE)
        if over.size:
            row = int(over[0]) + 1
            yield Finding(
                "steps-after-termination",
                index,
                f"the task is over in row {row}, but {length - row} steps follow; expected an end there",
            )
        elif trajectory.terminated and beyond[-1] < -EDGE:
            message = "terminated is set, but the task is not over in the last state; expected truncated"
            yield Finding("wrong-end-flag", index, message)
        elif trajectory.terminated is False and beyond[-1] > EDGE:
            message = "terminated is not set, but the task is over in the last state; expected terminated"
            yield Finding("wrong-end-flag", index, message)


def check_steps(episodes: Episodes, simulator: Simulator) -> Iterator[Finding | SkippedCheck]:
    """Actions shifted by one row, and successors that the environment does not produce."""
    obs = np.concatenate([t.observations[:-1] for _, t in episodes]).astype(np.float64)
    next_obs = np.concatenate([t.observations[1:] for _, t in episodes]).astype(np.float64)
    actions = np.concatenate([t.actions for _, t in episodes])
    owner = np.concatenate([np.full(len(t), index) for index, t in episodes])
    step = np.concatenate([np.arange(len(t)) for _, t in episodes])

    usable = np.asarray(simulator.comparable(obs, next_obs).any(axis=1))
    if not usable.any():
        yield SkippedCheck("impossible-steps", "no row holds the whole state")
        yield SkippedCheck("shifted-actions", "no row holds the whole state")
        return
    usual = usual_change(obs, next_obs)
    taken_in = step_errors(simulator, obs, actions, next_obs, usual)

    # Where the next row's action is the same, the two readings agree and say nothing.
    same_episode = owner[:-1] == owner[1:]
    flat = actions.reshape(len(actions), -1)
    differs = np.any(flat[1:] != flat[:-1], axis=1)
    telling = np.flatnonzero(usable[:-1] & same_episode & differs)
    led_to = step_errors(simulator, obs[telling], actions[telling + 1], next_obs[telling], usual)
    # Rows that both readings explain (an action without effect, a wall) do not count either.
    informative = np.maximum(taken_in[telling], led_to) > POSSIBLE / 10
    here, led_to = taken_in[telling][informative], led_to[informative]
    if len(here) < MIN_ROWS:
        reason = f"{len(here)} rows tell the two readings apart; expected {MIN_ROWS} or more"
        yield SkippedCheck("shifted-actions", reason)
    elif (better := float(np.mean(led_to < here))) > 0.8 and np.median(led_to) < 0.2 * np.median(here):
        yield Finding(
            "shifted-actions",
            None,
            f"in {better:.0%} of the {len(here)} rows that tell, row t holds the action that led to it "
            f"(median error {np.median(led_to):.2g} against {np.median(here):.2g}); expected the action "
            "taken in it (load with action_shift=1)",
        )
        return
    impossible = np.flatnonzero(taken_in > POSSIBLE)
    if impossible.size > 0.5 * usable.sum():
        yield Finding(
            "environment-mismatch",
            None,
            f"found {impossible.size} of {usable.sum()} successors that this environment does not produce "
            f"(median error {np.median(taken_in[usable]):.2g}); expected errors below {POSSIBLE}",
        )
        return
    last = np.append(~same_episode, True)
    lost = impossible[~last[impossible]]
    beyond = simulator.beyond_end(simulator.successors(obs[lost], actions[lost]))
    merged = lost[beyond > EDGE] if beyond is not None else lost[:0]
    for index in np.unique(owner[impossible]).tolist():
        steps = step[impossible[owner[impossible] == index]]
        yield Finding(
            "impossible-steps",
            index,
            f"found {steps.size} successors that the environment does not produce, first of step {steps[0]}",
        )
    for index in np.unique(owner[merged]).tolist():
        # Episodes merged into one: a step ends the task, and what follows it is another episode's start.
        yield Finding(
            "steps-after-termination",
            index,
            f"step {step[merged[owner[merged] == index][0]]} ends the task, but steps follow (of another "
            "episode?); expected an end there",
        )
