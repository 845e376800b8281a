from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from gail.core.errors import InputError
from gail.demos import Demonstrations, Trajectory, inspect_demos, load_demos, save_demos

EVIL = "mischief_from_a_data_file:start"


@pytest.fixture(autouse=True)
def minari_root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture(params=["CartPole-v1", "Pendulum-v1"])
def demos(request, play) -> Demonstrations:
    return play(request.param, episodes=3)


def images() -> Demonstrations:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (6, 40, 48, 3), dtype=np.uint8)
    return Demonstrations((Trajectory(pixels, np.arange(5), np.ones(5), True, False),))


def test_written_dataset_is_read_back_by_minari_itself(demos, minari_root):
    save_demos(replace(demos, env_kwargs={"render_mode": None}), minari_root / "d-v0")
    dataset = minari.load_dataset("d-v0")
    assert dataset.total_steps == demos.steps and dataset.env_spec.id == demos.env_id
    assert dataset.action_space == dataset.recover_environment().action_space
    for episode, true in zip(dataset, demos, strict=True):
        assert np.array_equal(episode.observations, true.observations)
        assert np.array_equal(episode.actions, true.actions)
        assert np.array_equal(episode.rewards, true.rewards)
        assert episode.terminations[-1] == true.terminated and episode.truncations[-1] == true.truncated
        assert not episode.terminations[:-1].any() and len(episode.truncations) == len(true)


def test_written_dataset_is_read_back_bit_for_bit_by_folder_and_by_id(demos, minari_root, same_episodes):
    synthetic = replace(demos, generator={"kind": "vae"})
    folder = save_demos(synthetic, minari_root / "d-v0", format="minari")
    for name in (folder, folder / "data", "d-v0"):
        loaded = load_demos(name)
        assert same_episodes(loaded, demos)
        assert (loaded.env_id, loaded.env_kwargs, loaded.source) == (demos.env_id, {}, "random play")
        assert (loaded.format, loaded.generator) == ("minari", {"kind": "vae"})


def test_image_observations_round_trip_byte_exact_here_and_in_minari(minari_root):
    save_demos(images(), minari_root / "images-v0")
    pixels = images().trajectories[0].observations
    assert load_demos("images-v0").trajectories[0].observations.tobytes() == pixels.tobytes()
    assert next(iter(minari.load_dataset("images-v0"))).observations.tobytes() == pixels.tobytes()


def test_unknown_end_flags_stay_unknown(demos, minari_root):
    first = replace(demos.trajectories[0], terminated=None, truncated=None)
    save_demos(replace(demos, trajectories=(first, *demos.trajectories[1:])), minari_root / "d-v0")
    loaded = load_demos("d-v0")
    assert loaded.trajectories[0].terminated is None and loaded.trajectories[1].terminated is not None


def test_what_minari_cannot_hold_is_refused_and_nothing_is_left(demos, minari_root):
    nameless = replace(demos, trajectories=tuple(replace(t, rewards=None) for t in demos))
    for bad, name, words in (
        (nameless, "d-v0", "no rewards"),
        (demos, "a b!", "Minari dataset id"),
        (demos, "without-a-version", "Minari dataset id"),
    ):
        with pytest.raises(InputError, match=words):
            save_demos(bad, minari_root / name, format="minari")
    assert list(minari_root.iterdir()) == []


def test_an_environment_without_a_spec_is_named_all_the_same(demos, minari_root):
    for name in ("Nowhere-v0", "./my_env.py:Mine"):
        plugged = replace(demos, env_id=name, env_kwargs={"length": 3})
        save_demos(plugged, minari_root / "d-v0", overwrite=True)
        loaded = load_demos("d-v0")
        assert (loaded.env_id, loaded.env_kwargs) == (name, {"length": 3})
        assert len(minari.load_dataset("d-v0")) == len(demos)


def test_an_existing_dataset_is_replaced_only_when_asked(demos, minari_root):
    save_demos(demos, minari_root / "d-v0")
    with pytest.raises(InputError, match="exists already"):
        save_demos(demos.first(1), minari_root / "d-v0")
    save_demos(demos.first(1), minari_root / "d-v0", overwrite=True)
    assert len(load_demos("d-v0")) == 1 and [item.name for item in minari_root.iterdir()] == ["d-v0"]


def test_writing_does_not_change_the_registry(demos, minari_root):
    import gymnasium as gym

    before = dict(gym.spec(demos.env_id).kwargs)
    save_demos(replace(demos, env_kwargs={"render_mode": "rgb_array"}), minari_root / "d-v0")
    assert gym.spec(demos.env_id).kwargs == before


def buffers(demos: Demonstrations) -> list[EpisodeBuffer]:
    episodes = []
    for number, t in enumerate(demos):
        last = np.arange(len(t)) == len(t) - 1
        episodes.append(
            EpisodeBuffer(
                id=number,
                seed=t.seed,
                observations=t.observations,
                actions=t.actions,
                rewards=list(t.rewards),
                terminations=list(last & bool(t.terminated)),
                truncations=list(last & bool(t.truncated)),
            )
        )
    return episodes


@pytest.mark.parametrize("layout", ["hdf5", "arrow", "parquet"])
def test_datasets_that_minari_wrote_are_read(demos, same_episodes, layout):
    minari.create_dataset_from_buffers(
        "theirs-v0", buffer=buffers(demos), env=demos.env_id, eval_env=demos.env_id, data_format=layout
    )
    loaded = load_demos("theirs-v0")
    assert loaded.env_id == demos.env_id and loaded.env_kwargs == {}
    ours = replace(
        demos,
        trajectories=tuple(
            replace(t, rewards=t.rewards.astype(a.rewards.dtype)) for t, a in zip(demos, loaded, strict=True)
        ),
    )
    assert same_episodes(loaded, ours)


@pytest.mark.parametrize("layout", ["hdf5", "arrow"])
def test_jpeg_images_that_minari_wrote_are_decoded(layout):
    smooth = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None] * 5, (6, 40, 48, 3)).copy()
    demos = Demonstrations((replace(images().trajectories[0], observations=smooth),))
    minari.create_dataset_from_buffers(
        "jpeg-v0",
        buffer=buffers(demos),
        observation_space=spaces.Box(0, 255, (40, 48, 3), np.uint8),
        action_space=spaces.Discrete(5),
        data_format=layout,
    )
    observations = load_demos("jpeg-v0").trajectories[0].observations
    assert observations.dtype == np.uint8 and observations.shape == smooth.shape
    assert np.abs(observations.astype(int) - smooth).max() < 16


def edit_metadata(root: Path, **changes) -> None:
    path = root / "d-v0" / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_an_env_spec_in_a_file_is_read_as_text_and_never_built(demos, minari_root):
    (minari_root / "mischief_from_a_data_file.py").write_text(
        f"open({str(minari_root / 'executed')!r}, 'w')\ndef start(**kwargs): pass\n"
    )
    save_demos(demos, minari_root / "d-v0")
    spec = {"id": "Fine-v0", "entry_point": EVIL, "kwargs": {"a": 1}, "additional_wrappers": []}
    edit_metadata(minari_root, env_spec=json.dumps(spec), observation_space=None)
    loaded = load_demos("d-v0")
    assert (loaded.env_id, loaded.env_kwargs) == ("Fine-v0", {"a": 1})
    edit_metadata(minari_root, env_spec=json.dumps(spec | {"id": "mischief_from_a_data_file:Fine-v0"}))
    assert not inspect_demos(load_demos("d-v0")).findings
    assert not (minari_root / "executed").exists()


def break_file(root: Path, how: str) -> None:
    path = root / "d-v0" / "data" / "main_data.hdf5"
    if how == "truncated file":
        path.write_bytes(path.read_bytes()[:500])
        return
    if how == "missing file":
        path.unlink()
        return
    with h5py.File(path, "a") as file:
        group = file["episode_1"]
        actions = group["actions"][()]
        if how == "early end":
            group["terminations"][2] = True
        elif how == "missing rewards":
            del group["rewards"]
        elif how == "short actions":
            del group["actions"]
            group["actions"] = actions[:-1]
        elif how == "link elsewhere":
            del group["actions"]
            group["actions"] = h5py.ExternalLink("/etc/passwd", "x")
        elif how == "dict observations":
            del group["observations"]
            group.create_group("observations")["a"] = actions
        elif how == "strange name":
            file.create_group("episode_x")


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated file", "HDF5 layout"),
        ("missing file", "HDF5 layout"),
        ("early end", "steps follow an end"),
        ("missing rewards", "rewards is missing"),
        ("short actions", "one per action"),
        ("link elsewhere", "link elsewhere"),
        ("dict observations", "observations/a for"),
        ("strange name", "HDF5 layout"),
    ],
)
def test_a_broken_dataset_is_refused_in_one_line(demos, minari_root, how, words):
    save_demos(demos, minari_root / "d-v0")
    break_file(minari_root, how)
    with pytest.raises(InputError) as caught:
        load_demos("d-v0")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_steps_after_a_termination_flag_are_a_finding(demos, minari_root):
    from gail.demos import check_demos

    save_demos(demos, minari_root / "d-v0")
    break_file(minari_root, "early end")
    (finding,) = check_demos(minari_root / "d-v0")
    assert finding.rule == "steps-after-termination" and "episode 1" in finding.message


def test_an_unknown_id_is_refused_without_a_download():
    with pytest.raises(InputError, match="no local Minari dataset"):
        load_demos("D4RL/door/human-v2")
