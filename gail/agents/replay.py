"""Experience replay: every frame is stored once, observations are put together when they are drawn.

Each environment has a ring of *slots*. A slot holds what was seen, and what was done and paid there; after an
episode's end one more slot holds the last observation, so that the slot after any step holds its true successor. For
stacks of frames ``[C, H, W]`` a slot holds the newest frame only: one million 84 x 84 frames take 7.1 GB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gail.agents.priorities import Priorities
from gail.agents.rollout import Rollout
from gail.core.errors import InputError
from gail.core.pixels import is_channels_last
from gail.demos.types import Transitions
from gail.envs.spaces import is_image


@dataclass(frozen=True)
class ReplayBatch:
    """B transitions over up to n steps, on the device they are asked for."""

    obs: Tensor
    """``[B, ...]``: the states acted in, bit-equal to what was observed."""
    samples: Tensor
    """``[B, k]``: what the policy drew there."""
    returns: Tensor
    """``[B]``: discounted sum of the rewards of the n steps, or of those up to the episode's end."""
    next_obs: Tensor
    """``[B, ...]``: the true successor of the last of those steps."""
    discount: Tensor
    """``[B]``: gamma to the number of those steps; 0 where the last one terminated."""
    weight: Tensor
    """``[B]``: importance-sampling weights, the largest one 1 (Schaul et al. 2016, section 3.4)."""
    rows: np.ndarray
    """Where the batch's first rows are stored, all ``[B]`` of those drawn from a :class:`Replay`;
    :meth:`Replay.set_priorities` takes them."""


class Replay:
    """The last transitions of N environments, on the host; drawn by priority, or uniformly where ``alpha`` is 0.

    Args:
        space: of one observation.
        num_envs: N.
        capacity: slots of all environments together.
        n_step: how many rewards a transition sums.
        gamma: discount.
        alpha: exponent of the priorities.
        stacked: whether images ``[C, H, W]`` are the last C frames, oldest first, whose newest is stored.

    Raises:
        InputError: where the capacity is too small.
    """

    def __init__(
        self,
        space: gym.Space,
        num_envs: int,
        *,
        capacity: int,
        n_step: int,
        gamma: float,
        alpha: float,
        stacked: bool,
    ) -> None:
        shape = space.shape or ()
        self.stack = shape[0] if stacked and is_image(space) and not is_channels_last(shape) else 1
        if self.stack > 1:
            shape = shape[1:]
        self.length = capacity // num_envs
        if self.length < 2 * (n_step + self.stack + 1):
            raise InputError(
                f"buffer_size: {capacity} for {num_envs} environments, expected at least "
                f"{2 * (n_step + self.stack + 1) * num_envs}"
            )
        self.num_envs, self.n_step, self.gamma, self.alpha = num_envs, n_step, gamma, alpha
        dtype = torch.from_numpy(np.empty(0, space.dtype)).dtype
        rows = num_envs * self.length
        self.frames = torch.empty((rows, *shape), dtype=dtype)
        self.samples: Tensor | None = None
        self.rewards = np.zeros(rows, dtype=np.float32)
        self.terminated = np.zeros(rows, dtype=np.bool_)
        self.ended = np.zeros(rows, dtype=np.bool_)
        self.played = np.zeros(rows, dtype=np.bool_)
        self.age = np.zeros(rows, dtype=np.uint8)
        self.priorities = Priorities(rows)
        self.highest = 1.0
        # Per environment: slots written so far, the first that may still be drawn, whether an episode starts next.
        self.head = np.zeros(num_envs, dtype=np.int64)
        self.first = np.zeros(num_envs, dtype=np.int64)
        self.starts = np.ones(num_envs, dtype=np.bool_)
        self.repeats: bool | None = None

    def __len__(self) -> int:
        """How many transitions can be drawn."""
        return int(np.count_nonzero(self.priorities.values))

    @property
    def ready(self) -> bool:
        """Whether any can."""
        return self.priorities.total > 0.0

    @property
    def nbytes(self) -> int:
        """Bytes of memory when full."""
        arrays = (self.rewards, self.terminated, self.ended, self.played, self.age, self.priorities.values)
        samples = 0 if self.samples is None else self.samples.nbytes
        return self.frames.nbytes + samples + sum(array.nbytes for array in arrays)

    def add(self, rollout: Rollout, rewards: Tensor) -> None:
        """Store the played steps of ``rollout``, paid by ``rewards`` ``[T, N]``.

        Raises:
            InputError: where observations are not the stacks of frames that they were said to be.
        """
        obs, next_obs, samples = (t.cpu() for t in (rollout.obs, rollout.next_obs, rollout.samples))
        paid, terminated, truncated, valid = (
            t.cpu().numpy() for t in (rewards, rollout.terminated, rollout.truncated, rollout.valid)
        )
        if self.samples is None:
            self.samples = torch.zeros((len(self.frames), samples.shape[2]), dtype=samples.dtype)
        for t in range(len(obs)):
            # A row that stops being played without an end goes on elsewhere, if at all.
            self.cut(~valid[t] & ~self.starts)
            envs = np.flatnonzero(valid[t])
            ended = (terminated[t] | truncated[t])[envs]
            if self.stack > 1:
                self._check_stacks(obs[t], next_obs[t], envs)
            rows = self._write(envs, obs[t], self.starts[envs])
            self.samples[torch.from_numpy(rows)] = samples[t, torch.from_numpy(envs)]
            self.rewards[rows] = paid[t, envs]
            self.terminated[rows] = terminated[t, envs]
            self.ended[rows] = ended
            self.played[rows] = True
            self.starts[envs] = ended
            self._release(envs)
            if ended.any():
                last = envs[ended]
                self.played[self._write(last, next_obs[t], np.zeros(len(last), dtype=np.bool_))] = False
                self._release(last)

    def cut(self, envs: np.ndarray) -> None:
        """The environments ``[N]`` (bool) go on elsewhere than they stood: nothing may reach across."""
        self.first[envs] = self.head[envs]
        self.starts[envs] = True

    def go_on(self, envs: np.ndarray, obs: Tensor) -> None:
        """The environments ``[N]`` (bool) stand within an episode at ``obs`` ``[N, ...]``, whose start is not stored.

        What a stack shows of the past is stored with it; only steps from here on are drawn.
        """
        rows = np.flatnonzero(envs)
        for place in range(self.stack - 1):
            self.played[self._write(rows, obs[:, : place + 1], np.full(len(rows), place == 0))] = False
        self.starts[rows] = False

    def draw(
        self, count: int, *, beta: float, generator: torch.Generator, device: torch.device | str = "cpu"
    ) -> ReplayBatch:
        """Draw ``count`` transitions, one from each of as many equal shares of the total priority.

        Args:
            count: B.
            beta: how far the weights make up for drawing unequally; 1 is fully.
            generator: on the host.
            device: where the batch goes.
        """
        assert self.samples is not None, "nothing was added yet"
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        rows = self.priorities.draw((np.arange(count) + uniform) / count)
        # Rows of the n steps; the ring of an environment closes on itself.
        base, place = rows - rows % self.length, rows % self.length
        steps = base[:, None] + (place[:, None] + np.arange(self.n_step)) % self.length
        ended = self.ended[steps]
        # A step counts where no earlier one ended the episode.
        counted = np.cumsum(ended, axis=1) - ended == 0
        taken = counted.sum(axis=1)
        returns = (self.rewards[steps] * counted * self.gamma ** np.arange(self.n_step)).sum(axis=1)
        final = steps[np.arange(count), taken - 1]
        discount = self.gamma**taken * ~self.terminated[final]
        weight = self.priorities.values[rows] ** -beta
        return ReplayBatch(
            obs=self.observations(rows).to(device),
            samples=self.samples[torch.from_numpy(rows)].to(device),
            returns=torch.from_numpy(returns.astype(np.float32)).to(device),
            next_obs=self.observations(base + (place + taken) % self.length).to(device),
            discount=torch.from_numpy(discount.astype(np.float32)).to(device),
            weight=torch.from_numpy((weight / weight.max()).astype(np.float32)).to(device),
            rows=rows,
        )

    @property
    def drawable(self) -> np.ndarray:
        """The rows of the transitions that can be drawn."""
        return np.flatnonzero(self.priorities.values)

    def transitions(self) -> Transitions:
        """All that can be drawn, as single steps: samples stand for the actions, rewards are as learned from."""
        assert self.samples is not None, "nothing was added yet"
        rows = self.drawable
        index = torch.from_numpy(rows)
        base, place = rows - rows % self.length, rows % self.length
        return Transitions(
            self.observations(rows),
            self.samples[index],
            self.observations(base + (place + 1) % self.length),
            torch.from_numpy(self.terminated[rows]),
            torch.from_numpy(self.rewards[rows]),
        )

    def set_priorities(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Priorities of ``rows`` ``[B]`` from absolute TD errors ``[B]``: ``(|error| + 1e-6) ** alpha``."""
        if self.alpha == 0.0 or len(rows) == 0:
            return
        values = (errors.astype(np.float64) + 1e-6) ** self.alpha
        self.highest = max(self.highest, float(values.max()))
        self.priorities.set(rows, values)

    def observations(self, rows: np.ndarray) -> Tensor:
        """The observations ``[B, ...]`` of slots ``rows`` ``[B]``."""
        if self.stack == 1:
            return self.frames[torch.from_numpy(rows)]
        back = np.arange(self.stack - 1, -1, -1)
        reach = np.minimum(back, self.age[rows][:, None])
        base, place = rows - rows % self.length, rows % self.length
        stacks = self.frames[torch.from_numpy(base[:, None] + (place[:, None] - reach) % self.length)]
        if not self.repeats:
            before_start = torch.from_numpy(reach < back)
            stacks[before_start] = 0
        return stacks

    def _write(self, envs: np.ndarray, obs: Tensor, starts: np.ndarray) -> np.ndarray:
        """Put observations of ``envs`` into their next slots and return the rows of those."""
        rows = envs * self.length + self.head[envs] % self.length
        index = torch.from_numpy(envs)
        self.frames[torch.from_numpy(rows)] = obs[index, -1] if self.stack > 1 else obs[index]
        before = envs * self.length + (self.head[envs] - 1) % self.length
        self.age[rows] = np.where(starts, 0, np.minimum(self.age[before].astype(np.int64) + 1, self.stack - 1))
        self.ended[rows] = False
        # What was here is gone, and with it the history of the oldest stacks.
        lost = (self.head[envs][:, None] + np.arange(self.stack)) % self.length
        self.priorities.set((envs[:, None] * self.length + lost).reshape(-1), 0.0)
        self.head[envs] += 1
        return rows

    def _release(self, envs: np.ndarray) -> None:
        """Let those be drawn whose n steps and last successor are stored by now."""
        slot = self.head[envs] - 1 - self.n_step
        rows = envs * self.length + slot % self.length
        ready = (slot >= self.first[envs]) & self.played[rows]
        self.priorities.set(rows[ready], self.highest)

    def _check_stacks(self, obs: Tensor, next_obs: Tensor, envs: np.ndarray) -> None:
        index = torch.from_numpy(envs)
        shifted = torch.equal(next_obs[index, :-1], obs[index, 1:])
        starting = envs[self.starts[envs]]
        if len(starting):
            past, first = obs[torch.from_numpy(starting)].split([self.stack - 1, 1], dim=1)
            zeros, copies = not bool(past.any()), bool((past == first).all())
            if self.repeats is None and zeros != copies:
                self.repeats = copies
            shifted = shifted and (copies if self.repeats else zeros)
        if not shifted:
            raise InputError(
                "dqn.stacked: observations are not the last frames of their episode (before its start: zeros or "
                "its first frame), expected them to be; --dqn.no-stacked stores every observation whole"
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything that was stored."""
        used = min(int(self.head.max()), self.length)
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in ("head", "first", "starts")}
        for name in _COLUMNS:
            arrays[name] = torch.from_numpy(self._ring(getattr(self, name), used))
        return {
            **arrays,
            "frames": self._ring(self.frames, used),
            "samples": None if self.samples is None else self._ring(self.samples, used),
            "priorities": torch.from_numpy(self._ring(self.priorities.values, used)),
            "highest": self.highest,
            "repeats": self.repeats,
        }

    def _ring(self, column: Any, used: int) -> Any:
        """The first ``used`` slots of every environment."""
        return column.reshape(self.num_envs, self.length, *column.shape[1:])[:, :used]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        used = state["frames"].shape[1]
        for name in ("head", "first", "starts"):
            getattr(self, name)[:] = state[name].numpy()
        for name in _COLUMNS:
            self._ring(getattr(self, name), used)[:] = state[name].numpy()
        self._ring(self.frames, used).copy_(state["frames"])
        if state["samples"] is not None:
            self.samples = torch.zeros((len(self.frames), state["samples"].shape[2]), dtype=state["samples"].dtype)
            self._ring(self.samples, used).copy_(state["samples"])
        rows = (np.arange(self.num_envs)[:, None] * self.length + np.arange(used)).reshape(-1)
        self.priorities.set(rows, state["priorities"].numpy().reshape(-1))
        self.highest, self.repeats = float(state["highest"]), state["repeats"]


_COLUMNS = ("rewards", "terminated", "ended", "played", "age")
"""The arrays with one number per slot."""
