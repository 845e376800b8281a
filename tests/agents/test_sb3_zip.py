"""Zips of Stable-Baselines3: the same actions from weights and JSON alone, and nothing is unpickled."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from gail.agents.evaluate import evaluate_in
from gail.agents.policy import load_policy, save_policy
from gail.agents.sb3_policy import SB3Policy
from gail.agents.sb3_zip import SB3Options
from gail.agents.scoring import evaluate
from gail.cli.main import main
from gail.core.errors import InputError

BOX = spaces.Box(-2.0, np.array([1.0, 3.0], np.float32), (2,), np.float32)
VECTOR = spaces.Box(-5.0, 5.0, (3,), np.float32)
IMAGE = spaces.Box(0, 255, (4, 36, 36), np.uint8)


class Spaces(gym.Env):
    """An environment of given spaces."""

    def __init__(self, observation_space: gym.Space, action_space: gym.Space) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}


def trained(algo: str, obs: gym.Space, act: gym.Space, policy: str = "MlpPolicy", **kwargs: Any) -> Any:
    """A model with weights far enough from their initial values that every part of the policy shows."""
    if algo not in ("PPO", "A2C"):
        kwargs["buffer_size"] = 10
    model = getattr(sb3, algo)(policy, Spaces(obs, act), seed=0, device="cpu", **kwargs)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
    return model


def observations(space: gym.Space, count: int = 200) -> np.ndarray:
    space.seed(3)
    return np.stack([np.asarray(space.sample()) for _ in range(count)])


def ours(policy: SB3Policy, obs: np.ndarray) -> np.ndarray:
    return policy.act(torch.from_numpy(obs), deterministic=True).action.numpy()


ACTIVATED = {"activation_fn": torch.nn.ELU, "net_arch": {"pi": [8], "vf": [16, 16]}}
CASES: dict[str, Callable[[], Any]] = {
    "ppo": lambda: trained("PPO", VECTOR, spaces.Discrete(3)),
    "ppo-elu-own-sizes": lambda: trained("PPO", VECTOR, BOX, policy_kwargs=ACTIVATED),
    "ppo-sde": lambda: trained("PPO", VECTOR, BOX, use_sde=True),
    "ppo-sde-squashed": lambda: trained("PPO", VECTOR, BOX, use_sde=True, policy_kwargs={"squash_output": True}),
    "ppo-no-hidden-layer": lambda: trained("PPO", VECTOR, spaces.Discrete(3), policy_kwargs={"net_arch": []}),
    "ppo-multidiscrete": lambda: trained("PPO", spaces.MultiDiscrete([3, 2]), spaces.MultiDiscrete([2, 4])),
    "a2c-discrete-observations": lambda: trained("A2C", spaces.Discrete(6), spaces.Discrete(3)),
    "ppo-images": lambda: trained("PPO", IMAGE, spaces.Discrete(3), "CnnPolicy"),
    "ppo-images-own-extractors": lambda: trained(
        "PPO", IMAGE, BOX, "CnnPolicy", policy_kwargs={"share_features_extractor": False, "net_arch": [8]}
    ),
    "dqn": lambda: trained("DQN", VECTOR, spaces.Discrete(3), policy_kwargs={"net_arch": [16, 8]}),
    "dqn-images": lambda: trained("DQN", IMAGE, spaces.Discrete(3), "CnnPolicy"),
    "sac": lambda: trained("SAC", VECTOR, BOX),
    "sac-sde": lambda: trained("SAC", VECTOR, BOX, use_sde=True, policy_kwargs={"clip_mean": 0.5}),
    "sac-images": lambda: trained("SAC", IMAGE, BOX, "CnnPolicy"),
    "td3": lambda: trained("TD3", VECTOR, BOX, policy_kwargs={"net_arch": [16, 8]}),
    "ddpg": lambda: trained("DDPG", VECTOR, BOX, policy_kwargs={"activation_fn": torch.nn.Tanh, "net_arch": [8]}),
}


@pytest.mark.parametrize("case", CASES)
def test_deterministic_actions_equal_those_of_the_model_that_was_saved(case: str, tmp_path: Path) -> None:
    model = CASES[case]()
    model.save(tmp_path / "model.zip")
    loaded = load_policy(tmp_path / "model.zip")
    obs = observations(model.observation_space)
    expected, _ = model.predict(obs, deterministic=True)
    assert len(np.unique(expected, axis=0)) > 1
    # One batch, the same operations: only products of other shapes round otherwise.
    np.testing.assert_allclose(ours(loaded.policy, obs), expected, rtol=0, atol=2e-6)
    # And the same again from a file of our own.
    save_policy(loaded.policy, tmp_path / "policy.safetensors", env_id="CartPole-v1", env_kwargs={})
    again = load_policy(tmp_path / "policy.safetensors")
    assert np.array_equal(ours(again.policy, obs), ours(loaded.policy, obs))


@pytest.mark.parametrize("env_id, zipped", [("CartPole-v1", "CartPole-v1"), ("LunarLander-v3", "LunarLander-v2")])
def test_recorded_actions_are_reproduced_and_a_wrong_activation_shows(
    env_id: str, zipped: str, third_party_data: Path
) -> None:
    file = third_party_data / "policies" / f"sb3-ppo-{zipped}.zip"
    with np.load(third_party_data / "demos" / f"{env_id}.npz", allow_pickle=False) as recorded:
        last = np.cumsum(recorded["lengths"] + 1) - 1
        obs, actions = np.delete(recorded["observations"], last, axis=0), recorded["actions"]
    assert np.array_equal(ours(load_policy(file).policy, obs), actions)
    wrong = load_policy(file, sb3=SB3Options(activation="relu"))
    assert (ours(wrong.policy, obs) == actions).mean() < 0.95


def test_pendulum_with_state_dependent_exploration_plays_as_its_authors_report(third_party_data: Path) -> None:
    file = third_party_data / "policies" / "sb3-sac-Pendulum-v1.zip"
    assert evaluate(file, env_id="Pendulum-v1", episodes=50)["return_mean"] == pytest.approx(-145, abs=35)


def test_sampled_actions_follow_the_gaussian_and_the_exploration_rate(tmp_path: Path) -> None:
    model = trained("PPO", VECTOR, spaces.Box(-100.0, 100.0, (1,), np.float32))
    model.save(tmp_path / "ppo.zip")
    policy = load_policy(tmp_path / "ppo.zip").policy
    obs = torch.zeros(20_000, 3)
    drawn = policy.act(obs, generator=torch.Generator().manual_seed(0)).action
    expected = float(model.policy.log_std.detach().exp())
    assert float(drawn.std()) == pytest.approx(expected, rel=0.03)
    assert float(drawn.mean()) == pytest.approx(float(policy.act(obs[:1], deterministic=True).action), abs=0.05)

    model = trained("DQN", VECTOR, spaces.Discrete(4))
    model.exploration_rate = 0.4
    model.save(tmp_path / "dqn.zip")
    policy = load_policy(tmp_path / "dqn.zip").policy
    best = policy.act(obs[:1], deterministic=True).action
    drawn = policy.act(obs, generator=torch.Generator().manual_seed(0)).action
    assert float((drawn != best).float().mean()) == pytest.approx(0.4 * 3 / 4, abs=0.02)

    trained("SAC", VECTOR, BOX, use_sde=True).save(tmp_path / "sde.zip")
    with pytest.raises(InputError, match="gSDE"):
        load_policy(tmp_path / "sde.zip").policy.act(obs)


def test_statistics_of_vecnormalize_are_taken_from_plain_arrays(tmp_path: Path) -> None:
    model = trained("PPO", VECTOR, BOX)
    model.save(tmp_path / "model.zip")
    normalize = VecNormalize(DummyVecEnv([lambda: Spaces(VECTOR, BOX)]), clip_obs=1.5)
    normalize.obs_rms.mean, normalize.obs_rms.var = np.array([1.0, -1.0, 0.5]), np.array([4.0, 0.25, 1.0])
    np.savez(tmp_path / "s.npz", obs_mean=normalize.obs_rms.mean, obs_var=normalize.obs_rms.var, clip_obs=1.5)
    loaded = load_policy(tmp_path / "model.zip", sb3=SB3Options(vecnormalize=tmp_path / "s.npz"))
    obs = observations(VECTOR)
    expected, _ = model.predict(normalize.normalize_obs(obs), deterministic=True)
    np.testing.assert_allclose(ours(loaded.policy, obs), expected, rtol=0, atol=2e-6)
    save_policy(loaded.policy, tmp_path / "policy.safetensors", env_id="X", env_kwargs={})
    assert np.array_equal(ours(load_policy(tmp_path / "policy.safetensors").policy, obs), ours(loaded.policy, obs))

    np.savez(tmp_path / "wrong.npz", obs_mean=np.zeros(2), obs_var=np.ones(2))
    with pytest.raises(InputError, match=r"--vecnormalize: .*wrong.npz: obs_mean has shape \(2,\), .* \(3,\)"):
        load_policy(tmp_path / "model.zip", sb3=SB3Options(vecnormalize=tmp_path / "wrong.npz"))
    np.savez(tmp_path / "many.npz", obs_mean=np.zeros(3), obs_var=np.ones(3), clip_obs=np.ones(2))
    with pytest.raises(InputError, match=r"--vecnormalize: .*many.npz: clip_obs has shape \(2,\), expected one number"):
        load_policy(tmp_path / "model.zip", sb3=SB3Options(vecnormalize=tmp_path / "many.npz"))
    np.savez(tmp_path / "pickled.npz", obs_mean=np.array([{}], dtype=object), obs_var=np.ones(3))
    with pytest.raises(InputError, match=r"pickled.npz cannot be read"):
        load_policy(tmp_path / "model.zip", sb3=SB3Options(vecnormalize=tmp_path / "pickled.npz"))


def test_bounds_of_observations_may_differ_but_not_those_of_actions(tmp_path: Path) -> None:
    wide = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    trained("PPO", wide, spaces.Box(-2.0, 2.0, (1,), np.float32)).save(tmp_path / "wide.zip")
    assert evaluate_in(load_policy(tmp_path / "wide.zip").policy, "Pendulum-v1", {}, episodes=1).returns[0] < 0
    trained("PPO", wide, spaces.Box(-1.0, 1.0, (1,), np.float32)).save(tmp_path / "narrow.zip")
    with pytest.raises(InputError, match="the policy's action_space is"):
        evaluate_in(load_policy(tmp_path / "narrow.zip").policy, "Pendulum-v1", {}, episodes=1)


class Bomb:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def rewritten(source: Path, out: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sb3") / "plain.zip"
    trained("PPO", VECTOR, spaces.Discrete(3)).save(path)
    return path


def test_pickles_inside_data_are_never_loaded(plain: Path, tmp_path: Path) -> None:
    trap, works = tmp_path / "executed", tmp_path / "works"
    bomb = pickle.dumps(Bomb(trap), protocol=2)
    pickle.loads(pickle.dumps(Bomb(works)))
    assert works.exists()

    def plant(members: dict[str, bytes]) -> None:
        data = json.loads(members["data"])
        for field in data.values():
            if isinstance(field, dict) and ":serialized:" in field:
                field[":serialized:"] = base64.b64encode(bomb).decode()
        members["data"] = json.dumps(data).encode()
        members["pytorch_variables.pth"] = bomb

    evil = rewritten(plain, tmp_path / "evil.zip", plant)
    assert load_policy(evil).policy.action_space == spaces.Discrete(3)
    assert not trap.exists()
    evil = rewritten(plain, tmp_path / "evil2.zip", lambda members: members.update({"policy.pth": bomb}))
    with pytest.raises(InputError, match=r"evil2.zip: member 'policy.pth' holds no plain weights"):
        load_policy(evil)
    buffer = io.BytesIO()
    torch.save({"action_net.weight": Bomb(trap)}, buffer)
    evil = rewritten(plain, tmp_path / "evil3.zip", lambda members: members.update({"policy.pth": buffer.getvalue()}))
    with pytest.raises(InputError, match=r"evil3.zip: member 'policy.pth' holds no plain weights"):
        load_policy(evil)
    assert not trap.exists()


def weights(**changed: torch.Tensor | None) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        state = torch.load(io.BytesIO(members["policy.pth"]), weights_only=True)
        for name, value in changed.items():
            state.pop(name, None)
            if value is not None:
                state[name] = value
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        members["policy.pth"] = buffer.getvalue()

    return change


def fields(**changed: Any) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({"data": json.dumps({**json.loads(members["data"]), **changed}).encode()})


REFUSED: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "no weights": (lambda members: members.pop("policy.pth"), "member 'policy.pth' is missing"),
    "no data": (lambda members: members.pop("data"), "member 'data' is missing"),
    "no json": (lambda members: members.update(data=b"\x80\x04N."), "member 'data' is not JSON"),
    "a list": (lambda members: members.update(data=b"[]"), "member 'data' is list, expected a JSON object"),
    "cut weights": (lambda members: members.update({"policy.pth": members["policy.pth"][:900]}), "no plain weights"),
    "pickled space": (fields(observation_space={":serialized:": "gASV"}), "observation_space is missing"),
    "dict space": (fields(observation_space={":type:": "<class 'gymnasium.spaces.dict.Dict'>"}), "is Dict, expected"),
    "odd dtype": (
        fields(observation_space={":type:": "<class 'x.Box'>", "shape": [3], "dtype": "os.system", "low": "[0]"}),
        "observation_space cannot be read",
    ),
    "odd activation": (
        fields(policy_kwargs={"activation_fn": "<class 'my.Snake'>"}),
        "activation is <class 'my.Snake'>",
    ),
    "wrong shape": (
        weights(**{"action_net.weight": torch.zeros(5, 64)}),
        r"action_net.weight has shape \[5, 64\], expected \[3, 64\]",
    ),
    "layer missing": (weights(**{"action_net.bias": None}), r"lacks action_net.bias, expected \[3\]"),
    "nan": (weights(**{"action_net.bias": torch.full((3,), torch.nan)}), "action_net.bias holds NaN"),
    "odd layer": (weights(**{"mlp_extractor.policy_net.2.weight": torch.ones(64)}), "expected linear layers"),
    "recurrent": (weights(**{"lstm_actor.weight_ih_l0": torch.ones(4, 4)}), "recurrent policy"),
    "own extractor": (weights(**{"features_extractor.net.weight": torch.ones(4, 4)}), "a network of the user's own"),
    "nothing known": (lambda m: weights(**{"action_net.weight": None})(m), "expected the weights of PPO"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_odd_zips_are_refused_with_one_clear_line(case: str, plain: Path, tmp_path: Path) -> None:
    change, said = REFUSED[case]
    odd = rewritten(plain, tmp_path / "odd.zip", change)
    with pytest.raises(InputError, match=said) as caught:
        load_policy(odd)
    assert "odd.zip" in str(caught.value) and "\n" not in str(caught.value)


def test_other_files_named_zip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"no.zip: cannot be read as a zip"):
        load_policy(tmp_path / "no.zip")
    with pytest.raises(InputError, match="no such file"):
        load_policy(tmp_path / "absent.zip")


def damaged(content: bytes) -> dict[str, bytes]:
    """Ways in which a zip of ``content`` breaks on its way: cut, bytes overwritten, another compression announced."""
    files = {f"cut at {end}": content[:end] for end in np.linspace(0, len(content) - 1, 40, dtype=int).tolist()}
    generator = np.random.default_rng(0)
    # The directory of a zip stands at its end, the first member's header and the spaces at its start.
    for trial in range(150):
        flipped = np.frombuffer(content, np.uint8).copy()
        ends = np.concatenate([np.arange(600), np.arange(len(content) - 600, len(content))])
        where = generator.choice(ends if trial % 2 else len(content), size=generator.integers(1, 8))
        flipped[where] = generator.integers(256, size=len(where))
        files[f"flip {trial}"] = flipped.tobytes()
    directory = content.index(b"PK\x01\x02")
    for method in (1, 8, 9, 12, 14, 95):
        changed = bytearray(content)
        at = directory
        while (at := changed.find(b"PK\x01\x02", at)) >= 0:
            changed[at + 10] = method
            at += 4
        files[f"compression {method}"] = bytes(changed)
    name = bytearray(content)
    name[directory + 9] |= 8  # names are said to be UTF-8
    name[directory + 46] = 0xFF
    return {**files, "name": bytes(name)}


def test_a_damaged_zip_is_read_as_it_is_or_refused_with_one_line(plain: Path, tmp_path: Path) -> None:
    content, broken = plain.read_bytes(), tmp_path / "broken.zip"
    refused = 0
    for what, damage in damaged(content).items():
        broken.write_bytes(damage)
        try:
            load_policy(broken)
        except InputError as error:
            refused += 1
            assert "broken.zip" in str(error) and "\n" not in str(error), what
    assert refused > 100


def test_damaged_weights_under_a_sound_checksum_are_read_or_refused_with_one_line(plain: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(plain) as archive:
        original = archive.read("policy.pth")
    generator, refused = np.random.default_rng(1), 0
    for trial in range(60):
        flipped = np.frombuffer(original, np.uint8).copy()
        where = generator.integers(1500, size=generator.integers(1, 4))  # their names and shapes, as a pickle
        flipped[where] = generator.integers(256, size=len(where))

        def plant(members: dict[str, bytes], content: bytes = flipped.tobytes()) -> None:
            members["policy.pth"] = content

        broken = rewritten(plain, tmp_path / f"{trial}.zip", plant)
        try:
            load_policy(broken)
        except InputError as error:
            refused += 1
            assert f"{trial}.zip" in str(error) and "\n" not in str(error)
    assert refused > 10


def test_command_line_says_what_was_assumed_and_asks_for_the_environment(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(plain)]) == 2
    assert "plain.zip does not say what it plays, expected an environment's id" in capsys.readouterr().err
    assert main(["evaluate", str(plain), "--env", "CartPole-v1"]) == 2
    assert "observation_space" in capsys.readouterr().err


def test_collected_and_evaluated_from_the_command_line(
    third_party_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = str(third_party_data / "policies" / "sb3-ppo-CartPole-v1.zip")
    out = str(tmp_path / "demos.npz")
    assert main(["demos", "collect", file, "--env", "CartPole-v1", "--episodes", "2", "-o", out]) == 0
    assert "tanh (the default of PPO or A2C; the zip names none, --activation overrides)" in capsys.readouterr().out
    assert main(["evaluate", file, "--env", "CartPole-v1", "--episodes", "2", "--activation", "relu", "--json"]) == 0
    text = capsys.readouterr().out
    assert "relu (from --activation)" in text
    assert json.loads(text.splitlines()[-1])["env_id"] == "CartPole-v1"
