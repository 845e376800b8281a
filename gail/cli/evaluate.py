"""``gail evaluate RUN_OR_POLICY``: how well a trained policy plays."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.agents.evaluate import EVALUATION_SEED, evaluate
from gail.cli.options import Common, parse, parse_kwargs, print_json, print_protocol, show
from gail.core.errors import InputError
from gail.report import policy_video


@dataclass(frozen=True)
class Arguments:
    """Play a trained policy."""

    source: tyro.conf.Positional[Path]
    """A run directory or a policy.safetensors."""
    env: str | None = None
    """What is played; by default what the policy was trained in, where that is a registered environment."""
    env_kwargs: str | None = None
    """Keyword arguments of the environment, as JSON; those of the training where not given."""
    episodes: int = 50
    """How many episodes."""
    stochastic: bool = False
    """Sample actions instead of taking the most probable ones."""
    seed: int = EVALUATION_SEED
    """Environment i starts from seed + i."""
    device: str = "cpu"
    """Where the policy runs."""
    video: Path | None = None
    """Write a video of the first episode to this new .mp4 file."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Evaluate, print the table, return the exit status."""
    arguments = parse(Arguments, argv, prog="gail evaluate", description="Play a trained policy.")
    if arguments.video is not None and arguments.video.exists():
        raise InputError(f"{arguments.video}: exists already; choose another --video")
    result = evaluate(
        arguments.source,
        env_id=arguments.env,
        env_kwargs=parse_kwargs(arguments.env_kwargs),
        episodes=arguments.episodes,
        deterministic=not arguments.stochastic,
        seed=arguments.seed,
        device=arguments.device,
    )
    print_protocol(result["env_id"], result["env_kwargs"])
    row = {
        "episodes": result["episodes"],
        "return": result["return_mean"],
        "95%_interval": result["return_interval"],
        "min": result["return_min"],
        "max": result["return_max"],
        "length": result["length_mean"],
        "normalized": result["normalized_return"],
        "random": result["random_return"],
        "expert": result["expert_return"],
    }
    actions = "sampled" if arguments.stochastic else "deterministic"
    show([row], title=f"{result['env_id']}: {actions} actions")
    if arguments.video is not None:
        kwargs = parse_kwargs(arguments.env_kwargs)
        policy_video(arguments.source, arguments.video, env_id=arguments.env, env_kwargs=kwargs, seed=arguments.seed)
        print(f"video: {arguments.video}")
        result["video"] = str(arguments.video)
    if arguments.common.json:
        print_json(result)
    return 0
