"""Generative adversarial networks (Goodfellow et al. 2014), on the losses that GAIL's discriminator uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.losses import ADVERSARIAL, AdversarialLoss, Metrics, feature_matching, with_gradient_penalty
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, require_shape
from gail.generators.networks import ClassEmbedding, Decoder, Encoder, NetworkName

LossName = Literal["non-saturating", "least-squares", "wasserstein", "hinge"]


@dataclass(frozen=True)
class GANSampling:
    """How items are drawn."""

    temperature: float = 1.0
    """Spread of the noise: below 1 more typical items (Brock et al. 2019), above 1 more varied ones, and stranger."""

    def __post_init__(self) -> None:
        require("sampling", self, at_least={"temperature": 0.0})


@dataclass(frozen=True)
class GANConfig:
    """Hyperparameters of a generative adversarial network."""

    loss: LossName = "hinge"
    """The adversarial loss; see gail/core/losses.py."""
    gradient_penalty: float = 0.0
    """Weight of the gradient penalty; 10 with wasserstein makes WGAN-GP."""
    spectral_norm: bool = True
    """Divide each weight matrix of the discriminator by its largest singular value."""
    feature_matching: float = 0.0
    """Weight of the squared distance between mean activations of the discriminator on real and generated items."""
    discriminator_updates: int = 1
    """Turns of the discriminator for each of the generator."""
    latent: int = 64
    """Size of the noise vector."""
    network: NetworkName = "auto"
    """mlp, conv (DCGAN; images only), or auto: conv for images."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers (mlp)."""
    channels: int = 32
    """Channels at full resolution; they double with each halving (conv)."""
    learning_rate: float = 4e-4
    """Adam's, of the discriminator."""
    generator_learning_rate: float = 2e-4
    """Adam's, of the generator (Heusel et al. 2017: the slower of the two)."""
    beta1: float = 0.0
    """Adam's decay rate of the first moment: momentum makes the two players overshoot each other."""
    average: float = 0.999
    """Decay of the moving average of the generator's weights, which is what is sampled; 0 samples the last weights."""
    sampling: GANSampling = field(default_factory=GANSampling)
    """How samples are drawn."""

    def __post_init__(self) -> None:
        lowest = {"gradient_penalty": 0, "feature_matching": 0, "learning_rate": 0, "generator_learning_rate": 0}
        require("gan", self, at_least={**lowest, "beta1": 0, "average": 0})
        require("gan", self, at_least={"discriminator_updates": 1, "latent": 1, "hidden": 1, "channels": 1})


@dataclass(frozen=True)
class JudgedItems:
    """What one turn of the discriminator sees."""

    real: Tensor
    """``[B, D]`` items of the data, flat."""
    generated: Tensor
    """``[B, D]`` items of the generator, of the same classes."""
    mix: Tensor
    """``[B, 1]`` uniform numbers for interpolates."""
    labels: Tensor | None
    """``[B]`` classes of both."""


@dataclass(frozen=True)
class GeneratorBatch:
    """What one turn of the generator sees."""

    noise: Tensor
    """``[B, latent]``."""
    real: Tensor
    """``[B, *shape]``: for feature matching."""
    labels: Tensor | None
    """``[B]``."""


class ItemDiscriminator(nn.Module):
    """Items to logits, high where they look real; classes enter by projection (Miyato & Koyama 2018)."""

    def __init__(self, shape: tuple[int, ...], classes: int, config: GANConfig) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape, config.network, config.hidden, config.channels)
        self.head = nn.Linear(self.encoder.size, 1)
        self.classes = nn.Embedding(classes, self.encoder.size) if classes else None
        if config.spectral_norm:
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.Embedding):
                    spectral_norm(module)

    def activations(self, x: Tensor) -> list[Tensor]:
        """Hidden activations on items ``[B, *shape]``, one tensor per layer."""
        return self.encoder.activations(x)

    def logits_real_is_high(self, rows: Tensor, labels: Tensor | None) -> Tensor:
        """Logits ``[m * B]`` of flat items ``[m * B, D]``: ``m`` blocks of items of the classes ``labels`` ``[B]``."""
        return self.judge(self.encoder(rows.reshape(-1, *self.shape)), labels)

    def judge(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """Logits of features ``[m * B, size]``."""
        logits = self.head(features).squeeze(-1)
        if self.classes is not None and labels is not None:
            vectors = self.classes(labels).repeat(features.shape[0] // labels.shape[0], 1)
            logits = logits + (vectors * features).sum(1)
        return logits.float()


class GAN(Generator):
    """A generator against a discriminator, on rows, segments or images, with or without classes."""

    kind: ClassVar[str] = "gan"
    judged_by_loss: ClassVar[bool] = False

    def __init__(self, codec: Codec, classes: int, config: GANConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        require_shape(codec, self.kind, tokens=False)
        self.config: GANConfig = config
        self.embedding = ClassEmbedding(classes, min(config.latent, 32))
        self.decoder = Decoder(
            config.latent + self.embedding.size,
            codec.shape,
            config.network,
            config.hidden,
            config.channels,
            batch_norm=True,
        )
        self.discriminator = ItemDiscriminator(codec.shape, classes, config)
        self.bounded = len(codec.shape) == 3
        sides = ADVERSARIAL[config.loss]
        self.generator_side = sides.generator
        self.discriminator_side: AdversarialLoss = sides.discriminator
        if config.gradient_penalty > 0:
            self.discriminator_side = with_gradient_penalty(sides.discriminator, config.gradient_penalty)

    def players(self) -> Mapping[str, Player]:
        """The discriminator and the generator."""
        betas = (self.config.beta1, 0.99)
        generator = nn.ModuleList([self.embedding, self.decoder])
        return {
            "discriminator": Player(
                "discriminator",
                self.discriminator,
                self.discriminator_loss,
                learning_rate=self.config.learning_rate,
                betas=betas,
            ),
            "generator": Player(
                "generator",
                generator,
                self.generator_loss,
                learning_rate=self.config.generator_learning_rate,
                betas=betas,
                average=self.config.average,
            ),
        }

    def generate(self, noise: Tensor, labels: Tensor | None) -> Tensor:
        """Items ``[B, *shape]`` of noise ``[B, latent]``; images are bounded by tanh."""
        with self.arithmetic():
            items = self.decoder(self.embedding(noise, labels))
        return torch.tanh(items) if self.bounded else items

    def discriminator_loss(self, batch: JudgedItems) -> tuple[Tensor, Metrics]:
        """The discriminator's side of the adversarial loss."""

        def logits_of(rows: Tensor) -> Tensor:
            with self.arithmetic():
                return self.discriminator.logits_real_is_high(rows, batch.labels)

        return self.discriminator_side(logits_of, batch.real, batch.generated, batch.mix)

    def generator_loss(self, batch: GeneratorBatch) -> tuple[Tensor, Metrics]:
        """The generator's side, and feature matching where it has a weight."""
        items = self.generate(batch.noise, batch.labels)
        with self.arithmetic():
            generated = self.discriminator.activations(items)
            logits = self.discriminator.judge(generated[-1], batch.labels)
        loss = self.generator_side(logits)
        metrics = {"adversarial": loss.detach()}
        if self.config.feature_matching > 0:
            with self.arithmetic(), torch.no_grad():
                real = self.discriminator.activations(batch.real)
            distance = feature_matching(real, generated)
            loss = loss + self.config.feature_matching * distance
            metrics["feature_distance"] = distance.detach()
        return loss, metrics

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """The discriminator's turns, then one of the generator."""
        for _ in range(self.config.discriminator_updates):
            batch = draw()
            rows = batch.x.shape[0]
            with torch.no_grad():
                generated = self.generate(self._noise(rows, generator), batch.labels)
            mix = torch.rand((rows, 1), generator=generator, device=self.device)
            judged = JudgedItems(batch.x.flatten(1), generated.flatten(1), mix, batch.labels)
            yield Turn("discriminator", judged, float(rows))
        batch = draw()
        rows = batch.x.shape[0]
        yield Turn("generator", GeneratorBatch(self._noise(rows, generator), batch.x, batch.labels), float(rows))

    def _noise(self, rows: int, generator: torch.Generator) -> Tensor:
        return torch.randn((rows, self.config.latent), generator=generator, device=self.device)

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Items of fresh noise; see :meth:`Generator.sample`."""
        labels = self.labels(n, condition, generator)
        return self.generate(self.config.sampling.temperature * self._noise(n, generator), labels)
