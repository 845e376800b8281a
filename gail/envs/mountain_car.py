"""Mountain car, discrete and continuous, as tensor operations (Moore 1990; Gymnasium's classes)."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from gail.envs.native import NativeVecEnv


class _MountainCarBase(NativeVecEnv):
    """What both versions share: the hill, the walls and the goal."""

    reset_draws: ClassVar[int] = 1
    state_names: ClassVar[tuple[str, ...]] = ("position", "velocity")
    gravity: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # In the state's own precision, so that "the position is the wall" stays an equality.
        self._wall = torch.tensor(self.template.min_position, dtype=self.dtype, device=self.device)

    def _initial_state(self, uniform: Tensor) -> Tensor:
        position = uniform * 0.2 - 0.6
        return torch.cat((position, torch.zeros_like(position)), 1)

    def _roll(self, state: Tensor, push: Tensor) -> tuple[Tensor, Tensor]:
        """The next states ``[N, 2]`` and whether the goal is reached ``[N]``; ``push`` ``[N]`` is a speed."""
        car = self.template
        position, velocity = state.unbind(1)
        velocity = velocity + torch.add(push, (3 * position).cos(), alpha=-self.gravity)
        velocity = velocity.clamp(-car.max_speed, car.max_speed)
        position = (position + velocity).clamp(car.min_position, car.max_position)
        stopped = (position == self._wall) & (velocity < 0)
        velocity = velocity.masked_fill(stopped, 0.0)
        reached = (position >= car.goal_position) & (velocity >= car.goal_velocity)
        return torch.stack((position, velocity), 1), reached

    def _observe(self, state: Tensor) -> Tensor:
        return state.to(torch.float32, copy=True)


class MountainCar(_MountainCarBase):
    """MountainCar-v0: rock an underpowered car out of a valley with three pushes; -1 per step."""

    gym_id: ClassVar[str] = "MountainCar-v0"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As :class:`NativeVecEnv`; ``goal_velocity`` is Gymnasium's own keyword."""
        super().__init__(*args, **kwargs)
        self.gravity = self.template.gravity

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        push = (actions - 1).to(state.dtype) * self.template.force
        state, reached = self._roll(state, push)
        return state, torch.full_like(reached, -1.0, dtype=torch.float32), reached


class MountainCarContinuous(_MountainCarBase):
    """MountainCarContinuous-v0: the force is continuous; 100 at the goal, minus 0.1 force^2 per step."""

    gym_id: ClassVar[str] = "MountainCarContinuous-v0"
    # Gymnasium writes this constant inside its step function, so there is nothing to read it from.
    gravity = 0.0025

    def _advance(self, state: Tensor, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        car = self.template
        action = actions[:, 0].to(state.dtype)
        state, reached = self._roll(state, action.clamp(car.min_action, car.max_action) * car.power)
        # The cost is that of the action as given, not of the clipped force: so it is in Gymnasium.
        reward = torch.addcmul(reached * 100.0, action, action, value=-0.1)
        return state, reward.to(torch.float32), reached
