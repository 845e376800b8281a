"""Diffusion without a network: noise schedules and samplers, all in terms of the noise's standard deviation.

A noisy item is ``x = item + sigma * noise``. The variance-preserving form of DDPM is that times
``alpha = 1 / sqrt(1 + sigma^2)``, the square root of its cumulative product of ``1 - beta``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["cosine", "linear"]
Denoiser = Callable[[Tensor, Tensor], Tensor]
"""Noisy items ``[B, ...]`` and their sigma (a scalar) to the expected clean items ``[B, ...]``."""

_LOWEST, _HIGHEST = 0.002, 80.0
"""Noise levels of the cosine schedule's ends (those of Karras et al. 2022, table 1)."""


def schedule_sigmas(name: ScheduleName, steps: int) -> Tensor:
    """Noise levels ``[steps]``, rising.

    ``linear``: betas from 1e-4 to 0.02 for 1,000 steps, scaled for other numbers (Ho et al. 2020, section 4).
    ``cosine``: ``alpha = cos(pi t / 2)`` (Nichol & Dhariwal 2021) between the ends above instead of clipped.
    """
    if name == "cosine":
        angles = torch.linspace(math.atan(_LOWEST), math.atan(_HIGHEST), steps, dtype=torch.float64)
        return torch.tan(angles).float()
    scale = 1000.0 / steps
    betas = torch.linspace(1e-4 * scale, 0.02 * scale, steps, dtype=torch.float64).clamp(max=0.999)
    kept = torch.cumprod(1.0 - betas, 0)
    return ((1.0 - kept) / kept).sqrt().float()


def ddim_grid(sigmas: Tensor, steps: int) -> Tensor:
    """``steps`` of the training's noise levels, evenly spaced, falling, and 0 at the end: ``[steps + 1]``."""
    places = torch.linspace(len(sigmas) - 1, 0, steps).round().long()
    return torch.cat([sigmas[places], sigmas.new_zeros(1)])


def edm_grid(lowest: float, highest: float, steps: int, rho: float = 7.0) -> Tensor:
    """Noise levels evenly spaced in ``sigma^(1 / rho)``, falling, and 0 at the end: ``[steps + 1]``.

    Source: Karras et al. 2022, equation 5.
    """
    roots = torch.linspace(highest ** (1 / rho), lowest ** (1 / rho), steps, dtype=torch.float64)
    return torch.cat([(roots**rho).float(), torch.zeros(1)])


def ddim(
    denoise: Denoiser, x: Tensor, grid: Tensor, *, eta: float = 0.0, generator: torch.Generator | None = None
) -> Tensor:
    """From noise to items along ``grid``.

    Args:
        denoise: the expected clean item.
        x: ``[B, ...]`` of standard deviation ``grid[0]``.
        grid: falling noise levels, 0 at the end.
        eta: 0 is deterministic (DDIM), 1 the ancestral sampler of DDPM (Song et al. 2021, equation 16).
        generator: draws the noise where ``eta > 0``.
    """
    for now, then in itertools.pairwise(grid):
        clean = denoise(x, now)
        fresh = eta * then * ((now**2 - then**2) / now**2).clamp(min=0.0).sqrt()
        kept = (then**2 - fresh**2).clamp(min=0.0).sqrt()
        x = clean + kept * (x - clean) / now
        if eta > 0:
            x = x + fresh * torch.randn(x.shape, generator=generator, device=x.device)
    return x


def heun(denoise: Denoiser, x: Tensor, grid: Tensor) -> Tensor:
    """From noise to items along ``grid`` by Heun's second-order steps, deterministically.

    Source: Karras et al. 2022, algorithm 1. Arguments as of :func:`ddim`.
    """
    for now, then in itertools.pairwise(grid):
        slope = (x - denoise(x, now)) / now
        ahead = x + (then - now) * slope
        if then > 0:
            slope = (slope + (ahead - denoise(ahead, then)) / then) / 2.0
            ahead = x + (then - now) * slope
        x = ahead
    return x
