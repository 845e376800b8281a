"""``gail demos collect, info, check, convert, join, replay``: demonstrations in and out of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gail.agents.collect import collect_demos
from gail.agents.find_policy import find_policy
from gail.agents.sb3_zip import SB3Options
from gail.cli.options import Common, format_value, parse, parse_kwargs, print_json, print_protocol, subcommand
from gail.cli.reading import FileLayout, Reading
from gail.core.errors import InputError
from gail.demos import Demonstrations, describe, inspect_demos, join_demos, load_demos, save_demos
from gail.demos.origin import describe_origin
from gail.demos.replay import replay, replay_native
from gail.demos.save import require_name
from gail.envs import env_text


@dataclass(frozen=True)
class InfoArguments:
    """Show what a demonstration file holds."""

    path: tyro.conf.Positional[Path]
    """A file or folder of any kind."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class CheckArguments:
    """Look for defects; exit status 1 where there are any."""

    path: tyro.conf.Positional[Path]
    """A file or folder of any kind."""
    no_simulate: bool = False
    """Do not play recorded steps again in the simulator."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class ConvertArguments:
    """Write demonstrations in another format."""

    path: tyro.conf.Positional[Path]
    """A file or folder of any kind."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write; must not exist yet."""
    to: Literal["npz", "minari"] | None = None
    """The format; by default npz where OUT ends in .npz, else Minari."""
    episodes: int | None = None
    """Keep the first so many episodes."""
    reading: Annotated[Reading, tyro.conf.arg(name="")] = field(default_factory=Reading)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class JoinArguments:
    """Write several files as one: their episodes, or all steps where one of them holds unrelated transitions.

    Recorded and synthetic files may be joined; the result says in its field `generator` how many of its rows are from
    where.
    """

    paths: tyro.conf.Positional[tuple[Path, ...]]
    """Files or folders of any kind, of one environment."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write; must not exist yet."""
    to: Literal["npz", "minari"] | None = None
    """The format; by default npz where OUT ends in .npz, else Minari."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class CollectArguments:
    """Roll a policy into demonstrations."""

    policy: tyro.conf.Positional[str]
    """A run directory, a policy.safetensors, a zip of Stable-Baselines3, or code of your own: FILE.py:NAME or
    MODULE:NAME (the last two with --env)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write; must not exist yet."""
    episodes: int = 25
    """How many."""
    env: str | None = None
    """What is played; by default what the policy was trained in, where that is a registered environment."""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON; those of the training where not given."""
    stochastic: bool = False
    """Sample actions instead of taking the most probable ones."""
    seed: int = 1000
    """Episode i is reset with seed + i."""
    sb3: Annotated[SB3Options, tyro.conf.arg(name="")] = field(default_factory=SB3Options)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


@dataclass(frozen=True)
class ReplayArguments:
    """Play recorded human actions again in the emulator and keep what an agent would see."""

    path: tyro.conf.Positional[Path]
    """An .npz with one action and one reward per frame (actions, rewards, rom)."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write; must not exist yet."""
    native: bool = False
    """Keep every full colour frame (.npz only) instead of 84x84 grey ones, 4 stacked, at frame skip 4."""
    to: Literal["npz", "minari"] | None = None
    """The format; by default npz where OUT ends in .npz, else Minari."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Find the verb and return its exit status."""
    verbs: dict[str, Callable[[list[str]], int]] = {
        "collect": _collect,
        "info": _info,
        "check": _check,
        "convert": _convert,
        "join": _join,
        "replay": _replay,
    }
    return subcommand(argv, "demos", verbs)


def _print_description(data: dict[str, Any]) -> None:
    for name, value in data.items():
        if isinstance(value, dict) and "parts" in value:
            shown = f"{value['kind']} of {len(value['parts'])} sets"
        elif isinstance(value, dict):
            shown = ", ".join(f"{key} {format_value(item)}" for key, item in value.items()) or "-"
        else:
            shown = format_value(value) if value != "" else "-"
        print(f"{name.replace('_', ' '):<14}{shown}")


def _describe(demos: Demonstrations) -> dict[str, Any]:
    return {**describe(demos), "origin": describe_origin(demos)}


def _info(argv: list[str]) -> int:
    arguments = parse(InfoArguments, argv, prog="gail demos info", description="Show what a demonstration file holds.")
    data = _describe(arguments.reading.load(arguments.path))
    _print_description(data)
    if arguments.common.json:
        print_json(data)
    return 0


def _check(argv: list[str]) -> int:
    arguments = parse(CheckArguments, argv, prog="gail demos check", description="Look for defects.")
    reading = arguments.reading
    report = inspect_demos(
        arguments.path if reading.layout == FileLayout() else reading.load(arguments.path),
        reading.env,
        parse_kwargs(reading.env_kwargs),
        simulate=not arguments.no_simulate,
    )
    for finding in report.findings:
        where = "" if finding.episode is None else f" (episode {finding.episode})"
        print(f"{finding.rule}{where}: {finding.message}")
    for skipped in report.skipped:
        print(f"not checked, {skipped.rule}: {skipped.reason}")
    count = len(report.findings)
    print(f"{arguments.path}: {count or 'no'} finding{'' if count == 1 else 's'}")
    if arguments.common.json:
        findings = [{"rule": f.rule, "episode": f.episode, "message": f.message} for f in report.findings]
        skipped_rows = [{"rule": s.rule, "reason": s.reason} for s in report.skipped]
        print_json({"path": str(arguments.path), "findings": findings, "skipped": skipped_rows})
    return 1 if report.findings else 0


def _convert(argv: list[str]) -> int:
    arguments = parse(
        ConvertArguments, argv, prog="gail demos convert", description="Write demonstrations in another format."
    )
    demos = arguments.reading.load(arguments.path)
    if arguments.episodes is not None:
        if not 1 <= arguments.episodes <= len(demos):
            raise InputError(f"--episodes: {arguments.episodes}, expected 1 to {len(demos)}")
        demos = demos.first(arguments.episodes)
    return _write(demos, arguments.out, arguments.to, arguments.common)


def _join(argv: list[str]) -> int:
    arguments = parse(JoinArguments, argv, prog="gail demos join", description="Write several files as one.")
    if len(arguments.paths) < 2:
        raise InputError(f"gail demos join: expected at least 2 files, found {len(arguments.paths)}")
    demos = join_demos([load_demos(path) for path in arguments.paths])
    return _write(demos, arguments.out, arguments.to, arguments.common)


def _collect(argv: list[str]) -> int:
    arguments = parse(
        CollectArguments, argv, prog="gail demos collect", description="Roll a policy into demonstrations."
    )
    if arguments.episodes < 1:
        raise InputError(f"--episodes: {arguments.episodes}, expected at least 1")
    if arguments.out.exists():
        raise InputError(f"{arguments.out}: exists already; choose another --out")
    require_name(arguments.out)
    found = find_policy(arguments.policy, arguments.env, parse_kwargs(arguments.env_kwargs), sb3=arguments.sb3)
    if found.note:
        print(found.note)
    print_protocol(env_text(found.env_id), found.env_kwargs)
    demos = collect_demos(
        found.policy,
        found.env_id,
        episodes=arguments.episodes,
        env_kwargs=found.env_kwargs,
        deterministic=not arguments.stochastic,
        seed=arguments.seed,
        source=f"gail demos collect {arguments.policy}",
        progress=True,
    )
    return _write(demos, arguments.out, None, arguments.common)


def _replay(argv: list[str]) -> int:
    arguments = parse(ReplayArguments, argv, prog="gail demos replay", description="Play recorded human actions again.")
    out = arguments.out
    if out.exists():
        raise InputError(f"{out}: exists already; choose another --out")
    require_name(out, arguments.to)
    if arguments.native and (out.suffix != ".npz" or arguments.to == "minari"):
        raise InputError(f"{out}: --native writes .npz only; convert it where it fits into memory")
    result = (
        replay_native(arguments.path, out, progress=True) if arguments.native else replay(arguments.path, progress=True)
    )
    print_protocol(result.demos.env_id or "", result.demos.env_kwargs)
    print(
        f"{result.frames:,} frames: recorded return {result.recorded_return:,g}, replayed {result.replayed_return:,g}, "
        "every reward reproduced"
    )
    if not arguments.native:
        print(
            f"{result.demos.steps:,} steps, {result.mixed:,} of them ({result.mixed / result.demos.steps:.1%}) with "
            "mixed actions: the one held longest counts, the latest of equals"
        )
    demos = result.demos if arguments.native else load_demos(save_demos(result.demos, out, arguments.to))
    data = _describe(demos)
    _print_description(data)
    if arguments.common.json:
        counts = {name: getattr(result, name) for name in ("frames", "recorded_return", "replayed_return", "mixed")}
        print_json({**data, **counts, "out": str(out)})
    return 0


def _write(demos: Demonstrations, out: Path, to: Literal["npz", "minari"] | None, common: Common) -> int:
    written = load_demos(save_demos(demos, out, to))
    data = _describe(written)
    _print_description(data)
    if common.json:
        print_json(data)
    return 0
