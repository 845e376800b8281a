"""``gail envs list`` and ``gail envs check ENV``: what can be played."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import gymnasium as gym
import tyro

from gail.cli.options import Common, parse, parse_kwargs, print_json, print_protocol, show, subcommand
from gail.core.errors import InputError
from gail.envs import check_environment, resolve_env
from gail.envs.make import FAMILIES


@dataclass(frozen=True)
class ListArguments:
    """List what can be played with the packages that are installed."""

    filter: tyro.conf.Positional[str] = ""
    """The ids that contain this text; by default families with examples."""
    all: bool = False
    """Every id."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class CheckArguments:
    """Run every checker that fits on an environment."""

    env: tyro.conf.Positional[str]
    """An id, module:Id, module:Class or file.py:Class."""
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


_EXAMPLES = 4
"""As many ids stand for a family where nothing is filtered."""


def _list(argv: list[str]) -> int:
    arguments = parse(ListArguments, argv, prog="gail envs list", description="List what can be played.")
    rows: list[dict[str, Any]] = []
    counts = []
    seen: set[str] = set()
    for family in FAMILIES:
        # An id that several families play belongs to the first, which `auto` takes.
        ids = sorted({*family.ids()} - seen)
        seen |= {*ids}
        rows += [{"id": name, "family": family.title, "time_limit": _time_limit(name)} for name in ids]
        if ids:
            examples = ", ".join(ids[:: max(len(ids) // _EXAMPLES, 1)][:_EXAMPLES])
            counts.append({"family": family.title, "ids": len(ids), "for_example": examples})
    wanted = [row for row in rows if arguments.filter.lower() in row["id"].lower()]
    if not wanted:
        raise InputError(f"nothing that can be played here contains {arguments.filter!r}")
    if arguments.filter or arguments.all:
        show(wanted)
    else:
        show(counts, title="What can be played here (gail envs list TEXT: all ids with TEXT in them; --all: every id)")
        print("Your own: ./my_env.py:MyEnv, my_package:MyEnv, my_package:MyEnv-v0 (docs/custom_environment.md)")
    if arguments.common.json:
        print_json({"rows": wanted, "families": counts})
    return 0


def _time_limit(env_id: str) -> int | None:
    return gym.registry[env_id].max_episode_steps if env_id in gym.registry else None


def _check(argv: list[str]) -> int:
    arguments = parse(
        CheckArguments, argv, prog="gail envs check", description="Check an environment; a finding says how to mend it."
    )
    kwargs = parse_kwargs(arguments.env_kwargs) or {}
    print_protocol(*resolve_env(arguments.env, kwargs))
    report = check_environment(
        arguments.env, num_envs=arguments.num_envs, backend=arguments.backend, steps=arguments.steps, **kwargs
    )
    for finding in report.findings:
        print(f"{finding.rule}: {finding.where}")
        for name in ("found", "expected", "mend"):
            print(f"  {name:<10}{getattr(finding, name)}")
    count = len(report.findings)
    who = ", ".join(report.checkers)
    print(f"{arguments.env}: {count or 'no'} finding{'' if count == 1 else 's'} (checked by: {who})")
    if arguments.common.json:
        rows = [{**asdict(finding), "message": finding.message} for finding in report.findings]
        print_json({"env_id": arguments.env, "findings": rows, "checkers": list(report.checkers)})
    return 1 if report.findings else 0
