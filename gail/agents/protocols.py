"""Published evaluation protocols for Atari games: what is fixed, and what stays the policy's own.

A protocol fixes how the console is driven and how many episodes count. What the policy sees (preprocessing, stacking)
and which variant of the game it plays (mode, difficulty) are always its own: they come from its training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import gymnasium as gym

from gail.core.errors import InputError
from gail.envs import resolve_env
from gail.envs.atari import is_atari
from gail.envs.vec import VecEnv

_TRAINING_ONLY: Final = {"reward_clipping": False, "episodic_life": False}
"""No evaluation changes the game itself; the environments leave these out of one."""
_FRAMES: Final = 108_000
"""30 minutes of play."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """How policies are compared."""

    name: str
    """As ``--protocol`` takes it."""
    fixed: Mapping[str, Any]
    """Keywords of the environment that nobody may change (see :class:`gail.envs.atari.AtariProtocol`). All others are
    the policy's own: they come from its training."""
    episodes: int
    """Played where nobody says otherwise."""
    fewest_episodes: int
    """With fewer, the score may not be called by this protocol's name."""
    source: str
    """Where it is published."""

    def env_kwargs(
        self, env_id: str, trained: Mapping[str, Any], asked: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Every keyword of the environment that is played.

        Args:
            env_id: an ``ALE/*-v5`` id.
            trained: the keywords of the policy's training.
            asked: the user's keywords; they add to the protocol and cannot change it.

        Raises:
            InputError: where ``asked`` contradicts the protocol or is no keyword of the environment.
        """
        rules = {**self.fixed, **_TRAINING_ONLY}
        for name, value in (asked or {}).items():
            if name in rules and value != rules[name]:
                raise InputError(
                    f"--env-kwargs: {name} is {value!r}, but protocol {self.name} fixes it to {rules[name]!r}"
                )
            if name == "max_episode_steps":
                frames = self.fixed["max_num_frames_per_episode"]
                raise InputError(f"--env-kwargs: {name}: protocol {self.name} fixes the limit to {frames:,} frames")
        return resolve_env(env_id, {**trained, **(asked or {}), **self.fixed}, for_evaluation=True)[1]

    def check_episodes(self, episodes: int) -> None:
        """Refuse fewer episodes than the protocol needs.

        Raises:
            InputError: naming both.
        """
        if episodes < self.fewest_episodes:
            raise InputError(
                f"--episodes: {episodes}, protocol {self.name} needs at least {self.fewest_episodes} per policy"
            )

    def check_actions(self, policy_space: gym.Space, env: VecEnv) -> None:
        """Refuse a policy whose action set is not the one that the protocol plays with.

        Raises:
            InputError: naming both sets.
        """
        if policy_space == env.action_space:
            return
        kind = "all of the console's" if env.env_kwargs["full_action_space"] else "the game's minimal set"
        advice = "" if "full_action_space" not in self.fixed else "; protocol machado takes the policy's own action set"
        raise InputError(
            f"{env.env_id}: the policy's actions are {policy_space}, protocol {self.name} plays with "
            f"{env.action_space} ({kind}){advice}"
        )


PROTOCOLS: Final = {
    protocol.name: protocol
    for protocol in (
        EvaluationProtocol(
            name="v5",
            fixed={
                "repeat_action_probability": 0.25,
                "frameskip": 4,
                "noop_max": 0,
                "full_action_space": False,
                "max_num_frames_per_episode": _FRAMES,
            },
            episodes=50,
            fewest_episodes=1,
            source="defaults of the ALE/*-v5 ids (Arcade Learning Environment 0.8 and later)",
        ),
        EvaluationProtocol(
            name="machado",
            fixed={
                "repeat_action_probability": 0.25,
                "noop_max": 0,
                "use_fire_reset": False,
                "max_num_frames_per_episode": _FRAMES,
            },
            episodes=100,
            fewest_episodes=100,
            source="Machado et al. 2018 (arXiv:1709.06009)",
        ),
        EvaluationProtocol(
            name="dqn",
            fixed={
                "repeat_action_probability": 0.0,
                "frameskip": 4,
                "noop_max": 30,
                "use_fire_reset": False,
                "full_action_space": False,
                "max_num_frames_per_episode": _FRAMES,
            },
            episodes=30,
            fewest_episodes=30,
            source="Mnih et al. 2015, with the 30-minute limit of van Hasselt et al. 2016 (arXiv:1509.06461)",
        ),
    )
}
"""By name."""


def choose_protocol(env_id: str, name: str | None) -> EvaluationProtocol | None:
    """The protocol called ``name``; without a name, v5 for Atari games and none for anything else.

    Raises:
        InputError: on an unknown name, or a protocol for an environment that it does not govern.
    """
    if name is not None and name not in PROTOCOLS:
        raise InputError(f"--protocol: {name!r} is unknown, expected one of {', '.join(PROTOCOLS)}")
    if not is_atari(env_id):
        if name is not None:
            raise InputError(f"--protocol: {name} is for ALE/*-v5 environments, found {env_id}")
        return None
    return PROTOCOLS[name or "v5"]
