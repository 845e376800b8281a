"""A model of returns, states and actions as a policy: it plays what brings the return that it is asked for.

Source: decision transformer (Chen et al. 2021), with every number a token of its own as in Janner et al. 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gail.agents.policy import PolicyOutput
from gail.core.errors import InputError
from gail.generators.columns import GOES_ON
from gail.generators.kinds import FittedGenerator
from gail.generators.returns import ReturnCodec
from gail.generators.token_model import TokenModel, choose


class ReturnPolicy:
    """Plays with the return to go as its goal: what was asked for minus the rewards so far.

    Each action is drawn (or the most probable one taken) given the last ``codec.states - 1`` states, actions and
    rewards with their returns to go, and the current state. The state that it carries is a tensor
    ``[n, 2 + states * width]`` (float64): the return to go, the steps so far, and the window's tokens, latest last.

    Args:
        fitted: a model of ``gail fit transformer`` or ``recurrent`` on data of kind ``returns``.
        targets: the returns asked for, one per environment; one number is for all of them.
        observation_space: the environment's.
        action_space: the environment's.
        temperature: divides the logits of the actions' tokens; None: what the model is sampled with.

    Raises:
        InputError: where the model is another one, or the environment's shapes are others than the data's.
    """

    def __init__(
        self,
        fitted: FittedGenerator,
        targets: float | Sequence[float],
        observation_space: gym.Space,
        action_space: gym.Space,
        *,
        temperature: float | None = None,
    ) -> None:
        model = fitted.model
        if not isinstance(model, TokenModel) or not isinstance(model.codec, ReturnCodec):
            raise InputError(
                f"--target-return: is for models of returns, this one ({model.kind}) learned from {model.codec.kind}"
            )
        self.model, self.codec = model, model.codec
        for name, space, shape in (
            ("observation", observation_space, self.codec.obs_shape),
            ("action", action_space, self.codec.action_shape),
        ):
            if space.shape != shape:
                raise InputError(f"--env: its {name}s have shape {space.shape}, those of the model's data {shape}")
        self.observation_space, self.action_space = observation_space, action_space
        sampling = model.config.sampling
        self.token_sampling = sampling if temperature is None else replace(sampling, temperature=temperature)
        self.targets = torch.as_tensor(targets, dtype=torch.float64, device=model.device)

    def initial_state(self, n: int) -> Tensor:
        """See :meth:`gail.agents.Policy.initial_state`."""
        state = torch.zeros(n, 2 + self.codec.states * self.codec.width, dtype=torch.float64, device=self.model.device)
        state[:, 0] = self.targets
        return state

    @torch.no_grad()
    def act(
        self,
        obs: Tensor,
        state: Any = None,
        *,
        deterministic: bool = False,
        generator: torch.Generator | None = None,
    ) -> PolicyOutput:
        """See :meth:`gail.agents.Policy.act`."""
        codec, n = self.codec, len(obs)
        state = self.initial_state(n) if state is None else state
        seen = obs.reshape(n, -1).cpu()
        known = [state[:, 0].float().cpu(), *seen.float().unbind(1), torch.full((n,), GOES_ON)]
        row = torch.zeros(n, codec.width, dtype=torch.int64, device=self.model.device)
        row[:, : len(known)] = torch.stack([codec.token(column, values) for column, values in enumerate(known)], 1)
        window = state[:, 2:].long().view(n, codec.states, codec.width)
        window = torch.cat([window[:, 1:], row[:, None]], dim=1)
        lengths = (state[:, 1].long() + 1).clamp(max=codec.states)
        # Episodes differ in how much there is to look back on until their window is full.
        for length in lengths.unique().tolist():
            rows = lengths == length
            marks = torch.where(state[rows, 1] < codec.states, codec.start_mark, codec.middle_mark)
            window[rows, -1] = self._act_in(window[rows, -length:], marks, len(known), deterministic, generator)
        acted = range(len(known), codec.width - 1)
        columns = torch.stack([codec.value(column, window[:, -1, column]) for column in acted], dim=1)
        action = columns.reshape(n, *codec.action_shape)
        if np.dtype(codec.action_dtype).kind in "iu":
            action = action.round().long()
        kept = torch.cat([state[:, :2], window.flatten(1).double()], dim=1)
        return PolicyOutput(action, action.reshape(n, -1), state=kept)

    def see_rewards(self, state: Tensor, reward: Tensor) -> Tensor:
        """See :class:`gail.agents.policy.SeesRewards`."""
        after = state.clone()
        after[:, 0] -= reward
        after[:, 1] += 1
        after[:, -1] = self.codec.token(self.codec.width - 1, reward.float().cpu()).double().to(after.device)
        return after

    def _act_in(
        self, window: Tensor, marks: Tensor, known: int, deterministic: bool, generator: torch.Generator | None
    ) -> Tensor:
        """The last of the rows ``window`` ``[n, length, width]`` with its action, of which ``known`` columns are."""
        codec, row = self.codec, window[:, -1].clone()
        sampling = replace(self.token_sampling, temperature=0.0) if deterministic else self.token_sampling
        cache, _ = self.model.start(len(window))
        before = torch.cat([marks[:, None].long(), window[:, :-1].flatten(1), row[:, :known]], dim=1)
        logits = self.model.feed(before, cache)
        for column in range(known, codec.width - 1):
            low, high = codec.offsets[column], codec.offsets[column + 1]
            row[:, column] = low + choose(logits[:, low:high], sampling, generator)
            if column < codec.width - 2:
                logits = self.model.feed(row[:, column : column + 1], cache)
        return row
