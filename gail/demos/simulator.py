"""Simulators that can be set to a recorded observation, so that a recorded step can be played again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

VELOCITY_CLIP = 10.0
"""Gymnasium's Hopper and Walker2d clip recorded velocities to +-10: there the state is lost."""


POSSIBLE = 0.05
"""A step's error above this is no rounding: clean files stay below 0.0012, recorded as text or float32."""


class Simulator(Protocol):
    """One environment's dynamics on batches of recorded rows."""

    def successors(self, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """The observations ``[N, D]`` that follow ``obs`` ``[N, K]`` under ``actions``; D <= K."""

    def comparable(self, obs: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
        """``[N, D]`` bool: where the recorded rows hold enough to compare with :meth:`successors`."""

    def beyond_end(self, obs: np.ndarray) -> np.ndarray | None:
        """``[N]``: > 0 in states where the task is over, < 0 elsewhere, 0 on the edge; None: not known."""


ToState = Callable[[np.ndarray], np.ndarray]
"""From observations ``[N, K]`` to physical states ``[N, D]``."""


def classic_state(env: Any) -> ToState | None:
    """How the states of a classic-control ``env`` of Gymnasium follow from observations; None: it is none of them."""
    simulator = simulator_for(env)
    return simulator.to_state if isinstance(simulator, _Classic) else None


def simulator_for(env: Any) -> Simulator | None:
    """The simulator behind a Gymnasium ``env``, or None where its state cannot be set from an observation."""
    from gymnasium.envs.classic_control import (
        AcrobotEnv,
        CartPoleEnv,
        Continuous_MountainCarEnv,
        MountainCarEnv,
        PendulumEnv,
    )

    base = env.unwrapped
    if isinstance(base, CartPoleEnv):
        return _Classic(base, lambda obs: obs, lambda obs: _cartpole_end(base, obs))
    if isinstance(base, MountainCarEnv | Continuous_MountainCarEnv):
        return _Classic(base, lambda obs: obs, lambda obs: _mountain_car_end(base, obs))
    if isinstance(base, PendulumEnv):
        return _Classic(base, _pendulum_state, lambda obs: np.full(len(obs), -1.0))
    if isinstance(base, AcrobotEnv):
        return _Classic(base, _acrobot_state, _acrobot_end)
    # From v5 on, Gymnasium's MuJoCo tasks say which part of the state an observation begins with.
    structure = getattr(base, "observation_structure", None)
    if isinstance(structure, dict) and {"qpos", "qvel"} <= structure.keys():
        return _Mujoco(base)
    return None


def step_errors(
    simulator: Simulator,
    obs: np.ndarray,
    actions: np.ndarray,
    next_obs: np.ndarray,
    usual: np.ndarray | None = None,
) -> np.ndarray:
    """``[N]``: how far each recorded successor is from the simulator's, in units of its usual change.

    Args:
        simulator: plays the steps.
        obs: ``[N, K]`` float64.
        actions: ``[N, ...]``, all of the action space.
        next_obs: ``[N, K]``, as recorded.
        usual: ``[K]``: each column's usual change; None: its standard deviation over these rows.

    Returns:
        the largest error over the columns; 0 in rows that cannot be compared.
    """
    if not len(obs):
        return np.zeros(0)
    usual = usual_change(obs, next_obs) if usual is None else usual
    comparable = simulator.comparable(obs, next_obs)
    rows, width = np.flatnonzero(comparable.any(axis=1)), comparable.shape[1]
    errors = np.zeros(len(obs))
    missed = np.abs(simulator.successors(obs[rows], actions[rows]) - next_obs[rows, :width]) / usual[:width]
    errors[rows] = np.where(comparable[rows], missed, 0.0).max(axis=1, initial=0.0)
    return errors


def usual_change(obs: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
    """``[K]``: the standard deviation of each column's change, 1 where it never changes."""
    spread = np.std(next_obs - obs, axis=0)
    return np.where(spread > 0, spread, 1.0)


class _Classic:
    """Classic control: the simulator itself, its ``state`` set row by row."""

    def __init__(
        self,
        env: Any,
        to_state: ToState,
        beyond_end: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.env = env
        self.to_state = to_state
        self.end = beyond_end
        env.reset(seed=0)

    def successors(self, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        predicted = np.empty_like(obs)
        for row, (state, action) in enumerate(zip(self.to_state(obs), actions, strict=True)):
            self.env.state = state
            # CartPole warns (and counts) where a step follows a termination; here every row is its own.
            self.env.steps_beyond_terminated = None
            predicted[row] = self.env.step(action)[0]
        return predicted

    def comparable(self, obs: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
        return np.ones(obs.shape, dtype=bool)

    def beyond_end(self, obs: np.ndarray) -> np.ndarray | None:
        return self.end(obs)


class _Mujoco:
    """MuJoCo tasks whose observation begins with ``qpos`` (less the first ``skipped_qpos``) and ``qvel``."""

    def __init__(self, env: Any) -> None:
        self.env = env
        env.reset(seed=0)
        model = env.model
        self.skipped = int(env.observation_structure.get("skipped_qpos", 0))
        self.positions = model.nq - self.skipped
        self.width = self.positions + model.nv

    def _set(self, row: np.ndarray) -> None:
        data = self.env.data
        data.qpos[: self.skipped] = 0.0  # where the body stands in the plane changes nothing
        data.qpos[self.skipped :] = row[: self.positions]
        data.qvel[:] = row[self.positions : self.width]
        data.qacc_warmstart[:] = 0.0

    def successors(self, obs: np.ndarray, actions: np.ndarray) -> np.ndarray:
        import mujoco

        model, data = self.env.model, self.env.data
        predicted = np.empty((len(obs), self.width))
        for row in range(len(obs)):
            self._set(obs[row])
            data.ctrl[:] = actions[row]
            mujoco.mj_step(model, data, self.env.frame_skip)
            predicted[row, : self.positions] = data.qpos[self.skipped :]
            predicted[row, self.positions :] = data.qvel
        return predicted

    def comparable(self, obs: np.ndarray, next_obs: np.ndarray) -> np.ndarray:
        clipped = np.abs(obs[:, : self.width]) == VELOCITY_CLIP
        next_clipped = np.abs(next_obs[:, : self.width]) == VELOCITY_CLIP
        clipped[:, : self.positions] = next_clipped[:, : self.positions] = False
        return ~clipped.any(axis=1)[:, None] & ~next_clipped

    def beyond_end(self, obs: np.ndarray) -> np.ndarray | None:
        name = type(self.env).__name__
        if name in ("HalfCheetahEnv", "SwimmerEnv") or not getattr(self.env, "_terminate_when_unhealthy", True):
            return np.full(len(obs), -1.0)
        if not hasattr(type(self.env), "is_healthy"):
            return None
        end = np.empty(len(obs))
        for row in range(len(obs)):
            self._set(obs[row])
            end[row] = -1.0 if self.env.is_healthy else 1.0
        return end


def _pendulum_state(obs: np.ndarray) -> np.ndarray:
    return np.column_stack([np.arctan2(obs[:, 1], obs[:, 0]), obs[:, 2]])


def _acrobot_state(obs: np.ndarray) -> np.ndarray:
    first, second = np.arctan2(obs[:, 1], obs[:, 0]), np.arctan2(obs[:, 3], obs[:, 2])
    return np.column_stack([first, second, obs[:, 4], obs[:, 5]])


def _cartpole_end(env: Any, obs: np.ndarray) -> np.ndarray:
    over_track = np.abs(obs[:, 0]) - env.x_threshold
    over_angle = np.abs(obs[:, 2]) - env.theta_threshold_radians
    return np.maximum(over_track, over_angle)


def _mountain_car_end(env: Any, obs: np.ndarray) -> np.ndarray:
    return np.minimum(obs[:, 0] - env.goal_position, obs[:, 1] - env.goal_velocity)


def _acrobot_end(obs: np.ndarray) -> np.ndarray:
    cos_sum = obs[:, 0] * obs[:, 2] - obs[:, 1] * obs[:, 3]
    return -obs[:, 0] - cos_sum - 1.0
