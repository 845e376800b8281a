"""``gail sample MODEL -o PATH``: draws from a generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from gail.cli.options import Common, parse, print_json
from gail.demos import Demonstrations
from gail.generators import sample, sample_transitions


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
    temperature: float | None = None
    """Divides the logits of the next token; 0 takes the most probable one (models of tokens). Of a gan, the spread of
    the noise: above 1 more varied items."""
    top_k: int | None = None
    """Choose among the so many most probable tokens only."""
    top_p: float | None = None
    """Choose among the most probable tokens that together hold this probability."""
    prompt: str | None = None
    """What a text goes on from."""
    length: int | None = None
    """Tokens per text, the prompt included."""
    target_return: float | None = None
    """The return that episodes should reach (models of returns)."""
    sampler: Literal["ddim", "edm"] | None = None
    """How noise becomes items (diffusion)."""
    sampling_steps: int | None = None
    """Steps from noise to item (diffusion)."""
    eta: float | None = None
    """Fresh noise of ddim: 0 none, 1 as DDPM."""
    guidance: float | None = None
    """How far to go beyond the difference that the class makes (diffusion, vqvae)."""
    seed: int = 0
    """Determines the samples on CPU."""
    device: str = "cpu"
    """Where to sample."""
    common: Annotated[Common, tyro.conf.arg(name="")] = field(default_factory=Common)


_OPTIONS = (
    "temperature",
    "top_k",
    "top_p",
    "prompt",
    "length",
    "target_return",
    "sampler",
    "sampling_steps",
    "eta",
    "guidance",
)
"""Settings of sampling; a kind of model refuses those that it does not have."""


def run(argv: list[str]) -> int:
    """Sample, write, say what was written."""
    arguments = parse(Arguments, argv, prog="gail sample", description="Draw from a generator.")
    settings = {name: getattr(arguments, name) for name in _OPTIONS}
    others = (arguments.episodes, arguments.count, arguments.label)
    if arguments.transitions is not None and others == (None, None, None) and arguments.out.suffix == ".npz":
        number, unit = arguments.transitions, "transitions"
        sample_transitions(
            arguments.model, number, arguments.out, seed=arguments.seed, device=arguments.device, **settings
        )
    else:
        product = sample(
            arguments.model,
            episodes=arguments.episodes,
            transitions=arguments.transitions,
            count=arguments.count,
            label=arguments.label,
            seed=arguments.seed,
            out=arguments.out,
            device=arguments.device,
            **settings,
        )
        number, unit = len(product), "items"
        if isinstance(product, Demonstrations):
            unit = "transitions" if product.kind == "transitions" else "episodes"
    print(f"{arguments.out}: {number:,} synthetic {unit}")
    if arguments.common.json:
        print_json({"out": str(arguments.out), unit: number, "seed": arguments.seed})
    return 0
