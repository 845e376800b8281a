"""Networks and normalization."""

from __future__ import annotations

import torch

from gail.core.networks import Normalizer, mlp


def test_normalizer_does_not_depend_on_how_rows_were_split() -> None:
    rows = torch.randn(1000, 3) * torch.tensor([1.0, 10.0, 0.1]) + torch.tensor([0.0, -5.0, 100.0])
    whole, parts = Normalizer(3), Normalizer(3)
    whole.update(rows)
    for part in rows.split(77):
        parts.update(part)
    assert torch.allclose(whole.mean, rows.mean(0), atol=1e-4)
    assert torch.allclose(1.0 / whole.inverse_std, rows.std(0, unbiased=False), rtol=1e-4)
    assert torch.allclose(whole.mean, parts.mean, rtol=1e-6)
    assert torch.allclose(whole.inverse_std, parts.inverse_std, rtol=1e-6)


def test_normalizer_ignores_masked_rows() -> None:
    rows = torch.randn(100, 2)
    masked, kept = Normalizer(2), Normalizer(2)
    mask = torch.arange(100) < 60
    masked.update(torch.where(mask[:, None], rows, torch.full_like(rows, 1e6)), mask)
    kept.update(rows[:60])
    assert torch.allclose(masked.mean, kept.mean, atol=1e-6)
    assert torch.allclose(masked.inverse_std, kept.inverse_std, rtol=1e-6)


def test_normalizer_is_the_identity_before_the_first_update_and_clips() -> None:
    normalizer = Normalizer(2, clip=4.0)
    x = torch.tensor([[1.5, -7.0]])
    assert torch.equal(normalizer(x), torch.tensor([[1.5, -4.0]]))


def test_constant_coordinates_are_not_amplified() -> None:
    normalizer = Normalizer(1)
    normalizer.update(torch.full((50, 1), 3.0))
    assert abs(float(normalizer(torch.tensor([[3.0 + 1e-5]])))) < 1e-3


def test_small_output_gain_starts_near_zero() -> None:
    assert float(mlp(4, (16,), 2, output_gain=0.01)(torch.randn(10, 4)).abs().max()) < 0.2
