"""From data to a generator, in one call."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from gail.core.device import resolve_device, use_threads
from gail.core.engine import train
from gail.core.errors import InputError
from gail.core.files import is_unused
from gail.core.random import make_generator, seeded_initialization
from gail.core.rundir import hardware, open_run, versions, write_summary
from gail.demos.info import file_hash
from gail.demos.types import Demonstrations
from gail.generators.dataset import Dataset
from gail.generators.game import Fitting, held_out_metrics, step_likelihoods
from gail.generators.generator import Generator
from gail.generators.kinds import FittedGenerator, TrainingConfig, build, kind_named, save_generator
from gail.generators.load import DataConfig, load_data
from gail.generators.preview import write_preview

_PREVIEW = 36
"""Samples in a picture, where each class does not have a column of its own."""
_ROWS, _MOST_COLUMNS = 6, 16
"""Samples of each class, and classes, in a picture that has a column for each."""


@dataclass(frozen=True)
class FitConfig:
    """What determines a fit, beside kind, data and seed."""

    model: Any
    """Hyperparameters of the kind."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How it is trained."""
    data: DataConfig = field(default_factory=DataConfig)
    """How the data becomes items."""


@dataclass(frozen=True)
class FitResult:
    """What fitting a generator gave."""

    generator: FittedGenerator
    summary: dict[str, Any]

    @property
    def model(self) -> Generator:
        """The network."""
        return self.generator.model


def fit_recipe(kind: str) -> FitConfig:
    """The settings of a kind where nobody says otherwise.

    Raises:
        InputError: where there is no such kind.
    """
    found = kind_named(kind)
    return FitConfig(found.config, found.training)


def fit(
    kind: str,
    data: str | Path | Demonstrations | Dataset,
    *,
    config: FitConfig | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> FitResult:
    """Train a generator on ``data``; what `gail fit` does.

    Args:
        kind: one of :data:`gail.generators.kinds.KINDS`, for example ``vae``.
        data: a file or folder that :func:`gail.generators.load.load_data` reads, demonstrations, or a data set.
        config: settings; None takes the kind's own.
        seed: determines everything on CPU.
        out: run directory; None writes nothing.
        resume: go on with the run in ``out``.
        progress: show a progress bar.
        **overrides: fields of ``config.training``, ``config.data`` or ``config.model`` by name, for example
            ``steps=2_000, data_kind="segments", latent=8``.

    Returns:
        The model, with averaged weights where its kind averages them, and the run's summary.

    Raises:
        InputError: on anything that cannot be used, before training starts.
    """
    config = _overridden(config or fit_recipe(kind), overrides)
    training = config.training
    device = resolve_device(training.device)
    use_threads(training.threads)
    out = Path(out) if out is not None else None
    if out is not None and not resume and not is_unused(out):
        raise InputError(f"{out}: exists already; choose another --out, or --resume to go on with what is there")
    dataset = data if isinstance(data, Dataset) else load_data(data, config.data, tokens=kind_named(kind).tokens)
    with seeded_initialization(seed, "generator"):
        model = build(kind, dataset.codec, len(dataset.classes), config.model, training.precision).to(device)
    if out is not None:
        run = {"verb": "fit", "kind": kind, "seed": seed, "data_sha256": dataset.origin.get("sha256")}
        run["data_read_as"] = dataset.origin.get("read_as") or None
        origin = {"data": str(dataset.origin.get("path") or "in memory")}
        open_run(out, {"run": run, "config": config}, resume=resume, provenance=origin)
    shown = training.previews and model.draws_items
    game = Fitting(
        model,
        dataset,
        steps=training.steps,
        batch_size=training.batch_size,
        generator=make_generator(seed, "fit", device),
        after_round=_Previews(out, dataset, training, seed) if shown and out is not None else None,
    )
    seconds = train(
        game,
        total_steps=training.steps,
        title=f"{kind} {dataset.codec.kind} seed {seed}",
        directory=out,
        resume=resume,
        progress=progress,
    )
    held_out = {}
    if dataset.held_out is not None and model.judged_by_loss:
        held_out = held_out_metrics(game, dataset.held_out, make_generator(seed, "held out", device))
        held_out |= step_likelihoods(game, dataset.held_out)
    for player in game.players.values():
        player.adopt_average()
    summary = {
        "kind": kind,
        "data_kind": dataset.codec.kind,
        "data": dataset.origin.get("path"),
        "items": len(dataset),
        "held_out_items": 0 if dataset.held_out is None else len(dataset.held_out),
        "classes": len(dataset.classes),
        "seed": seed,
        "steps": game.steps,
        "batch_size": training.batch_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "wall_seconds": seconds,
        "steps_per_second": game.steps / seconds if seconds else None,
        "held_out": held_out,
        "exact_resume": game.exact_resume,
        "device": str(device),
        "hardware": hardware(),
        "versions": versions(),
    }
    sha256 = None
    if out is not None:
        file = out / "model.safetensors"
        save_generator(model, file, classes=dataset.classes, origin=dataset.origin)
        sha256 = file_hash(file)
        write_summary(out, summary)
    return FitResult(FittedGenerator(model.eval(), dataset.classes, dataset.origin, sha256), summary)


def _overridden(config: FitConfig, overrides: dict[str, Any]) -> FitConfig:
    """``config`` with each override put where a field of that name is."""
    for part in fields(config):
        table = getattr(config, part.name)
        own = {name: overrides[name] for name in overrides if name in {f.name for f in fields(table)}}
        if own:
            config = replace(config, **{part.name: replace(table, **own)})
            overrides = {name: value for name, value in overrides.items() if name not in own}
    if overrides:
        raise TypeError(f"fit() got unknown settings: {', '.join(overrides)}")
    return config


class _Previews:
    """Draws samples now and then, always from the same noise, and touches no random stream of the training."""

    def __init__(self, directory: Path, data: Dataset, training: TrainingConfig, seed: int) -> None:
        self.directory, self.data, self.seed = directory / "samples", data, seed
        self.interval = max(training.steps // training.previews, 1)
        self.done: int | None = None
        self.columns = len(data.classes) if 0 < len(data.classes) <= _MOST_COLUMNS else None
        self.count = _PREVIEW if self.columns is None else _ROWS * self.columns
        some = torch.linspace(0, len(data) - 1, min(len(data), self.count)).long()
        self.real = data.codec.decode(data.encoded(some)[0])

    def __call__(self, game: Fitting) -> None:
        due = game.steps // self.interval
        if due == self.done or (due == 0 and game.steps < game.total_steps):
            return
        self.done = due
        generator = make_generator(self.seed, "preview", game.model.device)
        labels = None
        if self.data.classes:
            labels = torch.arange(self.count, device=game.model.device) % len(self.data.classes)
        with game.model.sampling(game.players):
            samples = game.model.sample(self.count, labels, generator=generator)
        stem = self.directory / f"step-{game.steps:08d}"
        write_preview(self.data.codec.decode(samples), stem, real=self.real, columns=self.columns)
