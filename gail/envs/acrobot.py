"""Acrobot as tensor operations (Sutton 1996; Gymnasium's ``AcrobotEnv``)."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor

from gail.core.errors import InputError
from gail.envs.native import NativeVecEnv

_GRAVITY = 9.8  # written inside Gymnasium's derivative, so there is no attribute to read it from


def _wrap(angle: Tensor) -> Tensor:
    """The same angles in ``[-pi, pi]``; Gymnasium subtracts whole turns until they fit."""
    turns = torch.ceil((angle.abs() - math.pi) / (2 * math.pi)).clamp(min=0)
    return angle - torch.sign(angle) * turns * (2 * math.pi)


class Acrobot(NativeVecEnv):
    """Acrobot-v1: swing a two-link arm above the line with a torque between the links; -1 per step.

    One step is a fourth-order Runge-Kutta step of 0.2 s. It is computed in float64 whatever the ``dtype``,
    because the angles pass several turns on the way: float32 would lose a digit that the observation shows.
    """

    gym_id: ClassVar[str] = "Acrobot-v1"
    reset_draws: ClassVar[int] = 4
    state_names: ClassVar[tuple[str, ...]] = ("theta1", "theta2", "theta1_dot", "theta2_dot")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As :class:`NativeVecEnv`; the dynamics ("book" or "nips") are those of Gymnasium's class attribute.

        Raises:
            InputError: where the class attribute ``torque_noise_max`` asks for noise.
        """
        super().__init__(*args, **kwargs)
        if self.template.torque_noise_max > 0:
            raise InputError(
                f"{self.gym_id}: torque_noise_max is {self.template.torque_noise_max}, expected 0: "
                "the native backend has no torque noise (use backend='sync')"
            )
        self._torques = torch.tensor(self.template.AVAIL_TORQUE, dtype=torch.float64, device=self.device)
        speeds = [math.inf, math.inf, self.template.MAX_VEL_1, self.template.MAX_VEL_2]
        self._max_speeds = torch.tensor(speeds, dtype=torch.float64, device=self.device)

    def _initial_state(self, uniform: Tensor) -> Tensor:
        return uniform * 0.2 - 0.1

    def _derivative(self, state: Tensor, torque: Tensor) -> Tensor:
        """The time derivative ``[N, 4]`` of ``state`` ``[N, 4]`` under ``torque`` ``[N]``."""
        arm = self.template
        m1, m2 = arm.LINK_MASS_1, arm.LINK_MASS_2
        l1, lc1, lc2 = arm.LINK_LENGTH_1, arm.LINK_COM_POS_1, arm.LINK_COM_POS_2
        inertia = arm.LINK_MOI
        theta1, theta2, dtheta1, dtheta2 = state.unbind(1)
        cos2, sin2 = theta2.cos(), theta2.sin()
        couple = m2 * l1 * lc2
        d1 = m1 * lc1**2 + m2 * (l1**2 + lc2**2) + 2 * inertia + 2 * couple * cos2
        d2 = m2 * lc2**2 + inertia + couple * cos2
        # cos(x - pi/2) = sin(x)
        phi2 = m2 * lc2 * _GRAVITY * (theta1 + theta2).sin()
        phi1 = (
            -couple * sin2 * dtheta2 * (dtheta2 + 2 * dtheta1) + (m1 * lc1 + m2 * l1) * _GRAVITY * theta1.sin() + phi2
        )
        force = torque + d2 / d1 * phi1 - phi2
        if arm.book_or_nips == "book":
            force = force - couple * dtheta1 * dtheta1 * sin2
        ddtheta2 = force / (m2 * lc2**2 + inertia - d2 * d2 / d1)
        ddtheta1 = -(d2 * ddtheta2 + phi1) / d1
        return torch.stack((dtheta1, dtheta2, ddtheta1, ddtheta2), 1)

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dt = self.template.dt
        torque = self._torques[actions]
        start = state.to(torch.float64)
        k1 = self._derivative(start, torque)
        k2 = self._derivative(torch.add(start, k1, alpha=dt / 2), torque)
        k3 = self._derivative(torch.add(start, k2, alpha=dt / 2), torque)
        k4 = self._derivative(torch.add(start, k3, alpha=dt), torque)
        end = start + (k1 + 2 * (k2 + k3) + k4) * (dt / 6)
        end = torch.cat((_wrap(end[:, :2]), end[:, 2:]), 1).clamp(-self._max_speeds, self._max_speeds)
        theta1, theta2 = end[:, 0], end[:, 1]
        reached = -theta1.cos() - (theta1 + theta2).cos() > 1.0
        return end.to(state.dtype), reached.to(torch.float32) - 1.0, reached

    def _observe(self, state: Tensor) -> Tensor:
        angles, speeds = state[:, :2], state[:, 2:]
        cos, sin = angles.cos(), angles.sin()
        return torch.stack((cos[:, 0], sin[:, 0], cos[:, 1], sin[:, 1], speeds[:, 0], speeds[:, 1]), 1).to(
            torch.float32
        )
