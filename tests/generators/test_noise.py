"""Schedules and samplers where the answer is known: data that is Gaussian, whose best denoiser is linear."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gail.generators.noise import ddim, ddim_grid, edm_grid, heun, schedule_sigmas

MEAN = torch.tensor([1.5, -0.5])
_ROTATION = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
COVARIANCE = _ROTATION @ torch.diag(torch.tensor([2.0, 0.1])) @ _ROTATION.T


def best_denoiser(x: Tensor, sigma: Tensor) -> Tensor:
    """E[item | item + sigma noise = x] for items N(MEAN, COVARIANCE)."""
    gain = COVARIANCE @ torch.linalg.inv(COVARIANCE + sigma**2 * torch.eye(2))
    return MEAN + (x - MEAN) @ gain.T


def exact_flow(x: Tensor, sigma: float) -> Tensor:
    """Where the probability flow takes x from noise level sigma to 0: each principal axis shrinks to its own width."""
    values, axes = torch.linalg.eigh(COVARIANCE)
    shrink = (values / (values + sigma**2)).sqrt()
    return MEAN + ((x - MEAN) @ axes) * shrink @ axes.T


def noise(n: int, sigma: float) -> Tensor:
    return sigma * torch.randn(n, 2, generator=torch.Generator().manual_seed(0))


def test_heun_follows_the_exact_flow_and_its_error_falls_with_the_square_of_the_steps() -> None:
    start = noise(500, 80.0)
    exact = exact_flow(start, 80.0)
    errors = [float((heun(best_denoiser, start, edm_grid(0.002, 80.0, n)) - exact).abs().max()) for n in (20, 40, 80)]
    assert errors[-1] < 0.02
    assert errors[0] / errors[1] > 3.0 and errors[1] / errors[2] > 3.0


def test_ddim_follows_the_exact_flow_with_an_error_that_falls_with_the_steps() -> None:
    start = noise(500, 80.0)
    exact = exact_flow(start, 80.0)
    sigmas = schedule_sigmas("cosine", 1000)
    errors = [float((ddim(best_denoiser, start, ddim_grid(sigmas, n)) - exact).abs().max()) for n in (125, 250, 500)]
    assert errors[-1] < 0.1
    assert 1.5 < errors[0] / errors[1] < 2.6 and 1.5 < errors[1] / errors[2] < 2.6


@pytest.mark.parametrize("sampler", ["heun", "ddim", "ddpm"])
def test_samples_have_the_datas_mean_and_covariance(sampler: str) -> None:
    n = 20_000
    generator = torch.Generator().manual_seed(1)
    grid = ddim_grid(schedule_sigmas("cosine", 1000), 250)
    if sampler == "heun":
        samples = heun(best_denoiser, noise(n, 80.0), edm_grid(0.002, 80.0, 40))
    else:
        eta = 1.0 if sampler == "ddpm" else 0.0
        samples = ddim(best_denoiser, noise(n, float(grid[0])), grid, eta=eta, generator=generator)
    assert torch.allclose(samples.mean(0), MEAN, atol=0.05)
    assert torch.allclose(samples.T.cov(), COVARIANCE, atol=0.08)


def test_one_ddim_step_is_the_papers_formula() -> None:
    """Song et al. 2021, equation 12, in the variance-preserving form, with eta."""
    now, then, eta = torch.tensor(2.0), torch.tensor(0.5), 0.7
    x = torch.tensor([[0.3, -1.0]])
    mine = ddim(best_denoiser, x, torch.stack([now, then]), eta=eta, generator=torch.Generator().manual_seed(3))
    a_now, a_then = 1 / (1 + now**2), 1 / (1 + then**2)
    vp = x * a_now.sqrt()
    clean = best_denoiser(x, now)
    predicted = (vp - a_now.sqrt() * clean) / (1 - a_now).sqrt()
    spread = eta * ((1 - a_then) / (1 - a_now)).sqrt() * (1 - a_now / a_then).sqrt()
    fresh = torch.randn(1, 2, generator=torch.Generator().manual_seed(3))
    paper = a_then.sqrt() * clean + (1 - a_then - spread**2).sqrt() * predicted + spread * fresh
    assert torch.allclose(mine * a_then.sqrt(), paper, atol=1e-5)


def test_the_linear_schedule_is_ddpms() -> None:
    sigmas = schedule_sigmas("linear", 1000).double()
    kept = 1 / (1 + sigmas**2)
    assert float(kept[0]) == pytest.approx(1 - 1e-4, rel=1e-6)
    assert float(kept[-1]) == pytest.approx(4.04e-5, rel=0.01)  # Ho et al. 2020, section 4: about 4e-5
    betas = 1 - kept[1:] / kept[:-1]
    assert float(betas[-1]) == pytest.approx(0.02, rel=1e-3)


def test_the_cosine_schedule_is_a_cosine_between_its_ends() -> None:
    sigmas = schedule_sigmas("cosine", 101)
    assert float(sigmas[0]) == pytest.approx(0.002, rel=1e-4) and float(sigmas[-1]) == pytest.approx(80.0, rel=1e-4)
    alpha = torch.rsqrt(1 + sigmas.double() ** 2)
    angle = torch.acos(alpha)
    assert torch.allclose(angle.diff(), angle.diff().mean().expand(100), rtol=0.02)
    assert float(angle[50]) == pytest.approx(math.pi / 4, rel=0.01)


def test_grids_fall_to_zero_over_the_whole_range() -> None:
    sigmas = schedule_sigmas("linear", 1000)
    for grid in (ddim_grid(sigmas, 13), edm_grid(float(sigmas[0]), float(sigmas[-1]), 13)):
        assert len(grid) == 14 and float(grid[-1]) == 0.0
        assert float(grid[0]) == pytest.approx(float(sigmas[-1]), rel=1e-5)
        assert float(grid[-2]) == pytest.approx(float(sigmas[0]), rel=1e-4)
        assert bool((grid.diff() < 0).all())
    assert torch.equal(ddim_grid(sigmas, 1000)[:-1], sigmas.flip(0))
