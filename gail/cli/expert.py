"""``gail expert ENV``: reinforcement learning on the true reward."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import torch
import tyro

from gail.agents.expert import OWN_ALGORITHMS, ExpertConfig, expert_recipe, train_expert
from gail.agents.group_expert import train_group_experts
from gail.agents.synthetic import Synthesizer, SyntheticConfig
from gail.cli.options import (
    Common,
    default_out,
    flag_value,
    parse,
    parse_kwargs,
    print_json,
    print_protocol,
    refuse_unread_flags,
    settings_from_file,
    show,
    show_groups,
)
from gail.core.errors import InputError
from gail.envs import make_vec, resolve_env
from gail.envs.multi_agent import UnlikeAgents
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
    groups: tuple[str, ...] = ()
    if not any(word in ("-h", "--help") for word in argv):
        if not argv or argv[0].startswith("-"):
            raise InputError("the environment comes first: gail expert ENV")
        algo = flag_value(argv, "--algo") or "ppo"
        kwargs = parse_kwargs(flag_value(argv, "--env-kwargs")) or {}
        try:
            probe = make_vec(argv[0], 1, **kwargs)
            probe.close()
            settings = expert_recipe(probe.env_id, algo)
        except UnlikeAgents as unlike:
            groups, settings = unlike.groups, expert_recipe(argv[0], algo)
        file = flag_value(argv, "--config")
        if file is not None:
            settings = settings_from_file(settings, file)
        default = Arguments(env=tyro.MISSING, settings=settings)
    arguments = parse(
        Arguments, argv, prog="gail expert", description="Train an expert on the true reward.", default=default
    )
    refuse_unread_flags(argv, arguments.settings.algo, OWN_ALGORITHMS)
    if arguments.resume and arguments.out is None:
        raise InputError("--resume: needs --out, the run directory to go on with")
    out = arguments.out or default_out("expert", arguments.env, arguments.settings.algo)
    print_protocol(*resolve_env(arguments.env, parse_kwargs(arguments.env_kwargs)))
    common: dict[str, Any] = {
        "config": arguments.settings,
        "seed": arguments.seed,
        "env_kwargs": parse_kwargs(arguments.env_kwargs),
        "out": out,
        "resume": arguments.resume,
    }
    summary = (
        train_group_experts(arguments.env, **common).summary
        if groups
        else train_expert(arguments.env, **common, workers=arguments.workers, synthesizer=_replay_model).summary
    )
    row = {
        "return": summary["return_mean"],
        "95%_interval": summary["return_interval"],
        "random": summary["random_return"],
        "steps": summary["steps"],
        "seconds": summary["wall_seconds"],
        "steps/s": summary["steps_per_second"],
    }
    by_group = summary.get("groups", {})
    if by_group:
        # A mean over groups that want different things would say nothing.
        row = {name: row[name] for name in ("steps", "seconds", "steps/s")}
    show([row], title=f"{arguments.env}: expert by {arguments.settings.algo}, deterministic evaluation")
    if by_group:
        show_groups(by_group)
    print(f"run directory: {out}")
    if arguments.common.json:
        print_json({**summary, "out": str(out)})
    return 0


def _replay_model(
    config: SyntheticConfig, observations: gym.Space, samples: gym.Space, seed: int, device: torch.device
) -> Synthesizer:
    # Only now: generators take as long to import as all the rest, and few runs have such a player.
    from gail.generators.replay_model import ReplayModel

    return ReplayModel(config, observations, samples, seed, device)
