"""A class-conditional VAE with a Gaussian decoder of one learned spread: convolutions on images, an MLP on rows."""

import math
from collections.abc import Callable

import torch
from loop_minimize import minimize  # type: ignore[import-not-found]
from torch import Tensor, nn

LATENT, CLASSES = 16, {"mlp": 0, "conv": 10}


def networks(variant: str, beside: int) -> tuple[nn.Module, int, nn.Module]:
    """Encoder to features, their number, and decoder."""
    act = nn.LeakyReLU(0.2)
    if variant == "mlp":
        encoder = nn.Sequential(nn.Linear(27, 256), act, nn.Linear(256, 256), act)
        return encoder, 256, nn.Sequential(nn.Linear(LATENT, 256), act, nn.Linear(256, 256), act, nn.Linear(256, 27))
    down = [nn.Conv2d(1, 32, 3, 1, 1), act, nn.Conv2d(32, 64, 4, 2, 1), act, nn.Conv2d(64, 128, 4, 2, 1), act]
    up = [nn.Linear(LATENT + beside, 128 * 49), nn.Unflatten(1, (128, 7, 7)), nn.ReLU()]
    up += [nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU()]
    return nn.Sequential(*down, nn.Flatten()), 128 * 49, nn.Sequential(*up, nn.Conv2d(32, 1, 3, 1, 1))


class Model(nn.Module):
    """Encoder, posterior, decoder."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        beside = 16 if CLASSES[variant] else 0
        self.encoder, size, self.decoder = networks(variant, beside)
        self.embedding = nn.Embedding(CLASSES[variant], beside) if beside else None
        self.posterior = nn.Linear(size + beside, 2 * LATENT)
        self.log_std = nn.Parameter(torch.zeros(27) if variant == "mlp" else torch.zeros(1, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """The negative evidence lower bound."""
        features = self.encoder(x)
        if self.embedding is not None:
            features = torch.cat([features, self.embedding(y)], 1)
        mean, log_var = self.posterior(features).chunk(2, 1)
        code = mean + (0.5 * log_var).exp() * torch.randn_like(mean)
        if self.embedding is not None:
            code = torch.cat([code, self.embedding(y)], 1)
        error = 0.5 * ((x - self.decoder(code)) / self.log_std.exp()).square() + self.log_std + 0.5 * math.log(math.tau)
        divergence = 0.5 * (mean.square() + log_var.exp() - 1 - log_var).sum(1)
        return (error.flatten(1).sum(1) + divergence).mean()


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The model and one training step."""
    data = torch.randn(4096, *((27,) if variant == "mlp" else (1, 28, 28)))
    labels, model = torch.randint(10, (4096,)), Model(variant)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> None:
        rows = torch.randint(4096, (batch,))
        minimize(adam, model(data[rows], labels[rows]))

    return [model], step
