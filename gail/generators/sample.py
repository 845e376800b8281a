"""From a generator to data that says what it is. No environment is stepped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gail.core.device import resolve_device
from gail.core.errors import InputError
from gail.core.files import is_unused, write_atomic, write_text_atomic
from gail.core.progress import ProgressBar
from gail.core.random import make_generator
from gail.demos import Demonstrations, save_demos
from gail.demos.npz import write_flat_npz_blocks
from gail.demos.save import require_name
from gail.generators.fit import FitResult
from gail.generators.generator import Generator
from gail.generators.innovations import InnovationCodec
from gail.generators.kinds import FittedGenerator, load_generator
from gail.generators.preview import write_png, write_preview
from gail.generators.returns import ReturnCodec
from gail.generators.transitions import SegmentCodec, TransitionCodec

_BATCH = 500
"""Items drawn together."""

Product = Demonstrations | Tensor | list[str]
"""What sampling gives: demonstrations, images (uint8 ``[n, C, H, W]``) or tokens ``[n, L]``, or texts."""

_ASKED_BY = {
    TransitionCodec.kind: "transitions",
    SegmentCodec.kind: "episodes",
    ReturnCodec.kind: "episodes",
    InnovationCodec.kind: "episodes",
}
"""The option that says how many, by kind of data; ``count`` for the others."""


def sample(
    model: str | Path | FittedGenerator | FitResult,
    *,
    episodes: int | None = None,
    transitions: int | None = None,
    count: int | None = None,
    label: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str = "cpu",
    **options: Any,
) -> Product:
    """Draw from a generator; what `gail sample` does.

    Args:
        model: a run directory or ``model.safetensors``, or what :func:`gail.fit` returned.
        episodes: how many episodes, from a model of segments.
        transitions: how many transitions, from a model of transitions.
        count: how many items, from a model of anything else.
        label: the class to draw, where the model knows classes; None draws all alike.
        seed: determines the samples on CPU.
        out: where to write; must not exist yet. Demonstrations: npz or Minari. Images: a ``.png`` for one grid, else a
            folder with one PNG file each. Text: a text file. Tokens: ``.npy``.
        device: where a model that is read from a file samples.
        **options: what the kind of model can do when it samples, for example ``temperature=0.8``.

    Returns:
        The samples. Demonstrations carry ``generator`` (kind, hash, seed, parent, and whether the rewards are the
        model's own: ``generated`` or ``none``) and what is not demonstrations gets
        a JSON file with the same fields beside it, so that nobody takes them for recorded data.

    Raises:
        InputError: on anything that cannot be used, before sampling starts.
    """
    fitted, n, path = _prepare(model, {"episodes": episodes, "transitions": transitions, "count": count}, out, device)
    network = fitted.model
    condition = None if label is None else torch.full((n,), label)
    network.labels(n, condition, make_generator(0, "check", network.device))  # refuses a wrong label now
    generator = make_generator(seed, "sample", network.device)
    with network.sampling(), _options(network, options):
        labels = network.labels(n, condition, generator)
        parts = [
            network.sample(len(rows), None if labels is None else labels[rows], generator=generator).cpu()
            for rows in torch.arange(n, device=network.device).split(_BATCH)
        ]
    origin = _origin(fitted, seed)
    product = network.codec.decode(torch.cat(parts))
    if isinstance(product, Demonstrations):
        product = _labelled(product, fitted, origin)
    if path is not None:
        _write(product, path, origin, None if labels is None else [fitted.classes[i] for i in labels.tolist()])
    return product


def sample_transitions(
    model: str | Path | FittedGenerator | FitResult,
    transitions: int,
    out: str | Path,
    *,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = True,
    **options: Any,
) -> None:
    """Write the transitions that :func:`sample` would draw, in memory that does not grow with their number.

    Args:
        model: as of :func:`sample`, of transitions.
        transitions: how many.
        out: the npz file to write; must not exist yet.
        seed: determines the samples on CPU.
        device: where a model that is read from a file samples.
        progress: show a progress bar.
        **options: as of :func:`sample`.

    Raises:
        InputError: as of :func:`sample`.
    """
    fitted, n, path = _prepare(model, {"transitions": transitions}, out, device)
    assert path is not None
    network, origin = fitted.model, _origin(fitted, seed)
    generator = make_generator(seed, "sample", network.device)

    def blocks(bar: ProgressBar) -> Iterator[Demonstrations]:
        for start in range(0, n, _BATCH):
            count = min(_BATCH, n - start)
            yield _labelled(network.codec.decode(network.sample(count, generator=generator).cpu()), fitted, origin)
            bar.update(start + count)

    title = f"gail sample {network.kind}"
    with network.sampling(), _options(network, options), ProgressBar(title, n, unit="rows", enabled=progress) as bar:
        write_flat_npz_blocks(path, blocks(bar))


def _prepare(
    model: str | Path | FittedGenerator | FitResult,
    given: dict[str, int | None],
    out: str | Path | None,
    device: str,
) -> tuple[FittedGenerator, int, Path | None]:
    """The generator, how many items are asked of it, and where to; refuses what cannot be used."""
    if isinstance(model, FitResult):
        fitted = model.generator
    else:
        fitted = model if isinstance(model, FittedGenerator) else load_generator(model, resolve_device(device))
    n = _asked(fitted.model.codec.kind, given)
    path = Path(out) if out is not None else None
    if path is not None:
        writes_demos = fitted.model.codec.kind in _ASKED_BY
        if path.exists() and (writes_demos or not is_unused(path)):
            raise InputError(f"{path}: exists already; choose another name")
        if writes_demos:
            require_name(path)
    return fitted, n, path


def _origin(fitted: FittedGenerator, seed: int) -> dict[str, Any]:
    """What is said of everything that is drawn."""
    return {"kind": fitted.model.kind, "hash": fitted.sha256, "seed": seed, "parent": fitted.origin.get("sha256")}


def _labelled(product: Demonstrations, fitted: FittedGenerator, origin: dict[str, Any]) -> Demonstrations:
    """Demonstrations that say that they are synthetic, by whom and of which environment."""
    rewarded = product.trajectories[0].rewards is not None
    return replace(
        product,
        env_id=fitted.origin.get("env_id"),
        env_kwargs=fitted.origin.get("env_kwargs") or {},
        source=f"synthetic: {fitted.model.kind} on {fitted.origin.get('path') or 'data in memory'}",
        generator={**origin, "rewards": "generated" if rewarded else "none"},
    )


def _asked(kind: str, given: dict[str, int | None]) -> int:
    """How many items are asked for, by the option that fits the model's data."""
    wanted = _ASKED_BY.get(kind, "count")
    for name, number in given.items():
        if number is not None and name != wanted:
            raise InputError(f"--{name}: this model draws {kind}, expected --{wanted}")
    number = given[wanted]
    if number is None or number < 1:
        raise InputError(f"--{wanted}: found {number}, expected how many to draw, at least 1")
    return number


@contextmanager
def _options(model: Generator, options: dict[str, Any]) -> Iterator[None]:
    """Inside, the model's sampling settings are overridden by ``options``; None leaves a setting as it is."""
    given = {name: value for name, value in options.items() if value is not None}
    config = model.config
    settings: Any = getattr(config, "sampling", None)
    known = [] if settings is None else [part.name for part in fields(settings)]
    for name in given:
        if name not in known:
            found = ", ".join(f"--{other.replace('_', '-')}" for other in known) or "none"
            raise InputError(
                f"--{name.replace('_', '-')}: {model.kind} has no such setting of sampling; it has: {found}"
            )
    if not given:
        yield
        return
    model.config = replace(config, sampling=replace(settings, **given))
    try:
        yield
    finally:
        model.config = config


def _write(product: Product, out: Path, origin: dict[str, Any], classes: list[str] | None) -> None:
    note = json.dumps({**origin, "synthetic": True}, indent=2) + "\n"
    if isinstance(product, Demonstrations):
        save_demos(product, out)
        return
    if isinstance(product, Tensor) and product.ndim == 4 and out.suffix != ".png":
        _write_folder(product.numpy(), out, classes)
        write_text_atomic(out / "generator.json", note)
        return
    if isinstance(product, Tensor) and product.ndim == 2:
        tokens = product.numpy()
        write_atomic(out, lambda temporary: _save_array(temporary, tokens))
    elif isinstance(product, Tensor):
        write_preview(product, out.with_suffix(""))
    else:
        write_text_atomic(out, "\n".join(product) + "\n")
    write_text_atomic(out.with_name(f"{out.name}.generator.json"), note)


def _save_array(path: Path, array: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, array, allow_pickle=False)


def _write_folder(images: np.ndarray, out: Path, classes: list[str] | None) -> None:
    """One PNG file each, in a folder per class: what :func:`load_images` reads."""
    for number, image in enumerate(images):
        folder = out / classes[number] if classes is not None else out
        write_png(image[0] if len(image) == 1 else image.transpose(1, 2, 0), folder / f"{number:06d}.png")
