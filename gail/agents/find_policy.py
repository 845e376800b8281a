"""Who plays, by what the user calls it: a file of this toolkit, a run, or the user's own code."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gail.agents.policy import Policy, load_policy
from gail.agents.sb3_zip import SB3Options
from gail.core.errors import InputError
from gail.envs import EnvLike, open_vec, resolve_env
from gail.envs.resolve import load_named


@dataclass(frozen=True)
class FoundPolicy:
    """A policy and what it is to play."""

    policy: Policy
    """Who plays."""
    env_id: EnvLike
    """What: as asked for, else what it was trained in."""
    env_kwargs: dict[str, Any]
    """Its keywords, likewise."""
    note: str = ""
    """What was assumed about a file that does not say everything."""


def find_policy(
    source: str | Path,
    env_id: EnvLike | None = None,
    env_kwargs: dict[str, Any] | None = None,
    device: torch.device | str = "cpu",
    *,
    sb3: SB3Options | None = None,
) -> FoundPolicy:
    """The policy that ``source`` names.

    ``FILE.py:NAME`` and ``MODULE:NAME`` name a class or function of the user's, which is run: it is called with the
    environment's ``(observation_space, action_space)``, and ``device`` where it takes that, and returns a
    :class:`gail.agents.Policy`. Such a name is taken from the user only, never from a file.

    Args:
        source: a run directory, a ``policy.safetensors``, a zip of Stable-Baselines3, ``FILE.py:NAME`` or
            ``MODULE:NAME``.
        env_id: what is played; None: what the policy was trained in. The user's own code needs one.
        env_kwargs: keywords of the environment; None: those of the training.
        device: where the policy lives.
        sb3: what a zip of Stable-Baselines3 does not say.

    Raises:
        InputError: where there is no such policy or environment.
    """
    if not is_own_code(source):
        loaded = load_policy(source, device, sb3=sb3)
        resolved, kwargs = loaded.environment(env_id, env_kwargs)
        return FoundPolicy(loaded.policy, resolved, kwargs, loaded.note)
    if env_id is None:
        raise InputError(f"{source}: --env is missing; code of your own does not say what it plays")
    resolved, kwargs = resolve_env(env_id, env_kwargs)
    return FoundPolicy(own_policy(str(source), resolved, kwargs, device), resolved, kwargs)


def is_own_code(source: str | Path) -> bool:
    """Whether ``source`` is a user's name for code instead of the path of a file or run."""
    return ":" in str(source) and not Path(source).exists()


def own_policy(name: str, env: EnvLike, env_kwargs: dict[str, Any], device: torch.device | str = "cpu") -> Policy:
    """The policy that ``FILE.py:NAME`` or ``MODULE:NAME`` makes for ``env`` (see :func:`find_policy`).

    Raises:
        InputError: where there is no such name, or it makes something else.
    """
    make = load_named(name)
    with open_vec(env, 1, **env_kwargs) as made:
        spaces = (made.observation_space, made.action_space)
    policy = make(*spaces, device=device) if "device" in inspect.signature(make).parameters else make(*spaces)
    for part in ("act", "initial_state", "observation_space", "action_space"):
        if not hasattr(policy, part):
            raise InputError(f"{name}: makes a {type(policy).__name__} without {part!r}, expected a gail.agents.Policy")
    return policy
