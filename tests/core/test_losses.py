"""Adversarial losses on discriminators whose value and gradient are known in closed form."""

from __future__ import annotations

import math

import pytest
import torch

from gail.core.losses import ADVERSARIAL, bce_loss, feature_matching, with_gradient_penalty


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


def scaled(x: torch.Tensor) -> torch.Tensor:
    return x[:, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Logits 3 (real) and -0.5 (generated).
        ("non-saturating", 0.5 * (math.log1p(math.exp(-3.0)) + math.log1p(math.exp(-0.5)))),
        ("least-squares", 0.5 * (2.0**2 + 0.5**2)),
        ("wasserstein", -0.5 - 3.0),
        ("hinge", 0.0 + 0.5),
    ],
)
def test_the_discriminators_losses_by_hand(name: str, expected: float) -> None:
    loss, metrics = ADVERSARIAL[name].discriminator(
        scaled, torch.tensor([[3.0]]), torch.tensor([[-0.5]]), torch.zeros(1, 1)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-6)
    assert float(metrics["logit_expert"]) == 3.0 and float(metrics["logit_generated"]) == -0.5


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("non-saturating", math.log1p(math.exp(-2.0))),
        ("least-squares", 0.5),
        ("wasserstein", -2.0),
        ("hinge", -2.0),
    ],
)
def test_the_generators_losses_by_hand(name: str, expected: float) -> None:
    assert float(ADVERSARIAL[name].generator(torch.tensor([2.0, 2.0]))) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", list(ADVERSARIAL))
def test_both_sides_pull_generated_logits_apart(name: str) -> None:
    """The discriminator pushes generated logits down, the generator up, wherever they are."""
    for value in (-0.5, 0.0, 0.7):
        logit = torch.tensor([[value]], requires_grad=True)
        loss, _ = ADVERSARIAL[name].discriminator(scaled, torch.tensor([[0.3]]), logit, torch.zeros(1, 1))
        (up,) = torch.autograd.grad(loss, logit)
        (down,) = torch.autograd.grad(ADVERSARIAL[name].generator(logit[:, 0]), logit)
        assert float(down) < 0
        assert float(up) > 0 or (name == "least-squares" and value <= 0)


@pytest.mark.parametrize("name", list(ADVERSARIAL))
def test_every_loss_takes_a_gradient_penalty(name: str) -> None:
    rows = torch.tensor([[5.0, 1.0]])
    plain, _ = ADVERSARIAL[name].discriminator(quadratic, rows, rows, torch.zeros(1, 1))
    penalized = with_gradient_penalty(ADVERSARIAL[name].discriminator, 2.0, target=0.0)
    loss, _ = penalized(quadratic, rows, rows, torch.zeros(1, 1))
    assert float((loss - plain).detach()) == pytest.approx(2.0 * 5.0, rel=1e-4)


def test_feature_matching_compares_means_and_moves_the_generated_side_only() -> None:
    real = [torch.tensor([[0.0, 2.0], [2.0, 2.0]], requires_grad=True)]
    made = [torch.tensor([[4.0, 2.0], [0.0, 2.0]], requires_grad=True)]
    distance = feature_matching(real, made)
    assert float(distance) == pytest.approx((2.0 - 1.0) ** 2 / 2)
    distance.backward()
    assert real[0].grad is None and made[0].grad is not None
