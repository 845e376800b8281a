"""Denoising diffusion with velocity prediction and averaged weights: U-Nets on images and segments, MLP on rows."""

import copy
from collections.abc import Callable

import torch
from loop_minimize import minimize  # type: ignore[import-not-found]
from loop_residual import MLP, WIDTH  # type: ignore[import-not-found]
from loop_unet import UNet  # type: ignore[import-not-found]
from torch import nn

SHAPES = {"mlp": (27,), "unet1d": (17, 32), "unet2d": (1, 28, 28)}


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The model and one training step."""
    shape, classes = SHAPES[variant], 10 if variant == "unet2d" else 0
    network = MLP(*shape) if variant == "mlp" else UNet(shape, 32, WIDTH)
    level = nn.Sequential(nn.Linear(64, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH))
    model = nn.ModuleList([network, level] + [nn.Embedding(classes + 1, WIDTH)] * bool(classes))
    data, labels = torch.randn(4096, *shape), torch.randint(10, (4096,))
    average = copy.deepcopy(model).requires_grad_(False)
    adam = torch.optim.AdamW(model.parameters(), lr=1e-3)
    angles, waves = torch.linspace(0.01, 1.56, 1000), torch.linspace(-2, 3, 32).exp()

    def step() -> None:
        rows, angle = torch.randint(4096, (batch,)), angles[torch.randint(1000, (batch,))]
        x, noise = data[rows], torch.randn(batch, *shape)
        alpha, beta = (part.view(-1, *[1] * len(shape)) for part in (angle.cos(), angle.sin()))
        phase = angle.tan().log()[:, None] * waves
        beside = level(torch.cat([phase.sin(), phase.cos()], 1))
        if classes:
            beside = beside + model[2](labels[rows].masked_fill(torch.rand(batch) < 0.1, classes))
        error = network(alpha * x + beta * noise, beside) - (alpha * noise - beta * x)
        minimize(adam, error.square().mean(), clip=1.0)
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 0.001)

    return [model], step
