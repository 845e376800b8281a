"""``gail envs list`` and ``gail envs check ENV``: what can be played."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import gymnasium as gym
import tyro

from gail.cli.options import Common, parse, parse_kwargs, print_json, print_protocol, show, subcommand
from gail.core.errors import InputError
from gail.envs import check_vec_env, make_vec, resolve_env
from gail.envs.mujoco_family import MUJOCO_IDS
from gail.envs.native_family import NATIVE_IDS


@dataclass(frozen=True)
class ListArguments:
    """List the registered environments."""

    filter: tyro.conf.Positional[str] = ""
    """Only ids that contain this text."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class CheckArguments:
    """Run the contract on an environment."""

    env: tyro.conf.Positional[str]
    """The environment's id."""
    num_envs: int = 4
    """Environments stepped together."""
    backend: str = "auto"
    """auto, native, mujoco, atari, sync, async or vector_entry_point."""
    steps: int = 200
    """Steps of random play."""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """List or check; a finding makes the exit status 1."""
    return subcommand(argv, "envs", {"list": _list, "check": _check})


def _list(argv: list[str]) -> int:
    arguments = parse(ListArguments, argv, prog="gail envs list", description="List the registered environments.")
    ids = {*gym.registry, *NATIVE_IDS}
    rows = [
        {
            "id": name,
            "backend": _backend(name),
            "time_limit": gym.registry[name].max_episode_steps if name in gym.registry else None,
        }
        for name in sorted(ids)
        if arguments.filter.lower() in name.lower()
    ]
    if not rows:
        raise InputError(f"no registered environment contains {arguments.filter!r}")
    show(rows)
    if arguments.common.json:
        print_json({"rows": rows})
    return 0


def _backend(env_id: str) -> str:
    """What steps it where nothing else is asked for."""
    return "native" if env_id in NATIVE_IDS else "mujoco" if env_id in MUJOCO_IDS else "gymnasium"


def _check(argv: list[str]) -> int:
    arguments = parse(CheckArguments, argv, prog="gail envs check", description="Run the contract on an environment.")
    kwargs = parse_kwargs(arguments.env_kwargs) or {}
    print_protocol(*resolve_env(arguments.env, kwargs))
    env = make_vec(arguments.env, arguments.num_envs, backend=arguments.backend, **kwargs)
    try:
        findings = check_vec_env(env, steps=arguments.steps)
    finally:
        env.close()
    for finding in findings:
        print(f"{finding.rule}: {finding.message}")
    if not findings:
        print(f"{arguments.env}: {arguments.steps} steps of {arguments.num_envs} environments keep the contract")
    if arguments.common.json:
        rows = [{"rule": finding.rule, "message": finding.message} for finding in findings]
        print_json({"env_id": arguments.env, "findings": rows})
    return 1 if findings else 0
