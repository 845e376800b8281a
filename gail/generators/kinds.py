"""The kinds of generators by name, and model files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gail.core.checkpoint import load_tree, save_tree
from gail.core.config import override, require, to_plain
from gail.core.errors import InputError
from gail.core.precision import Precision
from gail.demos.info import file_hash
from gail.generators.dataset import Codec
from gail.generators.diffusion import Diffusion, DiffusionConfig
from gail.generators.gan import GAN, GANConfig
from gail.generators.generator import Generator
from gail.generators.load import codec_from_tree
from gail.generators.mixture import MixtureConfig, MixtureRNN
from gail.generators.recurrent import Recurrent, RecurrentConfig
from gail.generators.transformer import Transformer, TransformerConfig
from gail.generators.vae import VAE, VAEConfig
from gail.generators.vqvae import VQVAE, VQVAEConfig


@dataclass(frozen=True)
class TrainingConfig:
    """How any generator is trained."""

    steps: int = 5_000
    """Training steps."""
    batch_size: int = 128
    """Items per minibatch."""
    device: str = "cpu"
    """Where networks and minibatches live: cpu, cuda, cuda:1, ..."""
    threads: int = 1
    """Threads of each tensor operation on the processor."""
    precision: Precision = "auto"
    """Arithmetic while training: fp32, bf16, or auto (bf16 where the processor multiplies it itself)."""
    previews: int = 10
    """How often samples are drawn as a picture over the run; 0 never."""

    def __post_init__(self) -> None:
        require("training", self, at_least={"steps": 1, "batch_size": 1, "threads": 1, "previews": 0})


@dataclass(frozen=True)
class Kind:
    """One kind of generator."""

    model: type[Generator]
    config: Any
    """Its default hyperparameters; their type is the kind's."""
    what: str
    """In a few words."""
    tokens: bool = False
    """Whether it learns from tokens."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """What `gail fit` uses where no flag says otherwise."""


KINDS: dict[str, Kind] = {
    GAN.kind: Kind(GAN, GANConfig(), "generative adversarial network"),
    VAE.kind: Kind(VAE, VAEConfig(), "variational autoencoder"),
    VQVAE.kind: Kind(VQVAE, VQVAEConfig(), "vector-quantized autoencoder with a transformer over its codes"),
    Diffusion.kind: Kind(Diffusion, DiffusionConfig(), "denoising diffusion model"),
    Transformer.kind: Kind(
        Transformer,
        TransformerConfig(),
        "decoder-only transformer over text, tokens, or returns, states and actions",
        tokens=True,
        training=TrainingConfig(batch_size=32),
    ),
    Recurrent.kind: Kind(
        Recurrent,
        RecurrentConfig(),
        "LSTM or GRU over the same",
        tokens=True,
        training=TrainingConfig(batch_size=32),
    ),
    MixtureRNN.kind: Kind(
        MixtureRNN,
        MixtureConfig(),
        "mixture-density recurrent network over windows of episodes",
        # Its densities are as narrow as a hundredth of the data's spread: bfloat16's mean would miss them.
        training=TrainingConfig(precision="fp32"),
    ),
}


def kind_named(name: str) -> Kind:
    """The kind called ``name``.

    Raises:
        InputError: where there is none.
    """
    if name not in KINDS:
        raise InputError(f"{name!r} is no kind of generator; there are: {', '.join(KINDS)}")
    return KINDS[name]


@dataclass(frozen=True)
class FittedGenerator:
    """A trained generator with what its samples are labelled by."""

    model: Generator
    classes: tuple[str, ...]
    """Names of the classes, in the labels' order."""
    origin: dict[str, Any]
    """Where the data that it learned from is from: ``path``, ``sha256``, ``env_id``, ``env_kwargs``."""
    sha256: str | None
    """Of the model file; None where it was not written."""


def save_generator(model: Generator, path: Path, *, classes: tuple[str, ...], origin: dict[str, Any]) -> None:
    """Write ``model`` with all that sampling needs, as safetensors."""
    save_tree(
        path,
        {
            "generator": model.kind,
            "config": to_plain(model.config),
            "precision": model.precision,
            "codec": model.codec.to_tree(),
            "classes": list(classes),
            "origin": origin,
            "module": dict(model.state_dict()),
        },
    )


def load_generator(path: str | Path, device: torch.device | str = "cpu") -> FittedGenerator:
    """Read a generator from a ``model.safetensors`` or a run directory that holds one.

    Raises:
        InputError: where there is none, or the file is not one of ours.
    """
    path = Path(path)
    file = path / "model.safetensors" if path.is_dir() else path
    tree = load_tree(file)
    try:
        _require_plain_names(tree["classes"])
        kind = kind_named(tree["generator"])
        config = override(kind.config, tree["config"], str(file))
        model = build(
            tree["generator"], codec_from_tree(tree["codec"]), len(tree["classes"]), config, tree["precision"]
        )
        model.load_state_dict(tree["module"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise InputError(f"{file}: not a model file of this toolkit ({' '.join(str(error).split())[:160]})") from error
    return FittedGenerator(model.to(device).eval(), tuple(tree["classes"]), tree["origin"], file_hash(file))


def _require_plain_names(classes: list[str]) -> None:
    """Samples are written into folders called like their classes, so a name must not lead anywhere else."""
    for name in classes:
        if name in ("", ".", "..") or not name.isprintable() or set(name) & set("/\\"):
            raise ValueError(f"class {name[:40]!r}, expected the name of a folder")


def build(kind: str, codec: Codec, classes: int, config: Any, precision: Precision) -> Generator:
    """A fresh generator, initialized from torch's global random stream."""
    return kind_named(kind).model(codec, classes, config, precision)
