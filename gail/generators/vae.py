"""Variational autoencoders (Kingma & Welling 2014) with Gaussian, Bernoulli and categorical decoders."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, require_shape
from gail.generators.networks import ClassEmbedding, Decoder, Encoder, NetworkName

DecoderName = Literal["gaussian", "bernoulli", "categorical"]


@dataclass(frozen=True)
class VAEConfig:
    """Hyperparameters of a variational autoencoder."""

    decoder: DecoderName = "gaussian"
    """What the data is given the code: gaussian (with a learned standard deviation), or, for images, bernoulli (the
    probability of white) or categorical (over `levels` shades)."""
    levels: int = 16
    """Shades that a categorical decoder tells apart."""
    beta: float = 1.0
    """Weight of the divergence from the prior (Higgins et al. 2017); 1 is the evidence lower bound."""
    latent: int = 16
    """Size of the code."""
    network: NetworkName = "auto"
    """mlp, conv (images only), or auto: conv for images."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers (mlp)."""
    channels: int = 32
    """Channels at full resolution; they double with each halving (conv)."""
    learning_rate: float = 1e-3
    """Adam's, at the start; falls linearly to zero."""

    def __post_init__(self) -> None:
        require("vae", self, at_least={"levels": 2, "beta": 0.0, "latent": 1, "hidden": 1, "channels": 1})
        require("vae", self, at_least={"learning_rate": 0.0})


@dataclass(frozen=True)
class NoisyItems:
    """What one turn sees."""

    x: Tensor
    """``[B, *shape]``."""
    labels: Tensor | None
    """``[B]``."""
    noise: Tensor
    """``[B, latent]`` standard normal: where in the posterior the code is taken."""


class VAE(Generator):
    """Encoder, Gaussian code, decoder; the loss is the negative evidence lower bound in nats per item."""

    kind: ClassVar[str] = "vae"

    def __init__(self, codec: Codec, classes: int, config: VAEConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        require_shape(codec, self.kind, tokens=False)
        self.config: VAEConfig = config
        shape = codec.shape
        if config.decoder != "gaussian" and len(shape) != 3:
            raise InputError(f"vae.decoder: {config.decoder!r} is for images, expected 'gaussian' for {codec.kind}")
        self.embedding = ClassEmbedding(classes, 16)
        self.encoder = Encoder(shape, config.network, config.hidden, config.channels)
        self.posterior = nn.Linear(self.encoder.size + self.embedding.size, 2 * config.latent)
        self.decoder = Decoder(
            config.latent + self.embedding.size,
            shape,
            config.network,
            config.hidden,
            config.channels,
            per_value=config.levels if config.decoder == "categorical" else 1,
        )
        # One spread per column of a row, one for all pixels of an image.
        self.log_std = nn.Parameter(torch.zeros(shape if len(shape) < 3 else (1, 1, 1)))

    def players(self) -> Mapping[str, Player]:
        """The autoencoder."""
        return {
            "autoencoder": Player("autoencoder", self, self.loss, learning_rate=self.config.learning_rate, anneal=True)
        }

    def encode(self, x: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance ``[B, latent]`` of the posterior of items ``[B, *shape]``."""
        with self.arithmetic():
            moments = self.posterior(self.embedding(self.encoder(x), labels)).float()
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(-20.0, 10.0)

    def decode(self, codes: Tensor, labels: Tensor | None) -> Tensor:
        """The decoder's parameters: means, logits of white, or logits ``[B, levels, *shape]`` of shades."""
        with self.arithmetic():
            return self.decoder(self.embedding(codes, labels))

    def log_likelihood(self, x: Tensor, parameters: Tensor) -> Tensor:
        """``log p(x | code)`` ``[B]`` in nats, of the items as a density, as bits, or as shades."""
        if self.config.decoder == "bernoulli":
            return -F.binary_cross_entropy_with_logits(parameters, (x + 1.0) / 2.0, reduction="none").flatten(1).sum(1)
        if self.config.decoder == "categorical":
            shades = ((x + 1.0) / 2.0 * (self.config.levels - 1)).round().long()
            return -F.cross_entropy(parameters, shades, reduction="none").flatten(1).sum(1)
        log_std = self._log_std()
        densities = -0.5 * ((x - parameters) * torch.exp(-log_std)).square() - log_std - 0.5 * math.log(2 * math.pi)
        return densities.flatten(1).sum(1)

    def _log_std(self) -> Tensor:
        # A likelihood whose spread may vanish has no maximum (Rybkin et al. 2021, section 4).
        return self.log_std.clamp(min=-5.0)

    def loss(self, batch: NoisyItems) -> tuple[Tensor, Metrics]:
        """The negative evidence lower bound, its divergence weighted by beta."""
        mean, log_variance = self.encode(batch.x, batch.labels)
        codes = mean + torch.exp(0.5 * log_variance) * batch.noise
        reconstruction = -self.log_likelihood(batch.x, self.decode(codes, batch.labels)).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
        loss = reconstruction + self.config.beta * divergence
        return loss, {"reconstruction": reconstruction.detach(), "divergence": divergence.detach()}

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """One turn."""
        batch = draw()
        rows = batch.x.shape[0]
        noise = torch.randn((rows, self.config.latent), generator=generator, device=self.device)
        yield Turn("autoencoder", NoisyItems(batch.x, batch.labels, noise), float(rows))

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Decode codes of the prior; see :meth:`Generator.sample`.

        Rows and segments are drawn from the decoder's Gaussian. Images show its mean, as is usual: drawn pixel by pixel
        they would be the same picture under noise. Shades are drawn.
        """
        labels = self.labels(n, condition, generator)
        codes = torch.randn((n, self.config.latent), generator=generator, device=self.device)
        parameters = self.decode(codes, labels)
        if self.config.decoder == "bernoulli":
            return torch.sigmoid(parameters) * 2.0 - 1.0
        if self.config.decoder == "categorical":
            flat = parameters.movedim(1, -1).reshape(-1, self.config.levels).softmax(-1)
            shades = torch.multinomial(flat, 1, generator=generator).reshape(n, *self.codec.shape)
            return shades.float() / (self.config.levels - 1) * 2.0 - 1.0
        if len(self.codec.shape) == 3:
            return parameters
        noise = torch.randn(parameters.shape, generator=generator, device=self.device)
        return parameters + torch.exp(self._log_std()) * noise
