"""The diffusion model: its target, its denoiser, guidance, and that it learns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy_data import make_demos, make_images

from gail.core.errors import InputError
from gail.generators.diffusion import DiffusedItems, Diffusion, DiffusionConfig, DiffusionSampling
from gail.generators.generator import Minibatch
from gail.generators.transitions import segment_data, transition_data
from gail.generators.unet import UNet

SMALL = DiffusionConfig(width=32, channels=8, blocks=2)


@pytest.mark.parametrize("prediction", ["noise", "velocity"])
def test_a_network_that_knows_the_target_has_no_loss_and_denoises_exactly(prediction) -> None:
    data = transition_data(make_demos())
    model = Diffusion(data.codec, 0, replace(SMALL, prediction=prediction))
    x, noise = data.encoded(torch.arange(6))[0], torch.randn(6, 7)
    sigma = model.sigmas[400]
    alpha = torch.rsqrt(1 + sigma**2)
    target = noise if prediction == "noise" else alpha * noise - sigma * alpha * x
    model.predict = lambda *_: target  # type: ignore[method-assign]
    loss, _ = model.loss(DiffusedItems(x, noise, torch.full((6,), 400), None))
    assert float(loss) == pytest.approx(0.0, abs=1e-10)
    assert torch.allclose(model.denoise(x + sigma * noise, sigma, None), x, atol=1e-3)


def test_the_network_sees_unit_variance_at_every_noise_level() -> None:
    data = transition_data(make_demos())
    model = Diffusion(data.codec, 0, SMALL)
    seen = []
    model.predict = lambda x, sigma, labels: (seen.append(x), torch.zeros_like(x))[1]  # type: ignore[method-assign]
    x = torch.randn(4000, 7)
    for level in (0, 500, 999):
        model.loss(DiffusedItems(x, torch.randn_like(x), torch.full((4000,), level), None))
        assert float(seen[-1].std()) == pytest.approx(1.0, abs=0.03)


def test_noise_levels_cover_the_schedule_evenly_in_every_minibatch() -> None:
    data = transition_data(make_demos())
    model = Diffusion(data.codec, 0, SMALL)
    x, _ = data.encoded(torch.arange(20))
    (turn,) = model.turns(lambda: Minibatch(x), torch.Generator().manual_seed(0))
    assert torch.equal(turn.batch.level.sort().values // 50, torch.arange(20))


def test_some_classes_are_hidden_and_guidance_goes_beyond_what_the_class_changes() -> None:
    data = make_images()
    torch.manual_seed(0)
    model = Diffusion(data.codec, 2, replace(SMALL, unlabelled=0.5))
    x, labels = data.encoded(torch.arange(64))
    (turn,) = model.turns(lambda: Minibatch(x, labels), torch.Generator().manual_seed(0))
    hidden = turn.batch.labels == 2
    assert 15 < int(hidden.sum()) < 50
    assert torch.equal(turn.batch.labels[~hidden], labels[~hidden])

    # A denoiser whose answer is the label: guided, it is plain + w (asked - plain).
    def denoise(x: torch.Tensor, sigma: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        assert labels is not None
        value = torch.tensor([0.2, 0.3, 0.1])[labels]
        return value[:, None, None, None].expand_as(x)

    model.denoise = denoise  # type: ignore[method-assign]
    for guidance, expected in ((0.0, 0.1), (1.0, 0.3), (2.0, 0.5)):
        model.config = replace(SMALL, sampling=DiffusionSampling(guidance=guidance, sampling_steps=4))
        drawn = model.sample(3, torch.ones(3, dtype=torch.int64), generator=torch.Generator().manual_seed(0))
        assert torch.allclose(drawn, torch.full_like(drawn, expected), atol=1e-2)


def test_noise_level_and_class_both_change_the_prediction() -> None:
    torch.manual_seed(0)
    data = make_images()
    model = Diffusion(data.codec, 2, SMALL)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, labels = data.encoded(torch.arange(4))
    sigma = torch.full((4,), 0.5)
    before = model.predict(x, sigma, labels)
    assert not torch.allclose(model.predict(x, sigma, 1 - labels), before)
    assert not torch.allclose(model.predict(x, 2 * sigma, labels), before)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 28, 28), (5, 32), (2, 7), (3, 6, 10)])
def test_the_u_net_keeps_any_shape_and_starts_at_zero(shape: tuple[int, ...]) -> None:
    network = UNet(shape, channels=4, width=6)
    x = torch.randn(2, *shape)
    assert torch.equal(network(x, torch.randn(2, 6)), torch.zeros_like(x))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    first, second = network(x, torch.zeros(2, 6)), network(x, torch.ones(2, 6))
    assert first.shape == x.shape and not torch.allclose(first, second)


def test_what_is_given_has_no_noise_and_no_loss() -> None:
    data = transition_data(make_demos())
    model, given = Diffusion(data.codec, 0, SMALL), torch.arange(7) < 3
    (x, _), noise, output = data.encoded(torch.arange(6)), torch.randn(6, 7), torch.randn(6, 7)
    seen = []
    model.predict = lambda x, *_: (seen.append(x), output)[1]  # type: ignore[method-assign]
    level = torch.full((6,), 400)
    loss, _ = model.loss(DiffusedItems(x, noise, level, None, given))
    assert torch.equal(seen[0][:, :3], x[:, :3])
    alpha = torch.rsqrt(1 + model.sigmas[400] ** 2)
    noisy = alpha * (x + model.sigmas[400] * noise)
    torch.testing.assert_close(seen[0][:, 3:], noisy[:, 3:])
    target = alpha * noise - model.sigmas[400] * alpha * x
    assert float(loss) == pytest.approx(float((output - target)[:, 3:].square().mean()), rel=1e-5)


SAMPLINGS = [DiffusionSampling(), DiffusionSampling("ddim", 40), DiffusionSampling("ddim", 60, 1.0)]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_rest_of_an_item_is_drawn_for_what_is_given(sampling: DiffusionSampling) -> None:
    given = torch.tensor([True, False])
    model = trained_on_rows(given)
    model.config = replace(model.config, sampling=sampling)
    items = torch.cat([torch.tensor([[1.0, 0.0]] * 300), torch.tensor([[-1.0, 0.0]] * 700)])
    with model.sampling():
        drawn = model.complete(items, given, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn[:, 0], items[:, 0])
    # The other cluster's value never occurs beside it; the spread of 0.1 is that of the data.
    assert float(drawn[:300, 1].mean()) == pytest.approx(-1.0, abs=0.1)
    assert float(drawn[300:, 1].mean()) == pytest.approx(1.0, abs=0.1)
    assert 0.05 < float(drawn[300:, 1].std()) < 0.2


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_trained_model_draws_rows_with_the_datas_mean_and_spread(sampling: DiffusionSampling) -> None:
    model = trained_on_rows()
    model.config = replace(model.config, sampling=sampling)
    with model.sampling():
        drawn = model.sample(1000, generator=torch.Generator().manual_seed(0))
    # Two clusters at (-1, 1) and (1, -1) with a spread of 0.1: unit variance, correlation -1.
    assert drawn.mean(0).abs().max() < 0.15
    assert float((drawn[:, 0] * drawn[:, 1]).mean()) == pytest.approx(-1.0, abs=0.15)
    assert float((drawn[:, 0].abs() - 1).abs().mean()) < 0.2
    assert float((drawn[:, 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.1)


_TRAINED: dict[bool, Diffusion] = {}


def trained_on_rows(given: Tensor | None = None) -> Diffusion:
    """Trained once for all tests of its samples, and once for those where a part is given."""
    if (given is not None) not in _TRAINED:
        torch.manual_seed(0)
        codec = replace(transition_data(make_demos()).codec)
        object.__setattr__(codec, "scaling", replace(codec.scaling, mean=torch.zeros(2)))
        model = Diffusion(codec, 0, replace(SMALL, width=64, learning_rate=3e-3, average=0.99))
        players, generator = model.players(), torch.Generator().manual_seed(0)
        for step in range(250):
            players["denoiser"].set_progress(step / 250)
            side = torch.randint(2, (128, 1), generator=generator) * 2.0 - 1.0
            x = side * torch.tensor([1.0, -1.0]) + 0.1 * torch.randn(128, 2, generator=generator)
            for turn in model.turns(lambda x=x: Minibatch(x, given=given), generator):
                players[turn.player].step(turn.batch, turn.rows)
        players["denoiser"].adopt_average()
        _TRAINED[given is not None] = model
    return _TRAINED[given is not None]


@pytest.mark.parametrize("make", [lambda: segment_data(make_demos(), length=8), make_images])
def test_segments_and_images_are_drawn_in_their_shape(make) -> None:
    data = make()
    model = Diffusion(data.codec, len(data.classes), replace(SMALL, sampling=DiffusionSampling(sampling_steps=3)))
    with model.sampling():
        drawn = model.sample(4, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (4, *data.codec.shape) and bool(torch.isfinite(drawn).all())
    data.codec.decode(drawn)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"sampling\.eta"):
        DiffusionSampling(eta=0.5)
    with pytest.raises(InputError, match=r"sampling\.sampling_steps"):
        DiffusionSampling(sampling_steps=0)
    with pytest.raises(InputError, match=r"diffusion\.timesteps"):
        DiffusionConfig(timesteps=1)
