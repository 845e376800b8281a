"""The vector-quantized autoencoder: quantization by hand, straight-through gradients, both players, samples."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_data import make_demos, make_images

from gail.core.errors import InputError
from gail.generators.generator import Minibatch
from gail.generators.transformer import TransformerNetwork
from gail.generators.transitions import segment_data
from gail.generators.vqvae import VQVAE, CodeSampling, Quantizer, VQVAEConfig

PRIOR = TransformerNetwork(width=16, layers=1, heads=2, warmup=5, learning_rate=1e-2)
SMALL = VQVAEConfig(codes=8, code_size=3, channels=4, hidden=(16,), per_item=4, depth=1, prior=PRIOR)


def quantizer() -> Quantizer:
    built = Quantizer(3, 2)
    built.codebook.data = torch.tensor([[2.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    return built.eval()  # its running statistics are those of unit spread: vectors stay where they are


def test_vectors_go_to_the_code_of_the_nearest_angle() -> None:
    made, codes, _, _ = quantizer()(torch.tensor([[5.0, 1.0], [0.1, 0.2], [-3.0, 2.0]]))
    assert codes.tolist() == [0, 1, 2]
    assert torch.allclose(made, torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    assert torch.allclose(quantizer().vectors(codes), made)


def test_codes_that_nothing_uses_move_to_where_the_data_is() -> None:
    built = quantizer()
    vectors = torch.tensor([[[5.0, 1.0], [4.0, 1.0]]])
    built.renew(vectors, torch.Generator().manual_seed(0), everything=False)
    assert built.codebook[0].tolist() == [2.0, 0.0]
    on_sphere = built.on_sphere(vectors)[0]
    for code in built.codebook[1:]:
        assert bool((on_sphere == code).all(-1).any())
    built.renew(vectors, torch.Generator().manual_seed(0), everything=True)
    assert bool((on_sphere == built.codebook[0]).all(-1).any())


def test_training_keeps_the_codebook_in_use_and_an_items_codes_are_its_own() -> None:
    torch.manual_seed(0)
    data = make_images()
    model = VQVAE(data.codec, 2, replace(SMALL, learning_rate=3e-3))
    players, generator = model.players(), torch.Generator().manual_seed(0)
    batch = Minibatch(*data.encoded(torch.arange(64)))
    for _ in range(60):
        turn = next(model.turns(lambda: batch, generator))
        players[turn.player].step(turn.batch, turn.rows)
    assert model.codes(batch.x).unique().numel() >= 4
    assert torch.equal(model.codes(batch.x[:3]), model.codes(batch.x)[:3])


def test_distances_move_one_side_each_and_the_item_passes_straight_through() -> None:
    built, angle = quantizer(), 0.3
    vectors = torch.tensor([[0.9553365, 0.2955202]], requires_grad=True)  # the unit vector at that angle
    made, _, towards_vectors, towards_codes = built(vectors)
    expected = 2 - 2 * torch.cos(torch.tensor(angle))
    assert float(towards_vectors.detach()) == pytest.approx(float(expected), rel=1e-4)
    assert float(towards_codes.detach()) == pytest.approx(float(expected), rel=1e-4)
    codebook = torch.autograd.grad(towards_vectors, [vectors, built.codebook], allow_unused=True, retain_graph=True)
    assert codebook[0] is None and codebook[1][0, 1] < 0 and codebook[1][1:].abs().sum() == 0
    encoder = torch.autograd.grad(towards_codes, [vectors, built.codebook], allow_unused=True, retain_graph=True)
    assert encoder[1] is None and encoder[0][0, 1] > 0
    through = torch.autograd.grad((made * torch.tensor([0.0, 1.0])).sum(), [vectors, built.codebook], allow_unused=True)
    assert through[1] is None
    # As if only the normalization stood between: d(unit y) / dy = cos^2.
    assert float(through[0][0, 1]) == pytest.approx(float(torch.cos(torch.tensor(angle)) ** 2), rel=1e-3)


@pytest.mark.parametrize("make", [make_images, lambda: segment_data(make_demos(), length=8)])
def test_items_become_codes_and_back_in_their_shape(make) -> None:
    data = make()
    torch.manual_seed(0)
    model = VQVAE(data.codec, len(data.classes), SMALL)
    x, _ = data.encoded(torch.arange(5))
    vectors, codes, _, _ = model.quantizer(model.encode(x))
    assert codes.shape == (5, model.prior.length) and model.prior.vocabulary == 8
    assert model.decode(vectors).shape == x.shape
    with model.sampling():
        drawn = model.sample(6, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (6, *data.codec.shape)
    data.codec.decode(drawn)


def test_the_autoencoder_stops_after_its_steps_and_the_transformer_goes_on() -> None:
    data = make_images()
    model = VQVAE(data.codec, 2, replace(SMALL, autoencoder_steps=2))
    players, generator = model.players(), torch.Generator().manual_seed(0)
    batch = Minibatch(*data.encoded(torch.arange(8)))
    seen = []
    for _ in range(4):
        for turn in model.turns(lambda: batch, generator):
            players[turn.player].step(turn.batch, turn.rows)
            seen.append(turn.player)
    assert seen == ["autoencoder", "transformer"] * 2 + ["transformer"] * 2


def test_what_is_learned_is_drawn_by_class() -> None:
    torch.manual_seed(0)
    data = make_images()
    model = VQVAE(data.codec, 2, replace(SMALL, autoencoder_steps=120, learning_rate=1e-2))
    players, generator = model.players(), torch.Generator().manual_seed(0)
    batch = Minibatch(*data.encoded(torch.arange(64)))
    for _ in range(160):
        for turn in model.turns(lambda: batch, generator):
            players[turn.player].step(turn.batch, turn.rows)
    with model.sampling():
        for label, (bright, dark) in enumerate(((slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4)))):
            drawn = model.sample(20, torch.full((20,), label), generator=generator)
            assert float((drawn[:, :, bright].mean((1, 2, 3)) - drawn[:, :, dark].mean((1, 2, 3))).min()) > 0.5


def test_codes_are_drawn_with_the_sampling_settings() -> None:
    data = make_images()
    torch.manual_seed(0)
    model = VQVAE(data.codec, 2, replace(SMALL, sampling=CodeSampling(temperature=0.0)))
    labels = torch.zeros(2, dtype=torch.int64)
    drawn = [model.sample(2, labels, generator=torch.Generator().manual_seed(s)) for s in (0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    with pytest.raises(InputError, match=r"vqvae\.codes"):
        VQVAEConfig(codes=1)


def test_guidance_of_one_is_the_model_and_of_zero_the_model_without_classes() -> None:
    data = make_images()
    torch.manual_seed(0)
    model = VQVAE(data.codec, 2, SMALL)
    torch.nn.init.normal_(model.prior.beginning.weight, std=20.0)  # classes that tell
    asked, none = torch.tensor([0, 1] * 20), torch.full((40,), 2)
    nothing = torch.empty((40, 0), dtype=torch.int64)
    with model.sampling():
        for guidance, labels in ((1.0, asked), (0.0, none)):
            settings = CodeSampling(guidance=guidance)
            guided = model._guided_codes(asked, settings, torch.Generator().manual_seed(0))
            plain = model.prior.continue_tokens(
                nothing, model.prior.length, labels, sampling=settings, generator=torch.Generator().manual_seed(0)
            )
            assert torch.equal(guided, plain)
        assert not torch.equal(
            model._guided_codes(asked, CodeSampling(guidance=3.0), torch.Generator().manual_seed(0)), plain
        )


def test_some_classes_are_hidden_from_the_transformer() -> None:
    data = make_images()
    model = VQVAE(data.codec, 2, replace(SMALL, unlabelled=0.5))
    model.players()
    batch = Minibatch(*data.encoded(torch.arange(64)))
    turn = list(model.turns(lambda: batch, torch.Generator().manual_seed(0)))[-1]
    hidden = turn.batch.labels == 2
    assert 16 < int(hidden.sum()) < 48 and torch.equal(turn.batch.labels[~hidden], batch.labels[~hidden])
