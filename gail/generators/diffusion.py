"""Diffusion models: DDPM's training (Ho et al. 2020), with guidance by class (Ho & Salimans 2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, require_shape
from gail.generators.noise import Denoiser, ScheduleName, ddim, ddim_grid, edm_grid, heun, schedule_sigmas
from gail.generators.unet import ResidualMLP, UNet

_WAVES = 32
"""Sines, and as many cosines, that a noise level is shown to the network by."""


@dataclass(frozen=True)
class DiffusionSampling:
    """How items are drawn."""

    sampler: Literal["ddim", "edm"] = "edm"
    """ddim, or edm: Heun's second-order steps (two evaluations each but the last)."""
    sampling_steps: int = 18
    """Steps from noise to item."""
    eta: float = 0.0
    """Fresh noise of ddim: 0 none, 1 as DDPM."""
    guidance: float = 1.0
    """How far to go beyond the difference that the class makes: 1 is the model as it is, 0 ignores the class."""

    def __post_init__(self) -> None:
        require("sampling", self, at_least={"sampling_steps": 1, "eta": 0.0, "guidance": 0.0})
        if self.eta > 0 and self.sampler != "ddim":
            raise InputError(f"sampling.eta: {self.eta}, expected 0 with the sampler {self.sampler!r}")


@dataclass(frozen=True)
class DiffusionConfig:
    """Hyperparameters of a diffusion model."""

    schedule: ScheduleName = "cosine"
    """Noise levels: cosine, or linear (in beta)."""
    timesteps: int = 1000
    """How many there are."""
    prediction: Literal["noise", "velocity"] = "velocity"
    """What the network gives: the noise (DDPM), or alpha noise - sqrt(1 - alpha^2) item (Salimans & Ho 2022), which
    says something about the item at every noise level."""
    channels: int = 32
    """At full resolution; twice as many below (segments, images)."""
    width: int = 256
    """Of hidden layers (rows) and of the vector that holds noise level and class."""
    blocks: int = 3
    """Residual blocks (rows)."""
    unlabelled: float = 0.1
    """Share of items whose class is hidden while training, so that guidance has something to compare with."""
    learning_rate: float = 1e-3
    """Adam's, after warm-up; falls linearly to zero."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    average: float = 0.999
    """Decay of the moving average of the weights, which is what is sampled."""
    sampling: DiffusionSampling = field(default_factory=DiffusionSampling)
    """How samples are drawn."""

    def __post_init__(self) -> None:
        require("diffusion", self, at_least={"timesteps": 2, "channels": 1, "width": 2, "blocks": 1, "warmup": 0})
        require("diffusion", self, at_least={"unlabelled": 0.0, "learning_rate": 0.0, "average": 0.0})


@dataclass(frozen=True)
class DiffusedItems:
    """What one turn sees."""

    x: Tensor
    """``[B, *shape]``: clean."""
    noise: Tensor
    """``[B, *shape]`` standard normal."""
    level: Tensor
    """``[B]`` int64: which noise level."""
    labels: Tensor | None
    """``[B]`` classes, the number of classes where hidden."""
    given: Tensor | None = None
    """``[*shape]`` bool: what stays clean and is not predicted; None: nothing."""


class Diffusion(Generator):
    """A network that undoes noise: a residual MLP on rows, a U-Net on segments and images."""

    kind: ClassVar[str] = "diffusion"

    def __init__(self, codec: Codec, classes: int, config: DiffusionConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        require_shape(codec, self.kind, tokens=False)
        self.config: DiffusionConfig = config
        shape, width = codec.shape, config.width
        self.network: nn.Module
        if len(shape) == 1:
            self.network = ResidualMLP(shape[0], width, config.blocks)
        else:
            self.network = UNet(shape, config.channels, width)
        self.level = nn.Sequential(nn.Linear(2 * _WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.vectors = nn.Embedding(classes + 1, width) if classes else None
        self.sigmas: Tensor
        self.waves: Tensor
        self.register_buffer("sigmas", schedule_sigmas(config.schedule, config.timesteps), persistent=False)
        self.register_buffer("waves", torch.exp(torch.linspace(-2.0, 3.0, _WAVES)), persistent=False)

    def players(self) -> Mapping[str, Player]:
        """The denoiser."""
        return {
            "denoiser": Player(
                "denoiser",
                self,
                self.loss,
                learning_rate=self.config.learning_rate,
                anneal=True,
                max_grad_norm=1.0,
                eps=1e-8,
                warmup=self.config.warmup,
                average=self.config.average,
            )
        }

    def predict(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The network's output for items ``x`` in variance-preserving form and their noise levels ``sigma`` ``[B]``."""
        phase = torch.log(sigma)[:, None] * self.waves
        with self.arithmetic():
            beside = self.level(torch.cat([phase.sin(), phase.cos()], dim=1))
            if self.vectors is not None and labels is not None:
                beside = beside + self.vectors(labels)
            return self.network(x, beside).float()

    def loss(self, batch: DiffusedItems) -> tuple[Tensor, Metrics]:
        """Mean squared error of the prediction, per number, averaged over noise levels."""
        sigma = self.sigmas[batch.level]
        alpha, beta = (part.reshape(-1, *[1] * (batch.x.ndim - 1)) for part in _scales(sigma))
        noisy = alpha * batch.x + beta * batch.noise
        target = batch.noise if self.config.prediction == "noise" else alpha * batch.noise - beta * batch.x
        if batch.given is not None:
            noisy = torch.where(batch.given, batch.x, noisy)
        errors = (self.predict(noisy, sigma, batch.labels) - target).square()
        if batch.given is None:
            return errors.mean(), {}
        drawn = (~batch.given).float()
        return (errors.mean(dim=0) * drawn).sum() / drawn.sum(), {}

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """One turn. Noise levels are drawn evenly over the minibatch, which steadies the loss (Kingma et al. 2021)."""
        batch = draw()
        rows = batch.x.shape[0]
        offset = torch.rand((), generator=generator, device=self.device)
        share = (offset + torch.arange(rows, device=self.device) / rows) % 1.0
        level = (share * self.config.timesteps).long().clamp(max=self.config.timesteps - 1)
        noise = torch.randn(batch.x.shape, generator=generator, device=self.device)
        labels = self.partly_hidden(batch.labels, self.config.unlabelled, generator)
        yield Turn("denoiser", DiffusedItems(batch.x, noise, level, labels, batch.given), float(rows))

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None, given: Tensor | None = None) -> Tensor:
        """The expected clean items of ``x = item + sigma noise`` ``[B, *shape]``; ``sigma`` is a scalar.

        What is ``given`` ``[*shape]`` (bool) has no noise and comes back as it is.
        """
        alpha, beta = _scales(sigma)
        scaled = alpha * x
        output = self.predict(scaled if given is None else torch.where(given, x, scaled), sigma.expand(len(x)), labels)
        items = x - sigma * output if self.config.prediction == "noise" else alpha * scaled - beta * output
        return items if given is None else torch.where(given, x, items)

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """From noise to items; see :meth:`Generator.sample`."""
        labels = self.labels(n, condition, generator)
        guidance, bounded = self.config.sampling.guidance, len(self.codec.shape) == 3

        def clean(x: Tensor, sigma: Tensor) -> Tensor:
            items = self.denoise(x, sigma, labels)
            if labels is not None and guidance != 1.0:
                plain = self.denoise(x, sigma, torch.full_like(labels, self.classes))
                items = plain + guidance * (items - plain)
            return items.clamp(-1.0, 1.0) if bounded else items

        return self._follow(clean, self._noise(n, generator), generator)

    def complete(self, items: Tensor, given: Tensor, *, generator: torch.Generator) -> Tensor:
        """Draw the rest of ``items`` ``[n, *shape]``, of which ``given`` ``[*shape]`` (bool) is known.

        For a model without classes that learned with the same part given: the network sees that part without noise, so
        the rest has its distribution where the given part is what it is.
        """

        def clean(x: Tensor, sigma: Tensor) -> Tensor:
            return self.denoise(torch.where(given, items, x), sigma, None, given)

        return self._follow(clean, torch.where(given, items, self._noise(len(items), generator)), generator)

    def _noise(self, n: int, generator: torch.Generator) -> Tensor:
        shape = (n, *self.codec.shape)
        return float(self.sigmas[-1]) * torch.randn(shape, generator=generator, device=self.device)

    def _follow(self, clean: Denoiser, start: Tensor, generator: torch.Generator) -> Tensor:
        settings = self.config.sampling
        if settings.sampler == "ddim":
            grid = ddim_grid(self.sigmas, min(settings.sampling_steps, self.config.timesteps))
            return ddim(clean, start, grid, eta=settings.eta, generator=generator)
        grid = edm_grid(float(self.sigmas[0]), float(self.sigmas[-1]), settings.sampling_steps)
        return heun(clean, start, grid.to(self.device))


def _scales(sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Of item and noise in the variance-preserving form: their squares sum to 1."""
    alpha = torch.rsqrt(1.0 + sigma.square())
    return alpha, sigma * alpha
