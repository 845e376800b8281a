"""CartPole as tensor operations (Barto, Sutton and Anderson 1983; Gymnasium's ``CartPoleEnv``)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from gail.envs.native import NativeVecEnv

FIXED_HORIZON_ID = "CartPoleFixedHorizon-v0"

_MAX_VELOCITY = 20.0
"""Metres or radians per second; inside the limits no state reaches half of it."""


class CartPole(NativeVecEnv):
    """CartPole-v1: keep a pole upright on a cart that is pushed left or right.

    With ``fixed_horizon`` no episode terminates (id ``CartPoleFixedHorizon-v0``): the reward is 1 where
    cart and pole are inside the limits and 0 outside, and only the time limit ends an episode. Its length
    says nothing about the policy there, so a reward that pays for mere survival cannot solve it: the
    environment for negative controls. Cart and pole stop at the bounds of the observation space (twice the
    limits), from where they can be brought back.
    """

    gym_id: ClassVar[str] = "CartPole-v1"
    reset_draws: ClassVar[int] = 4
    state_names: ClassVar[tuple[str, ...]] = ("x", "x_dot", "theta", "theta_dot")

    def __init__(
        self,
        num_envs: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        max_episode_steps: int | Literal["spec"] | None = "spec",
        fixed_horizon: bool = False,
        **env_kwargs: Any,
    ) -> None:
        """As :class:`NativeVecEnv`; ``sutton_barto_reward`` is Gymnasium's own keyword."""
        super().__init__(num_envs, device, dtype, max_episode_steps=max_episode_steps, **env_kwargs)
        self.fixed_horizon = fixed_horizon
        if fixed_horizon:
            self.env_id = FIXED_HORIZON_ID
        cart = self.template
        # Every constant that the equations divide by the total mass is divided once, here.
        self._push = cart.force_mag / cart.total_mass
        self._push_left = torch.tensor(-self._push, dtype=dtype, device=self.device)
        self._swing = cart.polemass_length / cart.total_mass
        self._gravity = cart.gravity
        self._inertia = cart.length * 4.0 / 3.0
        self._inertia_cos2 = -cart.length * cart.masspole / cart.total_mass
        self._tau = cart.tau
        self._sutton_barto = bool(self.env_kwargs.get("sutton_barto_reward", False))
        inf = float("inf")
        limits = [cart.x_threshold, inf, cart.theta_threshold_radians, inf]
        self._limits = torch.tensor(limits, dtype=dtype, device=self.device)
        stops = [2 * cart.x_threshold, _MAX_VELOCITY, 2 * cart.theta_threshold_radians, _MAX_VELOCITY]
        # One float32 step below the space's bound, so that a clamped observation is inside in any dtype.
        self._is_position = torch.tensor([True, False, True, False], device=self.device)
        self._stops = torch.nextafter(
            torch.tensor(stops, dtype=torch.float32), torch.zeros(len(stops), dtype=torch.float32)
        ).to(self.device, dtype)

    def _initial_state(self, uniform: Tensor) -> Tensor:
        return uniform * 0.1 - 0.05

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        _, x_dot, theta, theta_dot = state.unbind(1)
        sin, cos = theta.sin(), theta.cos()
        push = torch.add(self._push_left, actions.to(state.dtype), alpha=2 * self._push)
        temp = torch.addcmul(push, theta_dot * theta_dot, sin, value=self._swing)
        numerator = torch.addcmul(sin * self._gravity, cos, temp, value=-1)
        denominator = torch.add(self._inertia, cos * cos, alpha=self._inertia_cos2)
        theta_acc = numerator / denominator
        x_acc = torch.addcmul(temp, theta_acc, cos, value=-self._swing)
        state = torch.add(state, torch.stack((x_dot, x_acc, theta_dot, theta_acc), 1), alpha=self._tau)
        outside = (state.abs() > self._limits).any(1)
        if self.fixed_horizon:
            inside = torch.logical_not(outside).to(torch.float32)
            reward = inside - 1 if self._sutton_barto else inside
            stopped = state.clamp(-self._stops, self._stops)
            # What runs into a stop loses its velocity, so that cart and pole can be brought back.
            moving = (stopped == state)[:, ::2].repeat_interleave(2, dim=1) | self._is_position
            return stopped * moving, reward, self._never
        reward = -outside.to(torch.float32) if self._sutton_barto else torch.ones_like(outside, dtype=torch.float32)
        return state, reward, outside

    def _observe(self, state: Tensor) -> Tensor:
        # A copy: a policy that normalizes its observations in place must not move the cart.
        return state.to(torch.float32, copy=True)
