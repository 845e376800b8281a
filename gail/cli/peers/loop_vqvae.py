"""A VQ-VAE on images, its codes chosen by angle, and a transformer that learns them: one step of both."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from loop_minimize import minimize  # type: ignore[import-not-found]
from loop_transformer import Model  # type: ignore[import-not-found]
from torch import Tensor, nn

CODES, SIZE = 128, 8


class Autoencoder(nn.Module):
    """Images to codes and back."""

    def __init__(self) -> None:
        super().__init__()
        down = [nn.Conv2d(1, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU()]
        down += [nn.Conv2d(64, 128, 4, 2, 1), nn.SiLU(), nn.Conv2d(128, 128, 3, padding=1), nn.SiLU()]
        up = [nn.Conv2d(SIZE, 128, 3, padding=1), nn.SiLU(), nn.ConvTranspose2d(128, 64, 4, 2, 1), nn.SiLU()]
        up += [nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 1, 3, padding=1)]
        self.encoder, self.decoder = nn.Sequential(*down, nn.Conv2d(128, SIZE, 1)), nn.Sequential(*up)
        self.codebook, self.spread = nn.Parameter(torch.randn(CODES, SIZE)), nn.BatchNorm1d(SIZE, affine=False)

    def quantize(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors on the sphere, which codes they are, and the codes' vectors."""
        vectors = self.encoder(x).flatten(2).transpose(1, 2)
        vectors = F.normalize(self.spread(vectors.flatten(0, 1)).view_as(vectors), dim=-1)
        codebook = F.normalize(self.codebook, dim=-1)
        codes = (vectors @ codebook.T).argmax(-1)
        return vectors, codes, codebook[codes]

    def forward(self, x: Tensor) -> Tensor:
        """The loss."""
        vectors, _, chosen = self.quantize(x)
        passed = (vectors + (chosen - vectors).detach()).transpose(1, 2).unflatten(2, (7, 7))
        pull, commit = ((a - b.detach()).square().sum(-1).mean() for a, b in ((chosen, vectors), (vectors, chosen)))
        return (self.decoder(passed) - x).square().mean() + pull + 0.25 * commit


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The models and one training step of both."""
    model, prior = Autoencoder(), Model(CODES, 49, 128, 3, 4, classes=11)
    data, labels = torch.randn(4096, 1, 28, 28), torch.randint(10, (4096,))
    first = torch.optim.AdamW(model.parameters(), lr=1e-3)
    second = torch.optim.AdamW(prior.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)

    def step() -> None:
        rows = torch.randint(4096, (batch,))
        minimize(first, model(data[rows]), clip=1.0)
        with torch.no_grad():
            codes = model.eval().quantize(data[rows])[1]
        model.train()
        asked = labels[rows].masked_fill(torch.rand(batch) < 0.1, 10)
        minimize(second, prior(codes, asked), clip=1.0)

    return [model, prior], step
