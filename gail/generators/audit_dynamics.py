"""The simulator's part of the audit: recorded and generated steps are played again in the real environment.

Glossary:
    error of a row   mean over the state's columns of (recorded successor - simulator's)^2 / that column's variance over
                     real states; columns that never vary are left out.
    dynamics error   the mean of that over rows: 0.01 is a successor that is off by a tenth of the state's spread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.demos.simulator import classic_state
from gail.envs import make_vec
from gail.envs.ids import names_code
from gail.envs.make import resolve_env
from gail.envs.mujoco import MujocoVecEnv
from gail.envs.mujoco_family import MUJOCO_IDS
from gail.envs.native import NativeVecEnv
from gail.envs.native_family import NATIVE_IDS
from gail.envs.vec import VecEnv
from gail.generators.steps import Array, Steps

_BATCH = 64
"""Simulations side by side; more lie too far apart in memory."""


class CannotReplay(Exception):
    """Why recorded steps cannot be played again."""


@dataclass(frozen=True)
class Replayed:
    """What the environment makes of the states and actions of N rows."""

    known: NDArray[np.bool_]
    """``[N]``: whether the observation holds the whole state; the other rows do not count."""
    next_obs: Array
    """``[N, D]``."""
    rewards: Array
    """``[N]``."""


class Simulator:
    """One environment as a batch that is put into observed states and played for one step."""

    def __init__(self, env_id: str | None, env_kwargs: dict[str, Any], where: object) -> None:
        """Make the batch.

        Args:
            env_id: the environment that the file ``where`` names.
            env_kwargs: what it was made with.
            where: for errors.

        Raises:
            CannotReplay: where there is no such environment, or its state cannot be set from an observation.
            InputError: where the file names keywords that the environment does not take.
        """
        if env_id is None:
            raise CannotReplay(f"{where} names no environment (--env ID says which)")
        # Code of the user's own is never one of ours, so none that a file names is run to find that out.
        if not names_code(env_id):
            env_id, env_kwargs = resolve_env(env_id, env_kwargs)
        if env_id not in (*MUJOCO_IDS, *NATIVE_IDS):
            raise CannotReplay(f"{env_id}: there is no simulator whose state can be set from an observation")
        backend = "mujoco" if env_id in MUJOCO_IDS else "native"
        self.env: VecEnv = make_vec(env_id, _BATCH, backend=backend, **env_kwargs)
        self._put, self._shows = _setter(self.env)
        self.shape = self.env.observation_space.shape

    def play(self, steps: Steps) -> Replayed:
        """Play every row of ``steps`` for one step.

        Raises:
            CannotReplay: where a step is not finite.
            InputError: where observations or actions have another shape than the environment's.
        """
        space = self.env.action_space
        for name, rows, shape in (("obs", steps.obs, self.shape), ("actions", steps.actions, space.shape)):
            if rows.shape[1:] != shape:
                raise InputError(f"{self.env.env_id}: {name} are {list(rows.shape[1:])}, expected {list(shape or ())}")
        known = self._shows(torch.from_numpy(steps.obs)).numpy()
        next_obs = np.full((len(steps), *steps.obs.shape[1:]), np.nan)
        rewards = np.full(len(steps), np.nan)
        chosen = np.flatnonzero(known)
        for start in range(0, len(chosen), _BATCH):
            rows = chosen[start : start + _BATCH]
            # The last batch is filled with its first row.
            filled = np.concatenate([rows, np.repeat(rows[:1], _BATCH - len(rows))])
            self._put(torch.from_numpy(steps.obs[filled]))
            try:
                played = self.env.step(torch.from_numpy(np.ascontiguousarray(steps.actions[filled])))
            except EnvironmentFault as error:
                raise CannotReplay(f"the simulator broke on a state or an action of the set: {error}") from error
            next_obs[rows] = played.next_obs[: len(rows)].double().numpy()
            rewards[rows] = played.reward[: len(rows)].double().numpy()
        return Replayed(known, next_obs, rewards)

    def close(self) -> None:
        """Close the batch."""
        self.env.close()


def _setter(env: VecEnv) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """How ``env`` is put into observed states, and which observations hold the whole state."""
    if isinstance(env, MujocoVecEnv):
        try:
            env.shows_state(torch.zeros(1, *(env.observation_space.shape or ())))
        except InputError as error:
            raise CannotReplay(str(error)) from error
        return env.set_physics_state_from_obs, env.shows_state
    assert isinstance(env, NativeVecEnv)
    to_state = classic_state(env.template)
    if to_state is None:
        raise CannotReplay(f"{env.env_id}: its state does not follow from an observation")

    def put(obs: Tensor) -> Tensor:
        return env.set_state(torch.from_numpy(to_state(obs.double().numpy())))

    return put, lambda obs: torch.ones(len(obs), dtype=torch.bool)


def row_errors(found: Array, expected: Array, variance: Array) -> Array:
    """``[N]``: the mean over columns of ``(found - expected)^2`` ``[N, D]`` over ``variance`` ``[D]``, where not 0."""
    varies = variance > 0
    return np.asarray(np.mean((found[:, varies] - expected[:, varies]) ** 2 / variance[varies], axis=1))


def linear_successors(steps: Steps, fitted_on: NDArray[np.bool_]) -> Array:
    """``[N, D]``: the next states by least squares from state and action.

    Args:
        steps: with real-valued observations.
        fitted_on: ``[N]``: those of one half of the episodes. Each half is predicted by the other's model.
    """
    inputs = np.column_stack([steps.obs, steps.actions.reshape(len(steps), -1), np.ones(len(steps))]).astype(np.float64)
    predicted = np.empty(steps.obs.shape)
    for half in (fitted_on, ~fitted_on):
        change = (steps.next_obs[half] - steps.obs[half]).astype(np.float64)
        weight = np.linalg.lstsq(inputs[half], change, rcond=1e-10)[0]
        predicted[~half] = steps.obs[~half] + inputs[~half] @ weight
    return predicted
