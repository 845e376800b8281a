"""Tables of steps, one row a step: where episodes begin, and what each row's successor is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gail.core.errors import InputError
from gail.demos.columns import Columns
from gail.demos.errors import ROW_COUNTS, DemosError
from gail.demos.fields import last_flag, require_rows, require_vector, squeeze_discrete
from gail.demos.recorded import ReadOptions, RecordedEpisode, assemble, split_rows
from gail.demos.simulator import POSSIBLE, simulator_for, step_errors, usual_change
from gail.demos.types import Demonstrations

JUMP = 20.0
"""A row jumps where its change is this many times the usual error of a linear prediction of it."""

LEAP = 4.2
"""The same for a simulator that is set to a clipped state: a miss of this many usual changes.

Measured: at most 3.5 within episodes of Hopper and Walker2d, at least 5.2 at their resets.
"""


@dataclass(frozen=True)
class StepTable:
    """N steps in the order they were recorded, of one or more episodes."""

    observations: np.ndarray
    """``[N, ...]``: the states acted in."""
    actions: np.ndarray
    """``[N]`` or ``[N, A]``."""
    rewards: np.ndarray | None = None
    """``[N]``."""
    next_observations: np.ndarray | None = None
    """``[N, ...]``, where the table holds successors itself."""
    episode: np.ndarray | None = None
    """``[N]``: changes where the next episode begins."""
    terminated: np.ndarray | None = None
    """``[N]`` bool."""
    truncated: np.ndarray | None = None
    """``[N]`` bool."""
    done: np.ndarray | None = None
    """``[N]`` bool: the last step of an episode, for either reason."""


def columns_to_table(path: Path, values: np.ndarray, columns: Columns) -> StepTable:
    """A table from numbers ``[N, C]`` by resolved ``columns`` (see :meth:`Columns.resolve`).

    Observations and continuous actions come out as float32, discrete actions as int64 ``[N]``.
    """

    def take(names: tuple[str, ...]) -> np.ndarray:
        return values[:, [int(name) for name in names]].astype(np.float32)

    def single(name: str | None) -> np.ndarray | None:
        return None if name is None else values[:, int(name)]

    def flag(name: str | None) -> np.ndarray | None:
        value = single(name)
        if value is not None and not np.isin(value, (0, 1)).all():
            raise DemosError(f"{path}: column {name}: expected end flags 0 and 1, found other values")
        return None if value is None else value.astype(bool)

    rewards = single(columns.rewards)
    return StepTable(
        take(columns.observations),
        read_actions(path, values[:, [int(name) for name in columns.actions]], columns.discrete_actions),
        None if rewards is None else rewards.astype(np.float32),
        take(columns.next_observations) if columns.next_observations else None,
        single(columns.episode),
        flag(columns.terminated),
        flag(columns.truncated),
        flag(columns.done),
    )


def read_actions(path: Path, values: np.ndarray, discrete: bool | None) -> np.ndarray:
    """Actions ``[N, A]`` as int64 indices ``[N]`` where they are discrete, else as float32.

    Args:
        path: the file, for error messages.
        values: the numbers as read.
        discrete: whether they are indices; None: one column of whole numbers >= 0 is.
    """
    whole = bool(np.isfinite(values).all() and (values == np.round(values)).all() and (values >= 0).all())
    if discrete and not whole:
        raise DemosError(f"{path}: actions: expected whole numbers >= 0 (discrete), found others")
    if discrete is None:
        discrete = whole and values.shape[1] == 1
    return squeeze_discrete(values.astype(np.int64)) if discrete else values.astype(np.float32)


def demonstrations_from_table(
    path: Path, table: StepTable, options: ReadOptions, *, by_jump: bool, format: str
) -> Demonstrations:
    """Cut a table into episodes by its marks, or where rows jump.

    Raises:
        DemosError: where columns differ in length, nothing marks the episodes, a flag is followed by more
            steps of the episode, or a stored successor is not the next row.
    """
    steps = len(table.actions)
    if steps == 0:
        raise DemosError(f"{path}: expected at least one step, found none")
    require_rows(path, "observations", table.observations, steps, "one per action")
    for name in ("rewards", "episode", "terminated", "truncated", "done"):
        if (value := getattr(table, name)) is not None:
            require_vector(path, name, value, steps, "one per action")
    lengths = np.diff([*np.flatnonzero(_starts(path, table, options, by_jump)), steps]).tolist()
    observations = split_rows(table.observations, lengths)
    complete = table.next_observations is not None
    if table.next_observations is not None:
        successors = split_rows(table.next_observations, lengths)
        for index, (own, following) in enumerate(zip(observations, successors, strict=True)):
            wrong = (following[:-1] != own[1:]).reshape(len(own) - 1, -1).any(axis=1)
            if wrong.any():
                raise DemosError(
                    f"{path}: episode {index}: the successor stored at step {int(np.argmax(wrong))} differs "
                    "from the next row; expected rows in the order they were played",
                    ROW_COUNTS,
                )
            observations[index] = np.concatenate([own, following[-1:]])
    flags: dict[str, list[bool] | list[None]] = {}
    for name in ("terminated", "truncated"):
        value = getattr(table, name)
        flags[name] = (
            [None] * len(lengths)
            if value is None
            else [last_flag(path, name, i, part) for i, part in enumerate(split_rows(value, lengths))]
        )
    recorded = map(
        RecordedEpisode,
        observations,
        split_rows(table.actions, lengths),
        [None] * len(lengths) if table.rewards is None else split_rows(table.rewards, lengths),
        flags["terminated"],
        flags["truncated"],
    )
    trajectories, dropped = assemble(path, recorded, has_last_successor=complete, action_shift=options.action_shift)
    return Demonstrations(trajectories, path=path, format=format, dropped=dropped)


def find_jumps(observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """``[N]`` bool: rows that do not follow from the row before them, judged from the table alone.

    The change of a row is predicted linearly from the row and its action. A jump misses the prediction by
    more than ``JUMP`` times the median miss, and by more than the median change. The least squares are
    reweighted by the miss, so that the jumps themselves do not bend the fit. It finds resets that start
    near where the last episode ended, which a limit on the change itself does not; it is made for tasks
    that are nearly linear between two rows (it finds every reset of CartPole and MountainCar, and cuts
    Pendulum and Hopper too often: name those, see :func:`find_impossible`).
    """
    rows = observations.reshape(len(observations), -1).astype(np.float64)
    jumps = np.zeros(len(rows), dtype=bool)
    if len(rows) < 3:
        return jumps
    flat = actions.reshape(len(actions), -1).astype(np.float64)
    inputs = np.column_stack([np.ones(len(rows) - 1), rows[:-1], flat[:-1]])
    change = np.diff(rows, axis=0)
    weight = np.ones((len(change), 1))
    for _ in range(10):
        coefficients = np.linalg.lstsq(inputs * weight, change * weight, rcond=None)[0]
        miss = np.abs(change - inputs @ coefficients)
        usual = np.median(miss, axis=0)
        ratio = (miss / np.where(usual > 0, usual, np.inf)).max(axis=1, keepdims=True)
        weight = 1 / np.sqrt(np.maximum(ratio, 1.0))
    far = (miss > JUMP * usual) & (miss > np.median(np.abs(change), axis=0)) & (usual > 0)
    jumps[1:] = far.any(axis=1)
    return jumps


def find_impossible(
    path: Path, observations: np.ndarray, actions: np.ndarray, options: ReadOptions
) -> np.ndarray | None:
    """``[N]`` bool: rows that the environment does not produce from the row before them.

    Returns:
        None where no environment was named, it makes batches, or its state cannot be set from an observation.

    Raises:
        InputError: where the named environment cannot be made.
    """
    if options.env_id is None:
        return None
    from gymnasium.envs.registration import EnvSpec

    from gail.envs.chunk import make_env
    from gail.envs.resolve import resolve

    try:
        spec = resolve(options.env_id)
        if not isinstance(spec, EnvSpec):
            return None
        env = make_env(spec, options.env_kwargs)
    except Exception as error:  # whatever an environment's constructor raises
        found = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: env_id: {options.env_id!r} cannot be made here ({found})") from error
    try:
        simulator = simulator_for(env)
        shapes = (env.observation_space.shape, env.action_space.shape)
        if simulator is None or shapes != (observations.shape[1:], actions.shape[1:]):
            return None
        obs, next_obs = observations[:-1].astype(np.float64), observations[1:].astype(np.float64)
        taken = actions[1:] if options.action_shift else actions[:-1]
        impossible = np.zeros(len(observations), dtype=bool)
        impossible[1:] = step_errors(simulator, obs, taken, next_obs) > POSSIBLE
        # Where the recorded state is not whole (clipped velocities), only a leap can be told.
        rows = np.flatnonzero(~simulator.comparable(obs, next_obs).any(axis=1))
        successors = simulator.successors(obs[rows], taken[rows])
        width = successors.shape[1]
        missed = np.abs(successors - next_obs[rows, :width]) / usual_change(obs, next_obs)[:width]
        impossible[rows + 1] = (missed > LEAP).any(axis=1)
        return impossible
    finally:
        env.close()


def _starts(path: Path, table: StepTable, options: ReadOptions, by_jump: bool) -> np.ndarray:
    """``[N]`` bool: the first row of each episode."""
    starts = np.zeros(len(table.actions), dtype=bool)
    if table.episode is not None:
        starts[1:] = table.episode[1:] != table.episode[:-1]
    elif by_jump:
        impossible = find_impossible(path, table.observations, table.actions, options)
        starts = find_jumps(table.observations, table.actions) if impossible is None else impossible
    else:
        marks = [mark for mark in (table.terminated, table.truncated, table.done) if mark is not None]
        if not marks:
            raise DemosError(
                f"{path}: nothing says where episodes begin; expected a column named episode, terminated, "
                "truncated or done, or the option to cut where rows jump (episode_by_jump; gail demos convert "
                "--columns.episode-by-jump)"
            )
        starts[1:] = np.logical_or.reduce(marks)[:-1]
    starts[0] = True
    return starts
