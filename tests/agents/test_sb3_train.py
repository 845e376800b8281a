"""Experts by Stable-Baselines3: its algorithms on our environments, our files and nothing pickled."""

from __future__ import annotations

import json
import re
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.expert import ExpertConfig, train_expert
from gail.agents.policy import load_policy
from gail.agents.sb3_train import SB3Training
from gail.agents.scoring import evaluate
from gail.cli.main import main
from gail.core.errors import EnvironmentFault, InputError
from gail.envs import make_vec
from gail.envs.worker_options import WorkerOptions

SHORT = {
    "PPO": ("CartPole-v1", 4, {"n_steps": 32, "n_epochs": 2, "policy_kwargs": {"activation_fn": "relu"}}),
    "A2C": ("Pendulum-v1", 4, {"use_sde": True}),
    "DQN": ("CartPole-v1", 1, {"learning_starts": 50, "buffer_size": 500}),
    "SAC": ("Pendulum-v1", 2, {"learning_starts": 50, "buffer_size": 500, "policy_kwargs": {"net_arch": [16]}}),
    "TD3": ("Pendulum-v1", 1, {"learning_starts": 100, "buffer_size": 500, "train_freq": [10, "step"]}),
    "DDPG": ("Pendulum-v1", 1, {"learning_starts": 100, "buffer_size": 500}),
}


@pytest.mark.parametrize("algorithm", SHORT)
def test_converted_policy_acts_as_the_model_predicts(algorithm: str) -> None:
    env_id, num_envs, kwargs = SHORT[algorithm]
    env = make_vec(env_id, num_envs)
    training = SB3Training(env, algorithm, kwargs, seed=0)
    training.train(total_steps=300, title="", progress=False)
    policy = training.policy
    env.observation_space.seed(0)
    obs = np.stack([env.observation_space.sample() for _ in range(300)]).clip(-8, 8)
    expected, _ = training.model.predict(obs, deterministic=True)
    actions = policy.act(torch.from_numpy(obs), deterministic=True).action.numpy()
    np.testing.assert_allclose(actions, expected, rtol=0, atol=2e-6)


def test_images_with_channels_last_are_converted_too() -> None:
    class Images(gym.Env):
        observation_space = gym.spaces.Box(0, 255, (36, 40, 3), np.uint8)
        action_space = gym.spaces.Discrete(3)

        def reset(self, *, seed=None, options=None):  # type: ignore[no-untyped-def]
            super().reset(seed=seed)
            return self._frame(), {}

        def step(self, action):  # type: ignore[no-untyped-def]
            return self._frame(), 1.0, False, False, {}

        def _frame(self) -> np.ndarray:
            return self.np_random.integers(0, 256, (36, 40, 3), dtype=np.uint8)

    env = make_vec(Images, 2, backend="sync")
    training = SB3Training(env, "PPO", {"n_steps": 8, "n_epochs": 1, "batch_size": 16}, seed=0)
    training.train(total_steps=16, title="", progress=False)
    obs = env.reset(3)
    expected, _ = training.model.predict(obs.numpy(), deterministic=True)
    assert np.array_equal(training.policy.act(obs, deterministic=True).action.numpy(), expected)


def test_run_directory_holds_a_policy_of_ours_and_no_pickle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    kwargs = '{"n_steps": 64, "n_epochs": 2}'
    flags = ["--steps", "2000", "--num-envs", "4", "--sb3-kwargs", kwargs, "--evaluation-episodes", "5"]
    assert main(["expert", "CartPole-v1", "--algo", "sb3:PPO", "--out", str(out), *flags]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["algo"], summary["steps"], summary["exact_resume"]) == ("sb3:PPO", 2048, False)
    names = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    names = [name for name in names if "tfevents" not in name]
    copies = ["checkpoints/best/policy.safetensors", "checkpoints/latest/policy.safetensors"]
    assert names == [*copies, "config.toml", "metrics.jsonl", "policy.safetensors", "summary.json"]
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 2048 and rows[-1]["return_mean"] == rows[-1]["length_mean"] > 10
    assert evaluate(out, episodes=5)["return_mean"] == summary["return_mean"]
    assert evaluate(out / copies[1], episodes=1)["return_mean"] > 0
    capsys.readouterr()
    assert main(["demos", "collect", str(out), "--episodes", "1", "-o", str(tmp_path / "d.npz")]) == 0


def test_same_seed_gives_the_same_expert(tmp_path: Path) -> None:
    config = ExpertConfig("sb3:A2C", steps=200, num_envs=2, evaluation_episodes=1)
    for name in ("a", "b"):
        train_expert("CartPole-v1", config=config, seed=4, out=tmp_path / name, progress=False)
    policies = [load_policy(tmp_path / name).policy.state_dict() for name in ("a", "b")]  # type: ignore[union-attr]
    assert all(torch.equal(policies[0][key], policies[1][key]) for key in policies[0])


@pytest.mark.parametrize(
    "flags, said",
    [
        (["--algo", "sb3:Foo"], "'sb3:Foo' is unknown; expected one of ppo, dqn, .*sb3:PPO"),
        (["--algo", "sb3:SAC"], "only supports .* Discrete"),
        (["--algo", "sb3:PPO", "--sb3-kwargs", '{"n_stepz": 3}'], "unexpected keyword argument 'n_stepz'"),
        (["--algo", "sb3:PPO", "--sb3-kwargs", "[3]"], r"--sb3-kwargs: '\[3\]', expected a JSON object"),
        (["--algo", "sb3:PPO", "--sb3-kwargs", '{"seed": 3}'], "'seed' is set by this toolkit's own flags"),
        (["--algo", "ppo", "--sb3-kwargs", '{"n_steps": 3}'], "expected --algo sb3:NAME"),
        (["--algo", "sb3:PPO", "--resume"], "cannot be resumed"),
        (["--algo", "sb3:PPO", "--restart-workers", "--backend", "async"], "cannot leave out the rows"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_written(
    flags: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["expert", "CartPole-v1", "--out", str(tmp_path / "run"), *flags]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert re.search(said, line), line
    assert not (tmp_path / "run").exists()


def test_environment_that_breaks_stops_it_with_the_policy_so_far(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "envs"))
    config = ExpertConfig(
        "sb3:PPO", steps=1000, num_envs=2, backend="async", sb3_kwargs='{"n_steps": 16, "batch_size": 32}'
    )
    kwargs = {"length": 20, "fault": "kill", "fault_at": 200}
    with pytest.raises(EnvironmentFault, match=r"died .*training stopped after step 39\d; .* the policy of step \d+"):
        train_expert(
            "counting_envs:Counting-v0",
            config=config,
            env_kwargs=kwargs,
            out=tmp_path / "run",
            workers=WorkerOptions(),
            progress=False,
        )
    assert load_policy(tmp_path / "run" / "checkpoints" / "latest" / "policy.safetensors").env_id


def test_unknown_algorithm_is_an_input_error_in_python_too() -> None:
    with pytest.raises(InputError, match="sb3:"):
        ExpertConfig("sb3:")
