"""Adversarial losses on discriminators whose value and gradient are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from gail.core.losses import bce_loss, with_gradient_penalty


def quadratic(x: torch.Tensor) -> torch.Tensor:
    """obs + act^2: its gradient at (obs, act) is (1, 2 act)."""
    return x[:, 0] + x[:, 1].square()


def test_gradient_penalty_is_exact_on_a_known_gradient() -> None:
    rows = torch.tensor([[5.0, 1.0]])
    plain, _ = bce_loss(quadratic, rows, rows, torch.zeros(1, 1))
    # |(1, 2)|^2 = 1^2 + 2^2 with target 0.
    loss, metrics = with_gradient_penalty(bce_loss, 1.0, target=0.0)(quadratic, rows, rows, torch.zeros(1, 1))
    assert float(metrics["gradient_penalty"]) == pytest.approx(5.0, rel=1e-6)
    assert float((loss - plain).detach()) == pytest.approx(5.0, rel=1e-5)
    # One-centered and weighted by 10: 10 (sqrt(5) - 1)^2.
    loss, _ = with_gradient_penalty(bce_loss, 10.0)(quadratic, rows, rows, torch.zeros(1, 1))
    assert float((loss - plain).detach()) == pytest.approx(10.0 * (math.sqrt(5.0) - 1.0) ** 2, rel=1e-5)


def test_gradient_penalty_is_taken_at_the_interpolates() -> None:
    expert, generated = torch.tensor([[0.0, 4.0]]), torch.tensor([[0.0, 0.0]])
    # mix 0.25 puts the row at act = 1, where the squared norm is 5.
    _, metrics = with_gradient_penalty(bce_loss, 1.0, target=0.0)(
        quadratic, expert, generated, torch.full((1, 1), 0.25)
    )
    assert float(metrics["gradient_penalty"]) == pytest.approx(5.0, rel=1e-6)


def test_bce_falls_when_the_expert_scores_higher() -> None:
    expert, generated = torch.tensor([[3.0, 0.0]]), torch.tensor([[-2.0, 0.0]])
    loss, metrics = bce_loss(quadratic, expert, generated, torch.zeros(1, 1))
    expected = 0.5 * (math.log1p(math.exp(-3.0)) + math.log1p(math.exp(-2.0)))
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(metrics["accuracy_expert"]) == 1.0
    assert float(metrics["accuracy_generated"]) == 1.0
    swapped, _ = bce_loss(quadratic, generated, expert, torch.zeros(1, 1))
    assert float(swapped) > float(loss)


def test_bce_of_an_undecided_discriminator_is_log_two() -> None:
    rows = torch.zeros(3, 2)
    loss, metrics = bce_loss(quadratic, rows, rows, torch.zeros(3, 1))
    assert float(loss) == pytest.approx(math.log(2.0), rel=1e-6)
    assert float(metrics["logit_expert"]) == 0.0


def test_sides_of_different_size_weigh_equally() -> None:
    expert, generated = torch.full((1, 2), 1.0), torch.zeros(9, 2)
    loss, _ = bce_loss(quadratic, expert, generated, torch.zeros(1, 1))
    assert float(loss) == pytest.approx(0.5 * (math.log1p(math.exp(-2.0)) + math.log(2.0)), rel=1e-6)
