"""Synthetic experience replay (Lu et al. 2023): a generative player learns the replay, minibatches mix both.

Every so many environment steps the player is trained on the transitions in the replay and draws new ones, with their
rewards and ends, instead of those that it drew before. From then on a fixed share of each minibatch is synthetic.

A player that learns what comes of a state and an action can also be asked about actions that the policy would choose
now, in states that the replay holds: one step from each, as in model-based policy optimization (Janner et al. 2019).

Where terminations are rare, a share of the synthetic rows can be asked to be terminations. Which transition is drawn
how often does not move what values converge to where the environment is deterministic; where the same action sometimes
ends an episode and sometimes does not, rows chosen by their outcome overstate the end's probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from gail.agents.policy import Policy
from gail.agents.replay import Replay, ReplayBatch
from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.player import Player
from gail.demos.types import Transitions
from gail.envs.spaces import is_image


@dataclass(frozen=True)
class SyntheticConfig:
    """Hyperparameters of synthetic experience replay."""

    share: float = 0.0
    """Share of each minibatch that is synthetic, once there are such rows; 0: none, ever."""
    generator: Literal["diffusion", "vae", "gan"] = "diffusion"
    """The generative player, with the hyperparameters of `gail fit`."""
    actions: Literal["replay", "policy"] = "replay"
    """replay: whole transitions are drawn, like those of the replay; policy: states are the replay's, actions the
    policy's as it is now, and what comes of them is drawn, anew every thousand environment steps (diffusion only)."""
    refit_every: int = 10_000
    """Environment steps between its trainings."""
    updates: int = 2_000
    """Its training steps at each of them; it goes on from where the last one left it."""
    rows: int = 20_000
    """Transitions that it draws each time, instead of the earlier ones."""
    rare: float = 0.0
    """Share of the synthetic rows that are terminations; 0: as many as in the replay. Where the environment never
    terminates (HalfCheetah), it changes nothing."""

    def __post_init__(self) -> None:
        lowest = {"refit_every": 1, "updates": 1, "rows": 1}
        require("synthetic", self, at_least=lowest, shares=("share", "rare"))
        if self.actions == "policy":
            if self.generator != "diffusion":
                raise InputError(f"synthetic.generator: {self.generator!r}, expected diffusion with policy actions")
            if self.rare > 0:
                raise InputError(f"synthetic.rare: {self.rare}, expected 0 where the policy's actions decide what ends")

    def count(self, batch_size: int) -> int:
        """How many rows of a minibatch the share is.

        Raises:
            InputError: where it is not 0, but less than half a row.
        """
        count = round(self.share * batch_size)
        if count == 0 and self.share > 0:
            raise InputError(f"synthetic.share: {self.share} of {batch_size} rows is none, expected 0 or at least one")
        return count

    def require_refit(self, steps: int) -> None:
        """Refuse a run that ends before the player has learned once: it would be plain without saying so.

        Raises:
            InputError: where there is a share, but the first of ``steps`` that it learns at is past them.
        """
        if self.share > 0 and self.refit_every >= steps:
            raise InputError(
                f"synthetic.refit_every: {self.refit_every}, expected less than the {steps} steps of the run, in which "
                "no row would be synthetic otherwise"
            )


class Synthesizer(Protocol):
    """A generative player, as the learner sees it."""

    players: Mapping[str, Player]
    """Its networks, by names that no other player of the game has."""

    def turns(self, rows: Transitions) -> Iterator[Turn]:
        """One training on ``rows``, with rewards."""

    def sample(self, n: int) -> Transitions:
        """``n`` rows like those of the last training, on the device that it was made for."""

    def outcomes(self, obs: Tensor, actions: Tensor) -> Transitions:
        """What comes of ``actions`` ``[n, k]`` in ``obs`` ``[n, ...]``, where ``config.actions`` is "policy"."""

    def state_dict(self) -> dict[str, Any]:
        """All but the players."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""


MakeSynthesizer = Callable[[SyntheticConfig, gym.Space, gym.Space, int, torch.device], Synthesizer]
"""From the configuration, the spaces of observations and of samples as the replay holds them, a seed and a device."""


class SyntheticReplay:
    """What the generative player drew last, and when it learns again.

    Args:
        config: hyperparameters.
        synthesizer: the generative player.
        policy: whose actions are asked about.
        batch_size: rows of a minibatch, real and synthetic together.
        gamma: discount; synthetic rows are of one step.
        generator: draws minibatches; on the synthesizer's device.
    """

    def __init__(
        self,
        config: SyntheticConfig,
        synthesizer: Synthesizer,
        *,
        policy: Policy,
        batch_size: int,
        gamma: float,
        generator: torch.Generator,
    ) -> None:
        self.config, self.synthesizer, self.policy, self.generator = config, synthesizer, policy, generator
        self.batch_size, self.gamma = batch_size, gamma
        self.rows: Transitions | None = None
        self.fits = 0
        """Times that ``refit_every`` steps had passed when the player last learned."""

    def refit(self, replay: Replay, steps: int) -> Iterator[Turn]:
        """Where another ``refit_every`` of ``steps`` have passed: a training of the player, then fresh rows.

        With the policy's actions the rows are fresh at every call once the player has learned.
        """
        learns = steps // self.config.refit_every > self.fits
        if learns:
            self.fits = steps // self.config.refit_every
            yield from self.synthesizer.turns(replay.transitions())
        if self.config.actions == "policy" and self.fits > 0:
            self.rows = self._imagined(replay)
        elif learns:
            self.rows = self.synthesizer.sample(self.config.rows)

    def _imagined(self, replay: Replay) -> Transitions:
        """One step of the policy from states of the replay, each as probable."""
        device, rows = self.generator.device, replay.drawable
        picked = torch.randint(len(rows), (self.config.rows,), generator=self.generator, device=device)
        obs = replay.observations(rows[picked.cpu().numpy()]).to(device)
        return self.synthesizer.outcomes(obs, self.policy.act(obs, generator=self.generator).sample)

    @property
    def due(self) -> int:
        """How many rows of the next minibatch are to be synthetic."""
        return 0 if self.rows is None else self.config.count(self.batch_size)

    def draw(self, count: int) -> ReplayBatch:
        """``count`` synthetic rows, each as probable; there must be some."""
        assert self.rows is not None
        device = self.rows.actions.device
        drawn = self.rows[torch.randint(len(self.rows), (count,), generator=self.generator, device=device)]
        assert drawn.rewards is not None
        return ReplayBatch(
            obs=drawn.obs,
            samples=drawn.actions,
            returns=drawn.rewards,
            next_obs=drawn.next_obs,
            discount=self.gamma * (~drawn.terminated).float(),
            weight=torch.ones(count, device=device),
            rows=np.empty(0, dtype=np.int64),
        )

    def metrics(self) -> dict[str, float]:
        """How many rows there are, how many of them end an episode, and the minibatches' share."""
        rows = self.rows
        return {
            "synthetic/rows": 0.0 if rows is None else float(len(rows)),
            "synthetic/terminated": 0.0 if rows is None else float(rows.terminated.float().mean()),
            "synthetic/share": self.due / self.batch_size,
        }

    def state_dict(self) -> dict[str, Any]:
        """The rows, the random stream, and what the player holds beside its networks."""
        return {
            "rows": None if self.rows is None else dict(vars(self.rows)),
            "fits": self.fits,
            "generator": self.generator.get_state(),
            "synthesizer": self.synthesizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`state_dict`."""
        self.rows = None if state["rows"] is None else Transitions(**state["rows"])
        self.fits = int(state["fits"])
        self.generator.set_state(state["generator"])
        self.synthesizer.load_state_dict(state["synthesizer"])


def require_vectors(space: gym.Space, env_id: str) -> None:
    """Refuse observations that no model of transitions is for.

    Raises:
        InputError: naming the flag and the space.
    """
    if is_image(space) or not isinstance(space, gym.spaces.Box | gym.spaces.Discrete | gym.spaces.MultiDiscrete):
        shown = f"images ({'x'.join(map(str, space.shape))} bytes)" if is_image(space) else str(space)
        raise InputError(f"synthetic.share: {env_id} shows {shown}, expected vectors: Box, Discrete or MultiDiscrete")


def with_synthetic(real: ReplayBatch | None, synthetic: ReplayBatch) -> ReplayBatch:
    """Both as one minibatch, the real rows first; ``rows`` says where those are stored."""
    if real is None:
        return synthetic
    columns = {
        name: torch.cat([column, getattr(synthetic, name)]) for name, column in vars(real).items() if name != "rows"
    }
    return ReplayBatch(**columns, rows=real.rows)
