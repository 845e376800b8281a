"""``gail expert ENV``: reinforcement learning on the true reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.agents.expert import ExpertConfig, expert_recipe, train_expert
from gail.cli.options import (
    Common,
    default_out,
    flag_value,
    parse,
    parse_kwargs,
    print_json,
    print_protocol,
    settings_from_file,
    show,
)
from gail.core.errors import InputError
from gail.envs import make_vec, resolve_env
from gail.envs.worker_options import WorkerOptions


@dataclass(frozen=True)
class Arguments:
    """Train an expert on the environment's own reward."""

    env: tyro.conf.Positional[str]
    """What is played, for example Hopper-v5; it comes first."""
    out: Path | None = None
    """Run directory; must be new or empty. By default a fresh one under runs/."""
    seed: int = 0
    """Determines everything on CPU."""
    resume: bool = False
    """Go on with the run in OUT from its last checkpoint."""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON."""
    config: Path | None = None
    """A TOML file whose fields override the recipe; flags override both."""
    settings: Annotated[ExpertConfig, tyro.conf.arg(name="")] = field(default_factory=ExpertConfig)
    """The learner and its hyperparameters."""
    workers: Annotated[WorkerOptions, tyro.conf.arg(name="")] = field(default_factory=WorkerOptions)
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Train, print the table, return the exit status."""
    default = None
    if not any(word in ("-h", "--help") for word in argv):
        if not argv or argv[0].startswith("-"):
            raise InputError("the environment comes first: gail expert ENV")
        probe = make_vec(argv[0], 1, **(parse_kwargs(flag_value(argv, "--env-kwargs")) or {}))
        probe.close()
        settings = expert_recipe(probe.env_id, flag_value(argv, "--algo") or "ppo")
        file = flag_value(argv, "--config")
        if file is not None:
            settings = settings_from_file(settings, file)
        default = Arguments(env=tyro.MISSING, settings=settings)
    arguments = parse(
        Arguments, argv, prog="gail expert", description="Train an expert on the true reward.", default=default
    )
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: needs --out, the run directory to go on with")
    out = arguments.out or default_out("expert", arguments.env, arguments.settings.algo)
    print_protocol(*resolve_env(arguments.env, parse_kwargs(arguments.env_kwargs)))
    result = train_expert(
        arguments.env,
        config=arguments.settings,
        seed=arguments.seed,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        out=out,
        resume=arguments.resume,
        workers=arguments.workers,
    )
    summary = result.summary
    row = {
        "return": summary["return_mean"],
        "95%_interval": summary["return_interval"],
        "random": summary["random_return"],
        "steps": summary["steps"],
        "seconds": summary["wall_seconds"],
        "steps/s": summary["steps_per_second"],
    }
    show([row], title=f"{arguments.env}: expert by {arguments.settings.algo}, deterministic evaluation")
    print(f"run directory: {out}")
    if arguments.common.json:
        print_json({**summary, "out": str(out)})
    return 0
