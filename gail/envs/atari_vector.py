"""Atari games stepped together by ALE's own threads (``ale_py.AtariVectorEnv``)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.envs.atari import AtariProtocol
from gail.envs.atari_single import console_seed
from gail.envs.vec import State, Step, VecEnv
from gail.envs.wording import raised

_UNLIMITED = 2**30


class AtariVecEnv(VecEnv):
    """``num_envs`` games of one id, preprocessed in C++; bit-equal to Gymnasium's wrappers (see the tests).

    Observations are uint8 ``[N, stack, height, width]`` (colour: ``[..., 3]``) and are handed over without a copy on
    the host. Running games cannot be saved: a resumed run starts new ones, seeded by the run's seed and step.
    """

    def __init__(
        self, spec: EnvSpec, num_envs: int, protocol: AtariProtocol, device: torch.device | str = "cpu"
    ) -> None:
        """Make the games.

        Args:
            spec: a registered ``ALE/*-v5`` id.
            num_envs: N.
            protocol: how they are played.
            device: where the tensors of a step live.

        Raises:
            InputError: on a protocol that only single environments have.
        """
        from ale_py.vector_env import AtariVectorEnv
        from gymnasium.vector import AutoresetMode

        if protocol.needs_single:
            raise InputError(
                f"{spec.id}: backend 'atari' has pixels in the default mode only, found obs_type="
                f"{protocol.obs_type!r}, mode={protocol.mode}, difficulty={protocol.difficulty}; use 'sync' or 'async'"
            )
        self._games: Any = AtariVectorEnv(
            spec.kwargs["game"],
            num_envs,
            # ALE would cut within a step, before the last frame is drawn: the successor would not be the true one.
            max_num_frames_per_episode=_UNLIMITED,
            repeat_action_probability=protocol.repeat_action_probability,
            full_action_space=protocol.full_action_space,
            autoreset_mode=AutoresetMode.SAME_STEP,
            img_height=protocol.img_height,
            img_width=protocol.img_width,
            grayscale=protocol.grayscale,
            stack_num=protocol.stack_num,
            frameskip=protocol.frameskip,
            maxpool=protocol.frameskip > 1,
            # It draws from 0 to noop_max - 1.
            noop_max=protocol.noop_max + 1 if protocol.noop_max else 0,
            episodic_life=protocol.episodic_life,
            life_loss_info=False,
            reward_clipping=protocol.reward_clipping,
            use_fire_reset=protocol.use_fire_reset,
        )
        self.env_id = spec.id
        self.env_kwargs = protocol.keywords()
        self.num_envs = num_envs
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space
        self.max_episode_steps = protocol.max_episode_steps
        self.device = torch.device(device)
        self.saves_state = False
        self._valid = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._seed: int | None = None
        self._steps = 0
        self._elapsed = np.zeros(num_envs, dtype=np.int64)

    def _to_device(self, array: np.ndarray) -> Tensor:
        # No copy on the host: every step of the wrapped object returns fresh arrays.
        return torch.from_numpy(array).to(self.device)

    def _start(self, seeds: list[int] | None) -> Tensor:
        with self._named():
            obs, _ = self._games.reset(seed=None if seeds is None else np.asarray(seeds))
        self._elapsed[:] = 0
        return self._to_device(obs)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new games everywhere; see :meth:`VecEnv.reset`."""
        self._steps = 0
        if seed is None and self._seed is not None:
            return self._start(None)
        # Games that were never seeded would all take the same second of the clock as their seed.
        self._seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else int(seed)
        return self._start([console_seed(self._seed + i) for i in range(self.num_envs)])

    def step(self, actions: Tensor) -> Step:
        """Play one step; see :meth:`VecEnv.step`.

        Raises:
            InputError: where ``actions`` is not ``[N]`` or holds no actions of the game.
            EnvironmentFault: where ALE raises.
        """
        if self._seed is None:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        self._check_actions(actions)
        played = actions.detach().cpu().numpy().astype(np.int64)
        if played.min() < 0 or played.max() >= self.action_space.n:  # type: ignore[attr-defined]
            raise InputError(f"{self.env_id}: actions are {played.tolist()}, expected elements of {self.action_space}")
        self._steps += 1
        with self._named(played):
            obs, reward, terminated, _, info = self._games.step(played)
        self._elapsed += 1
        truncated = self._elapsed >= (self.max_episode_steps or _UNLIMITED)
        ended = terminated | truncated
        next_obs = obs
        if ended.any():
            self._elapsed[ended] = 0
            next_obs = obs.copy()
            if terminated.any():
                next_obs[terminated] = info["final_obs"][terminated]
            if (cut := truncated & ~terminated).any():
                with self._named(played):
                    obs = self._games.reset(options={"reset_mask": cut})[0]
        obs_tensor = self._to_device(obs)
        return Step(
            obs_tensor,
            obs_tensor if next_obs is obs else self._to_device(next_obs),
            self._to_device(reward).float(),
            self._to_device(terminated),
            self._to_device(truncated),
            self._valid,
        )

    @contextmanager
    def _named(self, actions: np.ndarray | None = None) -> Iterator[None]:
        """Turn what ALE raises into a fault of all games: it does not say in which one that was."""
        try:
            yield
        except Exception as error:
            seeds = {row: None if self._seed is None else self._seed + row for row in range(self.num_envs)}
            when = "" if actions is None else f"in step {self._steps} since the last reset"
            raise EnvironmentFault(self.env_id, f"raised {raised(error)}", seeds, when=when, action=actions) from error

    def state_dict(self) -> State:
        """The seed and the steps since; running games cannot be saved."""
        return {"seed": self._seed, "steps": self._steps}

    def load_state_dict(self, state: State) -> Tensor:
        """Start new games, the same ones whenever the same state is loaded; returns their observations."""
        self._seed, self._steps = int(state["seed"]), int(state["steps"])
        fresh = int(np.random.SeedSequence([self._seed, self._steps]).generate_state(1)[0])
        return self._start([console_seed(fresh + i) for i in range(self.num_envs)])

    def close(self) -> None:
        """Stop the threads."""
        self._games = None
