"""Every generator's training steps run on the meta device and neither copy, make constants nor draw."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_data import make_demos, make_images

from gail.core.precision import Precision
from gail.generators.dataset import Dataset
from gail.generators.diffusion import DiffusionConfig
from gail.generators.gan import GANConfig
from gail.generators.generator import Generator, Minibatch
from gail.generators.innovations import innovation_data
from gail.generators.kinds import KINDS, build
from gail.generators.mixture import MixtureConfig
from gail.generators.recurrent import RecurrentConfig
from gail.generators.returns import return_data
from gail.generators.transformer import TransformerConfig, TransformerNetwork
from gail.generators.transitions import segment_data, transition_data
from gail.generators.vae import VAEConfig
from gail.generators.vqvae import VQVAEConfig

ROWS = 4


@dataclass(frozen=True)
class Case:
    kind: str
    config: Any
    data: Callable[[], Dataset]


def rows() -> Dataset:
    return transition_data(make_demos())


def segments() -> Dataset:
    return segment_data(make_demos(), length=8)


def discrete_segments() -> Dataset:
    return segment_data(make_demos(discrete=True), length=8)


TINY = TransformerNetwork(width=8, layers=1, heads=2)


def returns() -> Dataset:
    return return_data(make_demos(), states=3, bins=8)


def innovations() -> Dataset:
    return innovation_data(make_demos(), states=3, bins=8)


CASES = {
    "diffusion-rows": Case("diffusion", DiffusionConfig(width=8, blocks=1), rows),
    "diffusion-segments": Case("diffusion", DiffusionConfig(width=8, channels=4, prediction="noise"), segments),
    "diffusion-images": Case("diffusion", DiffusionConfig(width=8, channels=4, schedule="linear"), make_images),
    "vqvae-images": Case("vqvae", VQVAEConfig(codes=4, channels=2, prior=TINY), make_images),
    "vqvae-segments": Case("vqvae", VQVAEConfig(codes=4, hidden=(8,), prior=TINY), segments),
    "mdrnn-continuous": Case("mdrnn", MixtureConfig(width=8), segments),
    "mdrnn-discrete": Case("mdrnn", MixtureConfig(width=8, cell="gru"), discrete_segments),
    "transformer": Case("transformer", TransformerConfig(width=8, layers=1, heads=2), returns),
    "transformer-innovations": Case("transformer", TransformerConfig(width=8, layers=1, heads=2), innovations),
    "lstm": Case("recurrent", RecurrentConfig(width=8), returns),
    "gru": Case("recurrent", RecurrentConfig(width=8, cell="gru", layers=1), returns),
    "gan-rows": Case("gan", GANConfig(hidden=(8,), latent=3, feature_matching=1.0), rows),
    "gan-penalty": Case("gan", GANConfig(hidden=(8,), loss="wasserstein", gradient_penalty=10.0), segments),
    "gan-conv": Case("gan", GANConfig(channels=2, latent=3), make_images),
    "vae-rows": Case("vae", VAEConfig(hidden=(8,)), rows),
    "vae-bernoulli": Case("vae", VAEConfig(channels=2, decoder="bernoulli"), make_images),
    "vae-categorical": Case("vae", VAEConfig(channels=2, decoder="categorical", levels=3), make_images),
}


def built(case: Case, precision: Precision = "fp32") -> tuple[Generator, list[Any]]:
    """A model on the processor with the turns of one step."""
    data = case.data()
    model = build(case.kind, data.codec, len(data.classes), case.config, precision)
    model.players()  # a schedule may look at what its players have done
    batch = Minibatch(*data.encoded(torch.arange(ROWS)))
    return model, list(model.turns(lambda: batch, torch.Generator().manual_seed(0)))


def to_meta(batch: Any) -> Any:
    """The same batch on meta."""
    fields = {name: value.to("meta") if isinstance(value, Tensor) else value for name, value in vars(batch).items()}
    return type(batch)(**fields)


def test_every_kind_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} == set(KINDS)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_training_step_of_a_generator_needs_no_read_back(case: Case) -> None:
    model, turns = built(case)
    players = model.to("meta").players()
    for turn in turns:
        players[turn.player].step(to_meta(turn.batch), float(ROWS))
    assert all(player.weights.grad is not None and player.weights.grad.is_meta for player in players.values())


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_training_step_of_a_generator_copies_and_draws_nothing(
    case: Case, forbid_copies_and_draws: Callable[[], None]
) -> None:
    model, turns = built(case)
    players = model.players()
    for turn in turns:
        players[turn.player].step(turn.batch, float(ROWS))  # optimizers make their state in the first step
    forbid_copies_and_draws()
    for turn in turns:
        players[turn.player].step(turn.batch, float(ROWS))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_generator_trains_in_bfloat16_and_keeps_its_weights_in_float32(case: Case) -> None:
    model, turns = built(case, "bf16")
    players = model.players()
    for turn in turns:
        players[turn.player].step(turn.batch, float(ROWS))
    for name, player in players.items():
        assert player.weights.dtype == torch.float32 and bool(torch.isfinite(player.weights).all())
        assert math.isfinite(player.read_metrics()[f"{name}/loss"])
    with model.sampling():
        assert model.sample(2, generator=torch.Generator().manual_seed(0)).dtype in (torch.float32, torch.int64)
