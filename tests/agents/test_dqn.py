"""DQN: targets by hand, the target network, ends of episodes, files, resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.dqn import DQN, DQNBatch, DQNConfig, QLearner
from gail.agents.expert import expert_recipe
from gail.agents.policy import load_policy, save_policy
from gail.agents.q_policy import QPolicy
from gail.core.engine import train
from gail.core.errors import InputError
from gail.core.pixels import PixelConfig
from gail.core.random import seeded_initialization
from gail.envs.cartpole import CartPole
from gail.envs.gym_sync import GymSyncVecEnv
from gail.envs.spaces import MaskedBox
from gail.envs.vec import VecEnv

ONE = gym.spaces.Box(-10.0, 10.0, (1,))


def linear(weights: list[float]) -> QPolicy:
    """``Q(s, a) = weights[a] * s``."""
    policy = QPolicy(ONE, gym.spaces.Discrete(len(weights)), hidden=(), dueling=False)
    layer = policy.advantage[0]
    assert isinstance(layer, torch.nn.Linear)
    layer.weight.data[:, 0] = torch.tensor(weights)
    layer.bias.data.zero_()
    return policy


@pytest.mark.parametrize(("double", "best"), [(True, 10.0), (False, 40.0)])
def test_the_target_by_hand(double: bool, best: float) -> None:
    # In the successor (2), the online network prefers action 0 and the target network action 1.
    learner = QLearner(linear([3.0, 1.0]), DQNConfig(double=double))
    learner.target.load_state_dict(linear([5.0, 20.0]).state_dict())
    batch = DQNBatch(
        features=torch.tensor([[1.0], [1.0]]),
        samples=torch.tensor([[1], [0]]),
        returns=torch.tensor([7.0, 3.5]),
        next_features=torch.tensor([[2.0], [2.0]]),
        discount=torch.tensor([0.9, 0.0]),
        weight=torch.tensor([1.0, 0.5]),
    )
    loss, metrics = learner.loss(batch)
    errors = [7.0 + 0.9 * best - 1.0, 3.5 - 3.0]
    assert learner.errors is not None and learner.errors.tolist() == pytest.approx(errors)
    # Huber: |x| - 1/2 beyond 1, x^2 / 2 within; weighted, then the mean.
    assert float(loss.detach()) == pytest.approx((errors[0] - 0.5 + 0.5 * 0.5 * errors[1] ** 2) / 2)
    assert float(metrics["q_value"]) == pytest.approx(2.0)
    assert float(metrics["td_error"]) == pytest.approx(sum(errors) / 2)


def test_duelling_values_are_those_of_the_state_plus_centred_advantages() -> None:
    with seeded_initialization(0, "q"):
        policy = QPolicy(ONE, gym.spaces.Discrete(3), hidden=(8,))
    features = torch.randn(5, 1)
    values = policy.q_values(features)
    assert policy.value is not None
    assert torch.allclose(values.mean(dim=1), policy.value(policy.trunk(features)).squeeze(1), atol=1e-6)


@pytest.mark.parametrize(("rate", "every", "expected"), [(1.0, 3, [0, 0, 4, 4, 4, 4]), (0.5, 2, [0, 2, 2, 3, 3, 3.5])])
def test_the_target_network_follows_at_its_rate(rate: float, every: int, expected: list[float]) -> None:
    learner = QLearner(linear([0.0, 0.0]), DQNConfig(target_rate=rate, target_every=every))
    learner.policy.load_state_dict(linear([4.0, 4.0]).state_dict())
    found = []
    for _ in range(6):
        learner.follow()
        found.append(float(learner.target.q_values(torch.ones(1, 1))[0, 0]))
    assert found == pytest.approx(expected)


def test_epsilon_decides_how_often_actions_are_uniform() -> None:
    policy = linear([1.0, 2.0, 3.0])
    obs = torch.ones(30_000, 1)
    policy.epsilon = 0.3
    share = [float((policy.act(obs).action == a).float().mean()) for a in range(3)]
    assert share == pytest.approx([0.1, 0.1, 0.8], abs=0.01)
    assert bool((policy.act(obs, deterministic=True).action == 2).all())


class OneRoad(gym.Env):
    """One state, reward 1; ends by termination or by truncation at every third step."""

    observation_space, action_space = ONE, gym.spaces.Discrete(2)

    def __init__(self, terminates: bool) -> None:
        self.terminates, self.time = terminates, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.time = 0
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.time += 1
        ends = self.time == 3
        return np.ones(1, np.float32), 1.0, ends and self.terminates, ends and not self.terminates, {}


def game(env: VecEnv, steps: int, **options: Any) -> DQN:
    settings = {"hidden": (16,), "batch_size": 16, "learning_starts": 100, "target_rate": 0.1, "target_every": 1}
    config = DQNConfig(**{**settings, **options})
    with seeded_initialization(0, "policy"):
        policy = QPolicy(env.observation_space, env.action_space, **config.network)
    generators = {name: torch.Generator().manual_seed(0) for name in ("actions", "replay")}
    return DQN(env, config, policy=policy, total_steps=steps, seed=0, generators=generators)


@pytest.mark.parametrize("n_step", [1, 2])
@pytest.mark.parametrize("terminates", [True, False])
def test_values_go_on_past_a_truncation_and_stop_at_a_termination(terminates: bool, n_step: int) -> None:
    spec = gym.envs.registration.EnvSpec("OneRoad-v0", entry_point=OneRoad, kwargs={"terminates": terminates})
    env = GymSyncVecEnv(spec, 2, "cpu")
    # Uniform draws and a falling learning rate: the mean over the drawn successors decides, and noise dies out.
    exact = {"priority_exponent": 0.0, "learning_rate": 2e-2, "anneal": True, "batch_size": 64, "steps_per_update": 2}
    learner = game(env, 1_000, gamma=0.5, n_step=n_step, **exact)
    train(learner, total_steps=1_000, title="", progress=False)
    found = float(learner.policy.q_values(torch.ones(1, 1)).detach().mean())
    value = 2.0  # 1 + 0.5 + 0.25 + ...
    if terminates:
        # The three times of an episode look alike, so one value serves all: V = 1 + 0.5 * (2/3) V with one step,
        # V = 1 + 0.5 * (2/3) + 0.25 * (1/3) V with two.
        value = 1.0 / (1.0 - 0.5 * 2 / 3) if n_step == 1 else (1.0 + 0.5 * 2 / 3) / (1.0 - 0.25 / 3)
    assert found == pytest.approx(value, abs=0.08)


def test_a_resumed_run_equals_one_that_never_stopped_replay_included(tmp_path: Path) -> None:
    def run(folder: str, *stops: int) -> dict[str, torch.Tensor]:
        for stop in stops:
            learner = game(CartPole(4, "cpu"), 2_000, buffer_size=1_500, steps_per_update=8, priority_exponent=0.6)
            train(learner, total_steps=stop, title="", directory=tmp_path / folder, resume=True, progress=False)
        assert learner.exact_resume
        return {
            **learner.policy.state_dict(),
            **{f"target.{k}": v for k, v in learner.learner.target.state_dict().items()},
        }

    whole, parts = run("whole", 4_000), run("parts", 2_000, 4_000)
    assert whole.keys() == parts.keys() and all(torch.equal(whole[name], parts[name]) for name in whole)


def test_without_its_replay_a_run_collects_anew_before_it_learns(tmp_path: Path) -> None:
    for stop in (1_000, 2_000):
        learner = game(CartPole(4, "cpu"), 2_000, learning_starts=500, save_replay=False)
        train(learner, total_steps=stop, title="", directory=tmp_path, resume=True, progress=False)
        assert learner.exact_resume == (stop == 1_000)
    assert learner.learner.updates == 2 * ((1_000 - 496) // 4)


@pytest.mark.parametrize("space", [ONE, gym.spaces.Box(0, 255, (2, 40, 40), np.uint8)])
def test_a_file_gives_the_same_policy_back(space: gym.spaces.Box, tmp_path: Path) -> None:
    policy = QPolicy(space, gym.spaces.Discrete(3, start=2), hidden=(8,), precision="fp32", epsilon=0.2)
    save_policy(policy, tmp_path / "policy.safetensors", env_id="X-v0", env_kwargs={})
    loaded = load_policy(tmp_path).policy
    assert isinstance(loaded, QPolicy) and loaded.config() == policy.config()
    obs = torch.from_numpy(np.stack([space.sample() for _ in range(6)]))
    actions = policy.act(obs, deterministic=True).action
    assert torch.equal(loaded.act(obs, deterministic=True).action, actions) and int(actions.min()) >= 2


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(InputError, match="not supported by dqn; supported is Discrete"):
        QPolicy(ONE, gym.spaces.Box(-1.0, 1.0, (2,)))


def test_observations_that_it_cannot_learn_from_are_refused() -> None:
    masked = MaskedBox(np.zeros(5, np.float32), np.ones(5, np.float32), 2, np.float32)
    for space in (gym.spaces.Dict({"a": ONE}), masked):
        with pytest.raises(InputError, match="not supported by dqn"):
            QPolicy(space, gym.spaces.Discrete(2))


def test_values_without_sense_are_refused() -> None:
    for bad in ({"target_rate": 0.0}, {"gamma": 1.1}, {"n_step": 0}, {"epsilon_start": 2.0}):
        with pytest.raises(InputError, match=rf"dqn\.{next(iter(bad))}"):
            DQNConfig(**bad)  # type: ignore[arg-type]
    assert DQNConfig(pixels=PixelConfig("impala")).network["trunk"] == "impala"


class CountedFrames(gym.Env):
    """Stacks of two frames, each filled with its number; never ends."""

    observation_space = gym.spaces.Box(0, 255, (2, 36, 36), np.uint8)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.now = np.zeros((2, 36, 36), np.uint8)
        self.now[1] = 1
        return self.now, {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.now = np.stack([self.now[1], self.now[1] + 1])
        return self.now, 0.0, False, False, {}


def test_without_its_replay_a_run_goes_on_within_episodes_of_stacked_frames(tmp_path: Path) -> None:
    spec = gym.envs.registration.EnvSpec("CountedFrames-v0", entry_point=CountedFrames)
    for stop in (40, 80):
        learner = game(GymSyncVecEnv(spec, 2, "cpu"), stop, learning_starts=1_000, save_replay=False)
        learner.collector.horizon = 20
        train(learner, total_steps=stop, title="", directory=tmp_path, resume=True, progress=False)
    batch = learner.replay.draw(64, beta=1.0, generator=torch.Generator().manual_seed(0))
    seen = batch.obs[:, :, 0, 0].tolist()
    assert min(seen) == [20, 21] and all(newest == oldest + 1 for oldest, newest in seen)


def test_checkpoints_by_the_recipe_of_atari_games_hold_no_million_frames() -> None:
    config = expert_recipe("ALE/Pong-v5", "dqn").dqn
    assert config.buffer_size == 1_000_000 and not config.save_replay
