"""A class-conditional hinge GAN with spectral norm and averaged weights: MLP on rows, DCGAN on images."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from loop_minimize import minimize  # type: ignore[import-not-found]
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm as sn

LATENT, CLASSES, SHAPES = 64, {"mlp": 0, "conv": 10}, {"mlp": (27,), "conv": (1, 28, 28)}


def networks(variant: str) -> tuple[nn.Module, nn.Module, int]:
    """Generator and the discriminator's features, with their number."""
    if variant == "mlp":
        act = nn.LeakyReLU(0.2)
        generator = nn.Sequential(nn.Linear(LATENT, 256), act, nn.Linear(256, 256), act, nn.Linear(256, 27))
        return generator, nn.Sequential(sn(nn.Linear(27, 256)), act, sn(nn.Linear(256, 256)), act), 256
    act, up = nn.LeakyReLU(0.2), [nn.Linear(LATENT + 32, 128 * 49), nn.Unflatten(1, (128, 7, 7)), nn.BatchNorm2d(128)]
    for width in (64, 32):
        up += [nn.ReLU(), nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.BatchNorm2d(width)]
    down = [sn(nn.Conv2d(1, 32, 3, 1, 1)), act, sn(nn.Conv2d(32, 64, 4, 2, 1)), act]
    down += [sn(nn.Conv2d(64, 128, 4, 2, 1)), act, nn.Flatten()]
    return nn.Sequential(*up, nn.ReLU(), nn.Conv2d(32, 1, 3, 1, 1), nn.Tanh()), nn.Sequential(*down), 128 * 49


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The networks, and one training step of both."""
    (generator, features, size), classes = networks(variant), CLASSES[variant]
    data, labels = torch.randn(4096, *SHAPES[variant]), torch.randint(max(classes, 1), (4096,))
    first, second = nn.ModuleList([generator]), nn.ModuleList([features, sn(nn.Linear(size, 1))])
    if classes:
        first.append(nn.Embedding(classes, 32))
        second.append(sn(nn.Embedding(classes, size)))
    average = copy.deepcopy(first).requires_grad_(False)
    adams = [torch.optim.AdamW(p.parameters(), lr=lr, betas=(0.0, 0.99)) for p, lr in ((first, 2e-4), (second, 4e-4))]

    def generate(y: Tensor) -> Tensor:
        noise = torch.randn(batch, LATENT)
        return generator(torch.cat([noise, first[1](y)], 1) if classes else noise)

    def judge(x: Tensor, y: Tensor) -> Tensor:
        hidden = features(x)
        logits = second[1](hidden)[:, 0]
        return logits + (second[2](y) * hidden).sum(1) if classes else logits

    def step() -> None:
        rows = torch.randint(4096, (batch,))
        x, y = data[rows], labels[rows]
        with torch.no_grad():
            fake = generate(y)
        real, fake = judge(torch.cat([x, fake]), torch.cat([y, y])).chunk(2)
        minimize(adams[1], F.relu(1 - real).mean() + F.relu(1 + fake).mean())
        y = labels[torch.randint(4096, (batch,))]
        minimize(adams[0], -judge(generate(y), y).mean())
        torch._foreach_lerp_(list(average.parameters()), list(first.parameters()), 0.001)

    return [first, second], step
