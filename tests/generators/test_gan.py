"""The adversarial network: both sides' losses, classes, spectral norm, feature matching."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_data import make_demos, make_images

from gail.core.errors import InputError
from gail.generators.gan import GAN, GANConfig, GANSampling, GeneratorBatch, JudgedItems
from gail.generators.generator import Minibatch
from gail.generators.transitions import segment_data

SMALL = {"hidden": (16, 16), "channels": 4, "latent": 5}


def judged(data, model: GAN, labels: torch.Tensor | None) -> JudgedItems:
    x = data.codec.encode(data.items[:8]).flatten(1)
    return JudgedItems(x, torch.rand_like(x), torch.rand(8, 1), labels)


def test_spectral_norm_bounds_every_layer_of_the_discriminator_by_one() -> None:
    torch.manual_seed(0)
    model = GAN(make_images().codec, 2, GANConfig(**SMALL, network="mlp"))
    for _ in range(200):  # power iterations happen in the forward pass
        model.discriminator.judge(model.discriminator.encoder(torch.randn(4, 1, 8, 8)), torch.tensor([0, 1, 0, 1]))
    layers = [m for m in model.discriminator.modules() if isinstance(m, torch.nn.Linear | torch.nn.Embedding)]
    assert len(layers) == 4
    for layer in layers:
        assert float(torch.linalg.matrix_norm(layer.weight.detach(), 2)) == pytest.approx(1.0, rel=1e-3)
    loose = GAN(make_images().codec, 2, GANConfig(**SMALL, network="mlp", spectral_norm=False))
    assert not any("parametrizations" in name for name, _ in loose.named_parameters())


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("loss", ["non-saturating", "least-squares", "wasserstein", "hinge"])
def test_each_side_improves_against_a_frozen_other_side(loss, network) -> None:
    torch.manual_seed(0)
    data = make_images()
    config = GANConfig(**SMALL, loss=loss, network=network, learning_rate=2e-3, generator_learning_rate=2e-3)
    model = GAN(data.codec, 2, config)
    players = model.players()
    batch = judged(data, model, data.labels[:8])
    noise = GeneratorBatch(torch.randn(8, 5), data.codec.encode(data.items[:8]), data.labels[:8])
    for name, fixed in (("discriminator", batch), ("generator", noise)):
        before = float(players[name].loss(fixed)[0].detach())
        for _ in range(25):
            players[name].step(fixed, 8.0)
        assert float(players[name].loss(fixed)[0].detach()) < before


def test_the_penalty_is_on_items_and_not_on_their_classes() -> None:
    torch.manual_seed(0)
    data = make_images()
    model = GAN(data.codec, 2, GANConfig(**SMALL, loss="wasserstein", gradient_penalty=10.0, spectral_norm=False))
    batch = judged(data, model, data.labels[:8])
    _, metrics = model.discriminator_loss(batch)
    x = (batch.mix * batch.real + (1 - batch.mix) * batch.generated).requires_grad_(True)
    logits = model.discriminator.logits_real_is_high(x, batch.labels)
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert float(metrics["gradient_norm"]) == pytest.approx(float(gradient.norm(dim=1).mean()), rel=1e-4)


def test_a_class_changes_both_the_item_and_its_verdict() -> None:
    torch.manual_seed(0)
    model = GAN(make_images().codec, 2, GANConfig(**SMALL)).eval()
    noise = torch.randn(4, 5)
    first, second = (torch.full((4,), c) for c in (0, 1))
    assert not torch.allclose(model.generate(noise, first), model.generate(noise, second))
    rows = torch.randn(4, 64)
    assert not torch.allclose(
        model.discriminator.logits_real_is_high(rows, first), model.discriminator.logits_real_is_high(rows, second)
    )


def test_the_temperature_spreads_the_noise_of_samples() -> None:
    torch.manual_seed(0)
    data = make_images()

    def drawn(temperature: float) -> torch.Tensor:
        model.config = replace(model.config, sampling=GANSampling(temperature))
        return model.sample(32, torch.zeros(32, dtype=torch.long), generator=torch.Generator().manual_seed(1))

    model = GAN(data.codec, 2, GANConfig(**SMALL, network="mlp"))
    with model.sampling(), torch.no_grad():
        assert torch.equal(drawn(0.0), drawn(0.0)[:1].expand_as(drawn(0.0)))
        assert drawn(0.5).std(0).mean() < drawn(1.0).std(0).mean() < drawn(2.0).std(0).mean()
    with pytest.raises(InputError, match=r"sampling\.temperature: -0.1"):
        GANSampling(-0.1)


def test_feature_matching_is_zero_on_the_data_itself() -> None:
    data = make_images()
    model = GAN(data.codec, 2, GANConfig(**SMALL, feature_matching=3.0))
    x, labels = data.codec.encode(data.items[:8]), data.labels[:8]
    batch = GeneratorBatch(torch.randn(8, 5), x, labels)
    loss, metrics = model.generator_loss(batch)
    assert float(loss) == pytest.approx(float(metrics["adversarial"] + 3.0 * metrics["feature_distance"]), rel=1e-5)
    assert float(metrics["feature_distance"]) > 0
    model.generate = lambda noise, labels: x  # type: ignore[method-assign]
    assert float(model.generator_loss(batch)[1]["feature_distance"]) == pytest.approx(0.0, abs=1e-6)


def test_a_step_is_the_discriminators_turns_then_one_of_the_generator() -> None:
    data = segment_data(make_demos(), length=8)
    model = GAN(data.codec, 0, GANConfig(**SMALL, discriminator_updates=3))
    x, _ = data.encoded(torch.arange(4))
    turns = list(model.turns(lambda: Minibatch(x), torch.Generator().manual_seed(0)))
    assert [turn.player for turn in turns] == ["discriminator"] * 3 + ["generator"]
    # Fresh noise every time.
    made = [turn.batch.generated for turn in turns[:3]]
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[1], made[2])
