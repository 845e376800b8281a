"""Pendulum swing-up as tensor operations (Gymnasium's ``PendulumEnv``)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from gymnasium.envs.classic_control import pendulum
from torch import Tensor

from gail.envs.native import NativeVecEnv


def wrap_angle(angle: Tensor) -> Tensor:
    """The same angles in ``[-pi, pi)`` (radians)."""
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


class Pendulum(NativeVecEnv):
    """Pendulum-v1: swing a pendulum up and keep it there; the keyword ``g`` is gravity in m/s^2.

    Gymnasium lets the angle grow without bound; here it is kept in ``[-pi, pi)``, which neither observation
    nor reward can tell, because float32 loses digits of a large angle.
    """

    gym_id: ClassVar[str] = "Pendulum-v1"
    reset_draws: ClassVar[int] = 2
    state_names: ClassVar[tuple[str, ...]] = ("theta", "theta_dot")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As :class:`NativeVecEnv`."""
        super().__init__(*args, **kwargs)
        pole = self.template
        self._max_torque, self._max_speed, self._dt = pole.max_torque, pole.max_speed, pole.dt
        self._fall = 3 * pole.g / (2 * pole.l) * pole.dt
        self._turn = 3.0 / (pole.m * pole.l**2)
        high = [pendulum.DEFAULT_X, pendulum.DEFAULT_Y]
        self._reset_high = torch.tensor(high, dtype=self.dtype, device=self.device)

    def _canonical(self, state: Tensor) -> Tensor:
        return torch.stack((wrap_angle(state[:, 0]), state[:, 1]), 1)

    def _initial_state(self, uniform: Tensor) -> Tensor:
        return (2 * uniform - 1) * self._reset_high

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        theta, theta_dot = state.unbind(1)
        # In the action's precision, as Gymnasium does, whatever that of the state.
        torque = actions[:, 0].clamp(-self._max_torque, self._max_torque)
        turn = torque * self._turn * self._dt
        # cost = theta^2 + 0.1 theta_dot^2 + 0.001 torque^2
        cost = torch.addcmul(theta * theta, theta_dot, theta_dot, value=0.1)
        cost = cost + 0.001 * (torque * torque)
        theta_dot = torch.add(theta_dot, theta.sin(), alpha=self._fall) + turn
        theta_dot = theta_dot.clamp(-self._max_speed, self._max_speed)
        theta = wrap_angle(torch.add(theta, theta_dot, alpha=self._dt))
        return torch.stack((theta, theta_dot), 1), -cost.to(torch.float32), self._never

    def _observe(self, state: Tensor) -> Tensor:
        theta, theta_dot = state.unbind(1)
        return torch.stack((theta.cos(), theta.sin(), theta_dot), 1).to(torch.float32)
