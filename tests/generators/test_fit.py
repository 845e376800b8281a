"""Fitting and sampling: resume bit for bit, pictures, files that say what they are, refusals."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from toy_data import make_demos, make_images

import gail
from gail.core.checkpoint import load_tree, save_tree
from gail.core.errors import InputError
from gail.demos import Demonstrations, load_demos, save_demos
from gail.demos.info import file_hash
from gail.generators import DataConfig, fit, load_data, load_generator, sample
from gail.generators.dataset import Dataset
from gail.generators.game import Fitting
from gail.generators.images import load_images
from gail.generators.transformer import TransformerNetwork

QUICK: dict[str, Any] = {"batch_size": 8, "previews": 0, "progress": False, "threads": 1}
TINY = TransformerNetwork(width=8, layers=1, heads=2)
KINDS = {
    "gan-rows": ("gan", {"hidden": (8,)}, "transitions"),
    "gan-images": ("gan", {"channels": 2}, "images"),
    "vae-images": ("vae", {"channels": 2}, "images"),
    "diffusion-rows": ("diffusion", {"width": 8, "blocks": 1}, "transitions"),
    "diffusion-images": ("diffusion", {"width": 8, "channels": 2}, "images"),
    "transformer": ("transformer", {"width": 8, "layers": 1, "heads": 2, "warmup": 30}, "returns"),
    "lstm": ("recurrent", {"width": 8}, "returns"),
    "vqvae": ("vqvae", {"channels": 2, "codes": 4, "autoencoder_steps": 20, "prior": TINY}, "images"),
    "mdrnn": ("mdrnn", {"width": 8}, "segments"),
    "vae-segments": ("vae", {"hidden": (8,)}, "segments"),
}


def data_of(kind: str) -> Dataset:
    if kind == "images":
        return make_images()
    return load_data(make_demos(), DataConfig(data_kind=kind, length=None if kind == "transitions" else 8))


def state(directory: Path) -> dict[str, Any]:
    tree = load_tree(directory / "checkpoints" / "latest" / "state.safetensors")
    tree.pop("seconds")
    return tree


def assert_same(first: Any, second: Any) -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.parametrize("case", KINDS.values(), ids=KINDS.keys())
def test_a_fit_that_was_cut_and_resumed_equals_one_that_never_stopped(
    case: tuple[str, dict[str, Any], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, options, data_kind = case
    data = data_of(data_kind)
    monkeypatch.setattr("gail.generators.game._ROUND", 4)
    whole = fit(kind, data, out=tmp_path / "whole", steps=40, **options, **QUICK)
    rounds = Fitting.round

    def cut(game: Fitting) -> Any:
        if game.steps >= 23:
            raise KeyboardInterrupt
        yield from rounds(game)

    with monkeypatch.context() as patch:
        patch.setattr(Fitting, "round", cut)
        with pytest.raises(KeyboardInterrupt):
            fit(kind, data, out=tmp_path / "cut", steps=40, **options, **QUICK)
    resumed = fit(kind, data, out=tmp_path / "cut", steps=40, resume=True, **options, **QUICK)
    assert_same(state(tmp_path / "whole"), state(tmp_path / "cut"))
    assert_same(dict(whole.model.state_dict()), dict(resumed.model.state_dict()))
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(4, 41, 4))


def test_pictures_during_training_change_nothing_that_is_learned(tmp_path: Path) -> None:
    data = make_images()
    options = {**QUICK, "steps": 60, "channels": 2}
    plain = fit("gan", data, **options)
    drawn = fit("gan", data, out=tmp_path / "run", **{**options, "previews": 2})
    assert_same(dict(plain.model.state_dict()), dict(drawn.model.state_dict()))
    pictures = sorted((tmp_path / "run" / "samples").iterdir())
    assert [picture.name for picture in pictures] == ["step-00000050.png", "step-00000060.png"]
    with Image.open(pictures[-1]) as picture:
        assert picture.size[0] > 36 and np.asarray(picture).std() > 0


def test_episodes_from_a_file_of_demonstrations_say_that_they_are_synthetic(tmp_path: Path) -> None:
    parent = save_demos(make_demos(), tmp_path / "parent.npz")
    fit("vae", parent, out=tmp_path / "run", steps=5, data_kind="segments", length=8, hidden=(8,), **QUICK)
    drawn = sample(tmp_path / "run", episodes=7, seed=3, out=tmp_path / "synthetic.npz")
    read = load_demos(tmp_path / "synthetic.npz")
    assert read.kind == "episodes" and len(read) == 7 and read.env_id == "Toy-v0" and read.env_kwargs == {"g": 1}
    assert read.generator == {
        "kind": "vae",
        "hash": file_hash(tmp_path / "run" / "model.safetensors"),
        "seed": 3,
        "parent": file_hash(parent),
        "rewards": "generated",
    }
    assert isinstance(drawn, Demonstrations)
    np.testing.assert_array_equal(read.trajectories[2].observations, drawn.trajectories[2].observations)
    again = sample(tmp_path / "run", episodes=7, seed=3)
    other = sample(tmp_path / "run", episodes=7, seed=4)
    np.testing.assert_array_equal(again.trajectories[0].actions, drawn.trajectories[0].actions)
    assert not np.array_equal(other.trajectories[0].observations, drawn.trajectories[0].observations)


def test_transitions_are_written_as_transitions(tmp_path: Path) -> None:
    result = fit("gan", make_demos(discrete=True), steps=5, hidden=(8,), **QUICK)
    sample(result, transitions=9, out=tmp_path / "t.npz")
    read = load_demos(tmp_path / "t.npz")
    assert read.kind == "transitions" and [len(t) for t in read] == [1] * 9
    assert read.generator is not None and read.generator["parent"] is None and read.generator["hash"] is None
    assert all(t.actions.dtype.kind == "i" and t.actions[0] in (1, 2, 3) for t in read)


def test_images_of_a_class_are_written_as_a_folder_that_can_be_read_again(tmp_path: Path) -> None:
    result = fit("vae", make_images(), steps=3, channels=2, **QUICK)
    drawn = sample(result, count=4, label=1, out=tmp_path / "folder")
    read = load_images(tmp_path / "folder")
    assert read.classes == ("below",) and torch.equal(read.items, drawn)
    assert json.loads((tmp_path / "folder" / "generator.json").read_text())["synthetic"] is True
    sample(result, count=4, out=tmp_path / "grid.png")
    assert json.loads((tmp_path / "grid.png.generator.json").read_text())["kind"] == "vae"


@pytest.mark.parametrize("name", [name for name, (_, _, data) in KINDS.items() if data != "images"])
def test_sampling_demonstrations_makes_no_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, settings, data = KINDS[name]
    result = fit(kind, data_of(data), steps=2, **settings, **QUICK)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("an environment was made")

    for module in ("gymnasium", "gymnasium.envs.registration"):
        monkeypatch.setattr(f"{module}.make", refuse)
    for module in ("gail.envs", "gail.envs.make"):
        monkeypatch.setattr(importlib.import_module(module), "make_vec", refuse)
    drawn = sample(result, **({"transitions": 6} if data == "transitions" else {"episodes": 2}))
    assert isinstance(drawn, Demonstrations) and drawn.kind == ("transitions" if data == "transitions" else "episodes")
    assert drawn.generator is not None and drawn.generator["rewards"] == "generated"


def test_a_model_file_gives_the_same_samples_as_the_model_that_was_written(tmp_path: Path) -> None:
    result = fit("gan", make_images(), out=tmp_path / "run", steps=5, channels=2, **QUICK)
    loaded = load_generator(tmp_path / "run")
    assert loaded.classes == ("above", "below")
    assert torch.equal(sample(loaded, count=5, seed=1), sample(result, count=5, seed=1))


def test_the_sampled_gan_has_the_averaged_weights(tmp_path: Path) -> None:
    result = fit("gan", make_images(), out=tmp_path / "run", steps=5, channels=2, **QUICK)
    player = load_tree(tmp_path / "run" / "checkpoints" / "latest" / "state.safetensors")["players"]["generator"]
    flat = torch.cat([p.detach().flatten() for p in [*result.model.embedding.parameters()]])
    assert torch.equal(flat, player["average"][: len(flat)])
    assert not torch.equal(flat, player["module"]["0.vectors.weight"].flatten())


def test_held_out_items_are_measured_once_each(tmp_path: Path) -> None:
    demos = make_demos()
    result = fit("vae", demos, steps=5, hidden=(8,), holdout=0.3, **QUICK)
    assert result.summary["held_out_items"] == 24
    assert np.isfinite(result.summary["held_out"]["autoencoder/loss"])
    assert fit("gan", demos, steps=5, hidden=(8,), holdout=0.3, **QUICK).summary["held_out"] == {}


def test_what_cannot_be_sampled_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    result = fit("vae", make_demos(), steps=2, hidden=(8,), **QUICK)
    for options, words in (
        ({"episodes": 3}, "--episodes: this model draws transitions, expected --transitions"),
        ({}, "--transitions: found None"),
        ({"transitions": 0}, "--transitions: found 0"),
        ({"transitions": 3, "label": 1}, "--label: this model learned from data without classes"),
        ({"transitions": 3, "temperature": 0.5}, "--temperature: vae has no such setting"),
    ):
        with pytest.raises(InputError, match=words):
            sample(result, out=tmp_path / "x.npz", **options)
    (tmp_path / "there.npz").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        sample(result, transitions=3, out=tmp_path / "there.npz")
    assert not (tmp_path / "x.npz").exists() and (tmp_path / "there.npz").read_text() == "mine"


def test_what_is_no_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_generator(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        load_generator(tmp_path)


def test_wrong_settings_of_a_fit_are_refused_before_a_run_directory_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no kind of generator"):
        fit("magic", make_images(), out=tmp_path / "run")
    with pytest.raises(InputError, match=r"training\.steps"):
        fit("vae", make_images(), out=tmp_path / "run", steps=0)
    with pytest.raises(InputError, match=r"vae\.latent"):
        fit("vae", make_images(), out=tmp_path / "run", latent=0)
    with pytest.raises(TypeError, match="unknown settings: colour"):
        fit("vae", make_images(), out=tmp_path / "run", colour=1)
    assert not (tmp_path / "run").exists()


def test_the_public_names_are_these_functions() -> None:
    assert gail.fit is fit and gail.sample is sample


@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "..", "", "a\\b"])
def test_a_model_file_cannot_choose_where_samples_are_written(name: str, tmp_path: Path) -> None:
    fit("vae", make_images(), out=tmp_path / "run", steps=1, channels=2, **QUICK)
    file = tmp_path / "run" / "model.safetensors"
    tree = load_tree(file)
    tree["classes"][1] = name
    save_tree(file, tree)
    with pytest.raises(InputError, match="expected the name of a folder"):
        load_generator(file)
