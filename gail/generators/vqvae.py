"""Vector-quantized autoencoders (van den Oord et al. 2017) with a transformer over their codes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.losses import Metrics
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, Minibatch, require_shape
from gail.generators.networks import ChannelsLast, Decoder, Encoder, halvings
from gail.generators.text import TokenCodec
from gail.generators.token_model import TokenSampling, choose, require_fit
from gail.generators.transformer import Transformer, TransformerNetwork


@dataclass(frozen=True)
class CodeSampling(TokenSampling):
    """How codes are drawn."""

    guidance: float = 1.0
    """How far to go beyond the difference that the class makes: 1 is the model as it is, 0 ignores the class."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require("sampling", self, at_least={"guidance": 0.0})


@dataclass(frozen=True)
class VQVAEConfig:
    """Hyperparameters of a vector-quantized autoencoder and of the transformer that draws its codes."""

    codes: int = 128
    """Vectors in the codebook."""
    code_size: int = 8
    """Numbers in one; few of them keep the whole codebook in use (Yu et al. 2022, section 3.2)."""
    per_item: int = 8
    """Codes for a row or segment; an image has one for each place that is left after halving it."""
    depth: int = 2
    """How often an image is halved at most."""
    commitment: float = 0.25
    """Weight of the encoder's distance from the code that it chose."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the hidden layers (rows and segments)."""
    channels: int = 32
    """Channels at full resolution; they double with each halving (images)."""
    learning_rate: float = 1e-3
    """Adam's, of the autoencoder; falls linearly to zero over the run."""
    autoencoder_steps: int = 2_000
    """Steps that train the autoencoder; the transformer learns from the first step to the last."""
    prior: TransformerNetwork = field(default_factory=lambda: TransformerNetwork(width=128, layers=3))
    """The transformer over the codes."""
    unlabelled: float = 0.1
    """Share of items whose class is hidden from the transformer, so that guidance has something to compare with."""
    sampling: CodeSampling = field(default_factory=CodeSampling)
    """How codes are drawn."""

    def __post_init__(self) -> None:
        lowest = {"codes": 2, "code_size": 1, "per_item": 2, "depth": 0, "hidden": 1, "channels": 1}
        require("vqvae", self, at_least={**lowest, "commitment": 0, "learning_rate": 0, "autoencoder_steps": 1})
        require("vqvae", self, at_least={"unlabelled": 0.0})


_RENEWAL = 100
"""Codes that no item of the minibatch uses are replaced every so many steps, over the first half of the training."""


class Quantizer(nn.Module):
    """Vectors to the nearest of a codebook, by angle: all of them lie on the unit sphere.

    Each coordinate is first brought to zero mean and unit variance over the data. A fresh encoder gives nearly the same
    vector for everything: all would choose one code, and the losses would keep it so.
    """

    def __init__(self, codes: int, size: int) -> None:
        super().__init__()
        self.codebook = nn.Parameter(F.normalize(torch.randn(codes, size), dim=-1))
        self.spread = nn.BatchNorm1d(size, affine=False)

    def forward(self, vectors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantize ``vectors`` ``[..., size]``.

        Returns:
            The codes' vectors, through which the gradient passes to ``vectors`` as if nothing had happened; which codes
            ``[...]``; the mean squared distance that moves the codebook, and the one that moves the vectors.
        """
        vectors, codebook = self.on_sphere(vectors), F.normalize(self.codebook, dim=-1)
        codes = (vectors @ codebook.T).argmax(-1)
        chosen = codebook[codes]
        towards_vectors = (chosen - vectors.detach()).square().sum(-1).mean()
        towards_codes = (vectors - chosen.detach()).square().sum(-1).mean()
        return vectors + (chosen - vectors).detach(), codes, towards_vectors, towards_codes

    def on_sphere(self, vectors: Tensor) -> Tensor:
        """Spread ``vectors`` ``[..., size]`` out and project them on the unit sphere."""
        return F.normalize(self.spread(vectors.flatten(0, -2)).reshape(vectors.shape), dim=-1)

    @torch.no_grad()
    def renew(self, vectors: Tensor, generator: torch.Generator, *, everything: bool) -> None:
        """Put codes that none of ``vectors`` ``[..., size]`` chooses (or all) where some of the vectors are.

        Source: Dhariwal et al. 2020 (Jukebox), section 3.1.
        """
        rows = self.on_sphere(vectors).flatten(0, -2)
        chosen = (rows @ F.normalize(self.codebook, dim=-1).T).argmax(-1)
        unused = torch.bincount(chosen, minlength=len(self.codebook)) == 0
        places = torch.randint(len(rows), (len(self.codebook),), generator=generator, device=rows.device)
        self.codebook.copy_(torch.where((unused | everything)[:, None], rows[places], self.codebook))

    def vectors(self, codes: Tensor) -> Tensor:
        """The vectors of ``codes`` ``[...]``."""
        return F.normalize(self.codebook, dim=-1)[codes]


class VQVAE(Generator):
    """An autoencoder whose code is a few entries of a codebook, and a transformer that draws such codes by class."""

    kind: ClassVar[str] = "vqvae"

    def __init__(self, codec: Codec, classes: int, config: VQVAEConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        require_shape(codec, self.kind, tokens=False)
        self.config: VQVAEConfig = config
        shape, size = codec.shape, config.code_size
        encoder: nn.Module
        decoder: nn.Module
        if len(shape) == 3:
            count = halvings(shape, config.depth)
            self.grid: tuple[int, ...] = (shape[1] >> count, shape[2] >> count)
            encoder, decoder = _image_networks(shape[0], config.channels, size, count)
        else:
            self.grid = (config.per_item,)
            first = Encoder(shape, "mlp", config.hidden, config.channels)
            encoder = nn.Sequential(first, nn.Linear(first.size, config.per_item * size))
            decoder = Decoder(config.per_item * size, shape, "mlp", config.hidden, config.channels)
        self.autoencoder = nn.ModuleDict(
            {"encoder": encoder, "quantizer": Quantizer(config.codes, size), "decoder": decoder}
        )
        codes = TokenCodec(math.prod(self.grid), config.codes)
        self.prior = Transformer(codes, classes + 1 if classes else 0, config.prior, precision)
        self._autoencoder: Player | None = None

    @property
    def quantizer(self) -> Quantizer:
        """The codebook."""
        quantizer = self.autoencoder["quantizer"]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def players(self) -> Mapping[str, Player]:
        """The autoencoder and the transformer."""
        autoencoder = Player(
            "autoencoder",
            self.autoencoder,
            self.loss,
            learning_rate=self.config.learning_rate,
            anneal=True,
            max_grad_norm=1.0,
        )
        self._autoencoder = autoencoder
        return {"autoencoder": autoencoder, **self.prior.players()}

    def encode(self, x: Tensor) -> Tensor:
        """Vectors ``[B, places, code_size]`` of items ``[B, *shape]``, before they are quantized."""
        with self.arithmetic():
            vectors = self.autoencoder["encoder"](x).float()
        if len(self.grid) == 2:
            return vectors.flatten(2).transpose(1, 2)
        return vectors.reshape(x.shape[0], *self.grid, -1)

    def codes(self, x: Tensor) -> Tensor:
        """Which codes ``[B, places]`` items ``[B, *shape]`` are; an item's do not depend on the others."""
        training = self.autoencoder.training
        self.autoencoder.eval()
        _, codes, _, _ = self.quantizer(self.encode(x))
        self.autoencoder.train(training)
        return codes

    def decode(self, vectors: Tensor) -> Tensor:
        """Items of quantized vectors ``[B, places, code_size]``."""
        if len(self.grid) == 2:
            vectors = vectors.transpose(1, 2).unflatten(2, self.grid)
        else:
            vectors = vectors.flatten(1)
        with self.arithmetic():
            return self.autoencoder["decoder"](vectors).float()

    def loss(self, batch: Minibatch) -> tuple[Tensor, Metrics]:
        """Mean squared error per number, and what pulls codes and vectors together."""
        vectors, _, towards_vectors, towards_codes = self.quantizer(self.encode(batch.x))
        error = (self.decode(vectors) - batch.x).square().mean()
        loss = error + towards_vectors + self.config.commitment * towards_codes
        return loss, {"error": error.detach(), "quantization": towards_codes.detach()}

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """The autoencoder's turn, as long as it is trained, and one of the transformer on the same items' codes."""
        batch = draw()
        rows = float(batch.x.shape[0])
        assert self._autoencoder is not None, "players() comes first"
        done, total = self._autoencoder.steps, self.config.autoencoder_steps
        if self.training and done % _RENEWAL == 0 and done < total / 2:
            self.quantizer.renew(self.encode(batch.x), generator, everything=done == 0)
        if done < total:
            yield Turn("autoencoder", batch, rows)
        with torch.no_grad():
            codes = self.codes(batch.x)
        labels = self.partly_hidden(batch.labels, self.config.unlabelled, generator)
        yield Turn(self.prior.kind, Minibatch(codes, labels), rows)

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Draw codes, then decode them; see :meth:`Generator.sample`."""
        require_fit(self.config.sampling, self.codec)
        labels = self.labels(n, condition, generator)
        sampling = self.config.sampling
        if labels is None or sampling.guidance == 1.0:
            nothing = torch.empty((n, 0), dtype=torch.int64, device=self.device)
            codes = self.prior.continue_tokens(
                nothing, self.prior.length, labels, sampling=sampling, generator=generator
            )
        else:
            codes = self._guided_codes(labels, sampling, generator)
        items = self.decode(self.quantizer.vectors(codes))
        return items.clamp(-1.0, 1.0) if len(self.codec.shape) == 3 else items

    def _guided_codes(self, labels: Tensor, sampling: CodeSampling, generator: torch.Generator) -> Tensor:
        """Codes ``[n, places]``: each item is drawn beside its twin without a class, which gets the same codes."""
        state, logits = self.prior.start(2 * len(labels), torch.cat([labels, torch.full_like(labels, self.classes)]))
        codes: list[Tensor] = []
        while True:
            asked, plain = logits.log_softmax(-1).chunk(2)
            codes.append(choose(plain + sampling.guidance * (asked - plain), sampling, generator))
            if len(codes) == self.prior.length:
                return torch.stack(codes, dim=1)
            logits = self.prior.feed(codes[-1].repeat(2)[:, None], state)


def _image_networks(colours: int, channels: int, size: int, count: int) -> tuple[nn.Module, nn.Module]:
    """Convolutions to a grid of vectors ``[B, size, h, w]`` and back; the image is halved ``count`` times."""
    down: list[nn.Module] = [ChannelsLast(), nn.Conv2d(colours, channels, 3, padding=1), nn.SiLU()]
    up: list[nn.Module] = []
    width = channels
    for _ in range(count):
        down += [nn.Conv2d(width, 2 * width, 4, 2, 1), nn.SiLU()]
        up[:0] = [nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.SiLU()]
        width *= 2
    down += [nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, size, 1)]
    up = [ChannelsLast(), nn.Conv2d(size, width, 3, padding=1), nn.SiLU(), *up]
    up.append(nn.Conv2d(channels, colours, 3, padding=1))
    return nn.Sequential(*down), nn.Sequential(*up)
