"""``gail train ENV --demos PATH``: imitation."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from gail.cli.options import (
    Common,
    default_out,
    flag_value,
    format_value,
    parse,
    parse_kwargs,
    print_json,
    print_protocol,
    refuse_unread_flags,
    settings_from_file,
    show,
)
from gail.cli.reading import FileLayout
from gail.core.errors import InputError
from gail.demos import Demonstrations, Transitions
from gail.demos.origin import describe_origin
from gail.envs import make_vec, resolve_env
from gail.envs.worker_options import WorkerOptions
from gail.imitation.imitate import imitate
from gail.imitation.pseudo import Proposer
from gail.imitation.recipes import AlgoName, ImitationConfig, recipe


@dataclass(frozen=True)
class Arguments:
    """Learn to act like the expert of a demonstration file."""

    env: tyro.conf.Positional[str]
    """What is played, for example CartPole-v1; it comes first."""
    demos: Path
    """Demonstrations of any kind that `gail demos info` reads."""
    out: Path | None = None
    """Run directory; must be new or empty. By default a fresh one under runs/."""
    seed: tuple[int, ...] = (0,)
    """One seed, or several for as many runs under OUT/seed-S."""
    resume: bool = False
    """Go on with the runs in OUT from their last checkpoints."""
    nonsense_check: bool = False
    """Train once more on a random policy's demonstrations: how much of the score is survival?"""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON; those of the demonstrations where not given."""
    config: Path | None = None
    """A TOML file whose fields override the recipe; flags override both."""
    settings: Annotated[ImitationConfig, tyro.conf.arg(name="")] = field(default_factory=ImitationConfig)
    """The method and its hyperparameters."""
    layout: Annotated[FileLayout, tyro.conf.arg(name="")] = field(default_factory=FileLayout)
    workers: Annotated[WorkerOptions, tyro.conf.arg(name="")] = field(default_factory=WorkerOptions)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Train, print the table, return the exit status."""
    arguments = parse(
        Arguments,
        argv,
        prog="gail train",
        description="Learn from demonstrations.",
        default=_defaults(argv),
    )
    refuse_unread_flags(argv, arguments.settings.algo, get_args(AlgoName))
    kwargs = parse_kwargs(arguments.env_kwargs)
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: needs --out, the run directory to go on with")
    out = arguments.out or default_out("train", arguments.env, arguments.settings.algo)
    layout = arguments.layout
    # Rows that do not follow from each other are told by the environment itself, where its state can be set.
    played: dict[str, Any] = {"env_id": arguments.env, "env_kwargs": kwargs} if layout.columns.episode_by_jump else {}
    demos = layout.load(arguments.demos, **played)
    print_protocol(*resolve_env(arguments.env, demos.env_kwargs if kwargs is None else kwargs))
    if demos.generator is not None:
        print(f"{arguments.demos}: {describe_origin(demos)}")
    result = imitate(
        arguments.env,
        demos,
        config=arguments.settings,
        seed=arguments.seed,
        env_kwargs=kwargs,
        out=out,
        resume=arguments.resume,
        workers=arguments.workers,
        proposer=_proposer,
        nonsense_check=arguments.nonsense_check,
    )
    rows = [
        {
            "seed": item.seed,
            "algorithm": item.summary["algo"],
            "return": item.summary["return_mean"],
            "95%_interval": item.summary["return_interval"],
            "normalized": item.summary["normalized_return"],
            "random": item.summary["random_return"],
            "expert": item.summary["expert_return"],
            "steps": item.summary["steps"],
            "seconds": item.summary["wall_seconds"],
            "steps/s": item.summary["steps_per_second"],
        }
        for item in result.seeds
    ]
    show(rows, title=f"{arguments.env}: deterministic evaluation")
    for item in result.seeds:
        if "nonsense_check" in item.summary:
            check = item.summary["nonsense_check"]
            print(
                f"nonsense check, seed {item.seed}: on a random policy's demonstrations the same configuration "
                f"returns {format_value(check['return_mean'])} (normalized {format_value(check['normalized_return'])})"
                f": that much of the score needs no expert."
            )
    print(f"run directory: {out}")
    if arguments.common.json:
        print_json({**result.summary, "out": str(out)})
    return 0


def _proposer(kind: str, demos: Demonstrations, expert: Transitions, seed: int) -> Proposer:
    # Only now: generators take as long to import as all the rest, and few runs have such a player.
    from gail.generators.proposals import Proposals

    return Proposals(kind, demos, expert, seed)


def _defaults(argv: list[str]) -> Arguments | None:
    """The recipe of the environment, overridden by the TOML file: what flags then override."""
    if not argv or argv[0].startswith("-"):
        if any(flag in argv for flag in ("-h", "--help")):
            return None
        raise InputError("the environment comes first: gail train ENV --demos PATH")
    kwargs = parse_kwargs(flag_value(argv, "--env-kwargs")) or {}
    probe = make_vec(argv[0], 1, **kwargs)
    settings = recipe(probe.env_id, probe.action_space)
    probe.close()
    file = flag_value(argv, "--config")
    if file is not None:
        settings = settings_from_file(settings, file)
    return Arguments(env=tyro.MISSING, demos=tyro.MISSING, settings=settings)
