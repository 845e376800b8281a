"""The linear model of a step: least squares by hand, exact inverses, densities of the columns that have one."""

from __future__ import annotations

import math

import torch

from gail.generators.linear import LinearDynamics, is_discrete


def noisy(steps: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs ``[N, 2]``; answers: a sum with noise, a flag, and the first answer's double with less noise."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(steps, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(steps, 2, generator=generator, dtype=torch.float64)
    first = inputs.sum(1) + 0.5 + 0.1 * noise[:, 0]
    flag = (inputs[:, 0] > 1).double()
    return inputs, torch.stack([first, flag, 2 * first + 1e-4 * noise[:, 1]], dim=1)


def fitted() -> LinearDynamics:
    return LinearDynamics.fit(*noisy(20_000, 0), torch.tensor([False, True, False]))


def test_least_squares_finds_a_linear_process_and_its_noise() -> None:
    dynamics = fitted()
    assert torch.allclose(dynamics.weight[:, 0], torch.tensor([1.0, 1.0, 0.5], dtype=torch.float64), atol=5e-3)
    assert dynamics.order.tolist() == [0, 2, 1] and dynamics.scored == 2
    assert torch.allclose(dynamics.scale[:2, :2], torch.tensor([[0.1, 0], [0.2, 1e-4]], dtype=torch.float64), rtol=0.02)


def test_innovations_and_answers_are_inverse_even_where_columns_are_nearly_one() -> None:
    dynamics, (inputs, answers) = fitted(), noisy(100, 1)
    left = dynamics.innovations(inputs, answers)
    assert torch.allclose(dynamics.answers(inputs, left), answers.float(), atol=1e-5)
    assert torch.allclose(left[:, :2].var(0), torch.ones(2), atol=0.4)


def test_the_density_is_the_processs_own_and_no_discrete_column_moves_it() -> None:
    dynamics, (inputs, answers) = fitted(), noisy(20_000, 1)
    entropy = math.log(2 * math.pi * math.e) + math.log(0.1) + math.log(1e-4)
    left = dynamics.innovations(inputs, answers)
    assert abs(float(dynamics.log_prob(left).mean()) + entropy) < 0.03
    normal = torch.distributions.MultivariateNormal(
        torch.zeros(2, dtype=torch.float64), scale_tril=dynamics.scale[:2, :2]
    )
    ones = torch.ones(len(inputs), 1, dtype=torch.float64)
    residuals = (answers - torch.cat([inputs, ones], 1) @ dynamics.weight)[:, [0, 2]]
    assert torch.allclose(dynamics.log_prob(left), normal.log_prob(residuals).float(), atol=1e-3)
    flipped = answers.clone()
    flipped[:, 1] = 1 - flipped[:, 1]
    assert torch.equal(dynamics.innovations(inputs, flipped)[:, :2], left[:, :2])


def test_a_column_that_never_varies_or_follows_exactly_breaks_nothing() -> None:
    inputs, answers = noisy(100, 0)
    answers[:, 0], answers[:, 2] = 1.0, inputs[:, 0]
    dynamics = LinearDynamics.fit(inputs, answers, is_discrete(answers))
    assert dynamics.scored == 1 and dynamics.order.tolist() == [2, 0, 1]
    assert torch.isfinite(dynamics.innovations(inputs, answers)).all()


def test_few_values_make_a_column_discrete() -> None:
    columns = torch.stack([torch.arange(40) % 16, torch.arange(40) % 17, torch.zeros(40)], 1)
    assert is_discrete(columns).tolist() == [True, False, True]
