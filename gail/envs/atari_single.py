"""One Atari game from Gymnasium's wrappers; imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import InputError
from gail.envs.atari import read_protocol

FRAMES_PER_SECOND = 60
"""What a console shows."""


def console_seed(seed: int) -> int:
    """The seed of the console's random generator for an environment's ``seed``.

    It is the one that Gymnasium's ``AtariEnv`` derives, without its sign: that class hands half of all seeds to ALE as
    negative numbers, which ALE's vectorized class takes for "no seed".
    """
    return int(np.random.SeedSequence(seed).generate_state(2)[1]) & 0x7FFFFFFF


class _Start(gym.Wrapper):
    """Seeds the console, presses FIRE and waits, as the vectorized class does."""

    def __init__(self, env: gym.Env, noop_max: int, use_fire_reset: bool) -> None:
        super().__init__(env)
        self.noop_max = noop_max
        self.console = cast(Any, env.unwrapped)
        self.fire = use_fire_reset and "FIRE" in self.console.get_action_meanings()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(seed=seed, options=options)
        ale = self.console.ale
        if seed is not None and ale.getInt("random_seed") < 0:
            ale.setInt("random_seed", console_seed(seed))
            self.console.load_game()
            ale.reset_game()
        if not (self.fire or self.noop_max):
            return obs, info
        import ale_py

        if self.fire:
            ale.act(ale_py.Action.FIRE)
        for _ in range(int(self.unwrapped.np_random.integers(self.noop_max + 1))):
            ale.act(ale_py.Action.NOOP)
            if ale.game_over():
                ale.reset_game()
        return self.console._get_obs(), info


def silence() -> None:
    """Keep ALE's banner off the screen; errors are still shown."""
    import ale_py

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)


def make_single(
    spec: EnvSpec, keywords: Mapping[str, Any], insert: Callable[[gym.Env], gym.Env] | None = None
) -> gym.Env:
    """One environment of an ``ALE/*-v5`` id, from Gymnasium's wrappers.

    Args:
        spec: the registered id.
        keywords: as of :func:`read_protocol`, and ``render_mode``.
        insert: wraps the console, below the preprocessing (pixels: one frame per step).

    Raises:
        InputError: on a bad keyword, a mode or difficulty that the game does not have.
    """
    from gymnasium.wrappers import AtariPreprocessing, ClipReward, FrameStackObservation, TimeLimit

    silence()
    options = dict(keywords)
    render_mode = options.pop("render_mode", None)
    protocol = read_protocol(spec.id, options)
    pixels = protocol.obs_type == "pixels"
    try:
        env: gym.Env = gym.make(
            spec,
            disable_env_checker=True,
            render_mode=render_mode,
            obs_type=("grayscale" if protocol.grayscale else "rgb") if pixels else protocol.obs_type,
            frameskip=1 if pixels else protocol.frameskip,
            repeat_action_probability=protocol.repeat_action_probability,
            full_action_space=protocol.full_action_space,
            max_num_frames_per_episode=0,
            mode=protocol.mode,
            difficulty=protocol.difficulty,
            sound_obs=protocol.sound_obs,
        )
    except RuntimeError as error:
        raise InputError(f"{spec.id}: mode {protocol.mode}, difficulty {protocol.difficulty}: {error}") from error
    env = _Start(env, protocol.noop_max, protocol.use_fire_reset)
    if insert is not None:
        env = insert(env)
    if pixels:
        env = AtariPreprocessing(
            env,
            noop_max=0,
            frame_skip=protocol.frameskip,
            screen_size=(protocol.img_width, protocol.img_height),
            terminal_on_life_loss=protocol.episodic_life,
            grayscale_obs=protocol.grayscale,
        )
        env = FrameStackObservation(env, protocol.stack_num, padding_type="zero")
    if protocol.reward_clipping:
        env = ClipReward(env, -1.0, 1.0)
    if protocol.max_episode_steps is not None:
        env = TimeLimit(env, protocol.max_episode_steps)
    env.metadata = {**env.metadata, "render_fps": max(FRAMES_PER_SECOND // protocol.frameskip, 1)}
    return env
