"""``gail bench throughput --generators``: training steps of every generator beside a plain loop of the same network.

Ours is the engine as `gail fit` runs it, on data in memory, in the arithmetic that the processor multiplies fastest.
The *plain loop* (gail/cli/peers/loop_*.py) is what one would write without a toolkit: eager, float32, torch's defaults;
network, batch, optimizer and threads are equal. The last row is sampling with the transformer's cache, beside the same
model that reads all again for each token.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gail.cli.peers.setup import run_peer
from gail.core.device import use_threads
from gail.core.engine import train
from gail.core.errors import InputError
from gail.core.precision import runs_bf16
from gail.core.random import make_generator, seeded_initialization
from gail.demos import bundled_demos, load_demos
from gail.generators.dataset import Dataset
from gail.generators.game import Fitting
from gail.generators.images import ImageCodec
from gail.generators.kinds import build, kind_named
from gail.generators.text import TextCodec
from gail.generators.token_model import TokenSampling, choose
from gail.generators.transformer import Transformer, TransformerConfig
from gail.generators.transitions import segment_data, transition_data

SECONDS = 3.0
"""Length of one timed run."""
THREADS = 1
"""Of both sides."""

_WARM_UP = 3
_ITEMS = 4096
_SEQUENCES, _TOKENS = 16, 256

Side = Callable[[], float]
"""One timed run; returns steps per second."""


def _images() -> Dataset:
    draw = make_generator(0, "benchmark")
    pixels = torch.randint(256, (_ITEMS, 1, 28, 28), generator=draw, dtype=torch.uint8)
    labels = torch.randint(10, (_ITEMS,), generator=draw)
    return Dataset(pixels, ImageCodec((1, 28, 28)), labels=labels, classes=tuple("0123456789"))


def _transitions() -> Dataset:
    return transition_data(load_demos(bundled_demos("Hopper-v5")))


def _segments() -> Dataset:
    return segment_data(load_demos(bundled_demos("Hopper-v5")), length=32)


def _characters(length: int = 128) -> Dataset:
    alphabet = "".join(map(chr, range(58, 58 + 65)))
    stream = torch.randint(len(alphabet), (100_000,), generator=make_generator(0, "benchmark"), dtype=torch.uint8)
    return Dataset(stream.unfold(0, length, 1), TextCodec(length, alphabet))


_DATA: dict[str, Callable[[], Dataset]] = {
    "images of 28 x 28": _images,
    "transitions of Hopper-v5": _transitions,
    "segments of Hopper-v5": _segments,
    "characters": _characters,
}


@dataclass(frozen=True)
class GeneratorBenchmark:
    """One model with the kind's own settings; the plain loop's file holds the same numbers."""

    kind: str
    """As `gail fit` knows it."""
    variant: str
    """Which network, as the plain loop calls it; empty where there is one."""
    environment: str
    """What it learns from."""
    batch_size: int
    """Items per minibatch, on both sides."""
    bf16_target: float
    """The ratio of speeds to reach on a processor that multiplies bfloat16; 0.95 on others."""

    @property
    def title(self) -> str:
        """What the row is called, and what ``--only`` looks at."""
        return f"{self.kind} {self.variant}".rstrip()

    @property
    def target(self) -> float:
        """The ratio to reach on this processor."""
        return self.bf16_target if runs_bf16("auto", torch.device("cpu")) else 0.95


_SAMPLING = GeneratorBenchmark("transformer", "sampling", "characters", _SEQUENCES, 10.0)

GENERATOR_BENCHMARKS = (
    GeneratorBenchmark("gan", "mlp", "transitions of Hopper-v5", 512, 1.2),
    GeneratorBenchmark("gan", "conv", "images of 28 x 28", 128, 2.0),
    GeneratorBenchmark("vae", "mlp", "transitions of Hopper-v5", 512, 1.2),
    GeneratorBenchmark("vae", "conv", "images of 28 x 28", 128, 2.0),
    GeneratorBenchmark("vqvae", "conv", "images of 28 x 28", 64, 2.0),
    GeneratorBenchmark("diffusion", "mlp", "transitions of Hopper-v5", 512, 1.2),
    GeneratorBenchmark("diffusion", "unet1d", "segments of Hopper-v5", 128, 2.0),
    GeneratorBenchmark("diffusion", "unet2d", "images of 28 x 28", 64, 2.0),
    GeneratorBenchmark("transformer", "", "characters", 32, 0.95),
    GeneratorBenchmark("recurrent", "", "characters", 32, 0.95),
    GeneratorBenchmark("mdrnn", "", "segments of Hopper-v5", 128, 0.95),
    _SAMPLING,
)


def generator_row(benchmark: GeneratorBenchmark, *, repeats: int, seconds: float = SECONDS) -> dict[str, Any]:
    """Time both sides in turn, ``repeats`` times.

    Returns:
        A row with the keys ``benchmark, environment, batch_size, ours_steps_per_second, peer, peer_steps_per_second,
        ratio`` (median over the rounds)``, target, met, measurements, notes``.

    Raises:
        InputError: where the two sides' networks differ in size, or the peer fails.
    """
    use_threads(THREADS)
    if benchmark is _SAMPLING:
        notes = (
            f"a step is one token of each of {_SEQUENCES} sequences of {_TOKENS}; the peer is the same model that "
            f"reads the whole sequence again for each; {THREADS} thread"
        )
        return compare_sides(benchmark, *_sampling_sides(), peer="without the cache", repeats=repeats, notes=notes)
    ours, parameters = our_training(benchmark, seconds)
    notes = f"{parameters:,} parameters and minibatches of {benchmark.batch_size} on both sides; {THREADS} thread"

    def theirs() -> float:
        return plain_loop(benchmark, parameters, seconds)

    peer = f"plain loop (torch {torch.__version__})"
    return compare_sides(benchmark, ours, theirs, peer=peer, repeats=repeats, notes=notes)


def compare_sides(
    benchmark: GeneratorBenchmark, ours: Side, theirs: Side, *, peer: str, repeats: int, notes: str
) -> dict[str, Any]:
    """Run both sides in turn, so that both pay for what else the machine does meanwhile; the row holds medians."""
    pairs = []
    for number in range(1, repeats + 1):
        print(f"bench throughput: {benchmark.title} [{number}/{repeats}]", file=sys.stderr, flush=True)
        speeds = ours(), theirs()
        pairs.append(dict(zip(("ours_steps_per_second", "peer_steps_per_second"), speeds, strict=True)))
        pairs[-1]["ratio"] = speeds[0] / speeds[1]
    medians = {key: statistics.median(pair[key] for pair in pairs) for key in pairs[0]}
    return {
        "benchmark": benchmark.title,
        "environment": benchmark.environment,
        "batch_size": benchmark.batch_size,
        "ours_steps_per_second": medians["ours_steps_per_second"],
        "peer": peer,
        "peer_steps_per_second": medians["peer_steps_per_second"],
        "ratio": medians["ratio"],
        "target": benchmark.target,
        "met": medians["ratio"] >= benchmark.target,
        "measurements": pairs,
        "notes": notes,
    }


def our_training(benchmark: GeneratorBenchmark, seconds: float) -> tuple[Side, int]:
    """A timed run of the engine of about ``seconds``, and how many parameters the model has."""
    data, kind = _DATA[benchmark.environment](), kind_named(benchmark.kind)
    with seeded_initialization(0, "generator"):
        model = build(benchmark.kind, data.codec, len(data.classes), kind.config, kind.training.precision)

    def timed(steps: int) -> float:
        draw = make_generator(0, "fit")
        game = Fitting(model, data, steps=steps, batch_size=benchmark.batch_size, generator=draw)
        return train(game, total_steps=steps, title=benchmark.title, progress=False)

    def run() -> float:
        timed(_WARM_UP)
        steps = max(_WARM_UP, round(_WARM_UP * seconds / timed(_WARM_UP)))
        return steps / timed(steps)

    return run, sum(p.numel() for p in model.parameters())


def plain_loop(benchmark: GeneratorBenchmark, parameters: int, seconds: float) -> float:
    """Steps per second of the plain loop, in a process of its own.

    Raises:
        InputError: where its network has not ``parameters``, or it fails.
    """
    words = ["--model", benchmark.kind, "--variant", benchmark.variant, "--batch", str(benchmark.batch_size)]
    words += ["--threads", str(THREADS), "--seconds", str(seconds)]
    row = run_peer(Path(sys.executable), "run_loop.py", words)
    if row["parameters"] != parameters:
        raise InputError(
            f"loop_{benchmark.kind}.py: its {benchmark.title} has {row['parameters']:,} parameters, expected ours: "
            f"{parameters:,}"
        )
    return float(row["steps_per_second"])


def _sampling_sides() -> tuple[Side, Side]:
    """Sampling with the cache and without."""
    data, sampling = _characters(_TOKENS), TokenSampling()
    model = Transformer(data.codec, 0, TransformerConfig())

    def timed(sample: Callable[[torch.Generator], torch.Tensor]) -> float:
        start = time.perf_counter()
        with model.sampling():
            sample(make_generator(0, "sample"))
        return _TOKENS / (time.perf_counter() - start)

    def uncached(generator: torch.Generator) -> torch.Tensor:
        tokens = torch.zeros((_SEQUENCES, _TOKENS), dtype=torch.int64)
        for place in range(_TOKENS):
            tokens[:, place] = choose(model.logits(tokens[:, : place + 1])[:, -1], sampling, generator)
        return tokens

    def cached(generator: torch.Generator) -> torch.Tensor:
        return model.sample(_SEQUENCES, generator=generator)

    return lambda: timed(cached), lambda: timed(uncached)
