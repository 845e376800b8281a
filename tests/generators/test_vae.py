"""The variational autoencoder: its bound in closed form, its decoders, its samples."""

from __future__ import annotations

import math

import pytest
import torch
from toy_data import make_demos, make_images

from gail.core.errors import InputError
from gail.generators.transitions import transition_data
from gail.generators.vae import VAE, NoisyItems, VAEConfig

SMALL = {"hidden": (16,), "channels": 4, "latent": 3}


def test_the_divergence_of_a_standard_normal_posterior_is_zero_and_known_elsewhere() -> None:
    model = VAE(transition_data(make_demos()).codec, 0, VAEConfig(**SMALL))
    torch.nn.init.zeros_(model.posterior.weight)
    torch.nn.init.zeros_(model.posterior.bias)
    batch = NoisyItems(torch.randn(8, 7), None, torch.randn(8, 3))
    assert float(model.loss(batch)[1]["divergence"]) == pytest.approx(0.0, abs=1e-6)
    # Mean 2, variance e in each of three coordinates: (4 + e - 1 - 1) / 2 each.
    model.posterior.bias.data = torch.tensor([2.0, 2.0, 2.0, 1.0, 1.0, 1.0])
    expected = 3 * 0.5 * (4 + math.e - 2)
    assert float(model.loss(batch)[1]["divergence"]) == pytest.approx(expected, rel=1e-5)


def test_beta_weighs_the_divergence_and_nothing_else() -> None:
    codec = transition_data(make_demos()).codec
    torch.manual_seed(0)
    batch = NoisyItems(torch.randn(8, 7), None, torch.randn(8, 3))
    model = VAE(codec, 0, VAEConfig(**SMALL, beta=3.0))
    loss, metrics = model.loss(batch)
    assert float(loss) == pytest.approx(float(metrics["reconstruction"] + 3.0 * metrics["divergence"]), rel=1e-6)


def test_log_likelihoods_agree_with_torchs_distributions() -> None:
    codec = make_images().codec
    x = codec.encode(make_images().items[:5])
    gaussian = VAE(codec, 0, VAEConfig(**SMALL))
    gaussian.log_std.data.fill_(-0.7)
    means = torch.randn_like(x)
    expected = torch.distributions.Normal(means, math.exp(-0.7)).log_prob(x).flatten(1).sum(1)
    assert torch.allclose(gaussian.log_likelihood(x, means), expected, rtol=1e-5)

    bernoulli = VAE(codec, 0, VAEConfig(**SMALL, decoder="bernoulli"))
    bits = (x > 0).float()
    expected = torch.distributions.Bernoulli(logits=means).log_prob(bits).flatten(1).sum(1)
    assert torch.allclose(bernoulli.log_likelihood(bits * 2 - 1, means), expected, rtol=1e-5)

    categorical = VAE(codec, 0, VAEConfig(**SMALL, decoder="categorical", levels=4))
    logits = torch.randn(5, 4, *x.shape[1:])
    shades = torch.randint(0, 4, x.shape)
    expected = torch.distributions.Categorical(logits=logits.movedim(1, -1)).log_prob(shades).flatten(1).sum(1)
    assert torch.allclose(categorical.log_likelihood(shades / 3 * 2 - 1, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli", "categorical"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_samples_are_images_of_the_asked_class(decoder, network) -> None:
    data = make_images()
    model = VAE(data.codec, 2, VAEConfig(**SMALL, decoder=decoder, network=network, levels=4))
    with model.sampling():
        samples = model.sample(6, torch.tensor([0, 1] * 3), generator=torch.Generator().manual_seed(0))
    assert samples.shape == (6, 1, 8, 8) and bool(torch.isfinite(samples).all())
    assert data.codec.decode(samples).dtype == torch.uint8


def test_the_class_changes_what_is_decoded_and_a_wrong_one_is_refused() -> None:
    model = VAE(make_images().codec, 2, VAEConfig(**SMALL))
    draw = [model.sample(2, torch.tensor([c, c]), generator=torch.Generator().manual_seed(0)) for c in (0, 1)]
    assert not torch.allclose(draw[0], draw[1])
    for bad in (torch.tensor([0, 2]), torch.tensor([-1, 0]), torch.tensor([0])):
        with pytest.raises(InputError, match="--label"):
            model.sample(2, bad, generator=torch.Generator())
    plain = VAE(make_images().codec, 0, VAEConfig(**SMALL))
    with pytest.raises(InputError, match="without classes"):
        plain.sample(1, torch.tensor([0]), generator=torch.Generator())


def test_bits_and_shades_are_for_images_only() -> None:
    codec = transition_data(make_demos()).codec
    for decoder in ("bernoulli", "categorical"):
        with pytest.raises(InputError, match=r"vae\.decoder"):
            VAE(codec, 0, VAEConfig(decoder=decoder))
