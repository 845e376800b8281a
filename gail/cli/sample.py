"""``gail sample MODEL -o PATH``: draws from a generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from gail.cli.options import Common, parse, print_json
from gail.demos import Demonstrations
from gail.generators import sample


@dataclass(frozen=True)
class Arguments:
    """Draw samples and write them; demonstrations say in the file that they are synthetic."""

    model: tyro.conf.Positional[Path]
    """A run directory of `gail fit`, or a model.safetensors."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to write; must not exist yet. Images: a .png for one grid, else a folder."""
    episodes: int | None = None
    """How many episodes, from a model of episodes."""
    transitions: int | None = None
    """How many transitions, from a model of transitions."""
    count: int | None = None
    """How many items, from a model of images, text or tokens."""
    label: int | None = None
    """The class to draw; by default all alike."""
    seed: int = 0
    """Determines the samples on CPU."""
    device: str = "cpu"
    """Where to sample."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


def run(argv: list[str]) -> int:
    """Sample, write, say what was written."""
    arguments = parse(Arguments, argv, prog="gail sample", description="Draw from a generator.")
    product = sample(
        arguments.model,
        episodes=arguments.episodes,
        transitions=arguments.transitions,
        count=arguments.count,
        label=arguments.label,
        seed=arguments.seed,
        out=arguments.out,
        device=arguments.device,
    )
    unit = "items"
    if isinstance(product, Demonstrations):
        unit = "transitions" if product.kind == "transitions" else "episodes"
    print(f"{arguments.out}: {len(product):,} synthetic {unit}")
    if arguments.common.json:
        print_json({"out": str(arguments.out), unit: len(product), "seed": arguments.seed})
    return 0
