"""SAC: the squashed policy's density, targets and losses by hand, ends of episodes, resume."""

from __future__ import annotations

import math
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gail.agents.expert import ExpertConfig, expert_recipe, train_expert
from gail.agents.policy import load_policy, save_policy
from gail.agents.sac import SAC, SACBatch, SACConfig, SACLearner
from gail.agents.squashed_policy import SquashedGaussianPolicy
from gail.core.engine import train
from gail.core.errors import InputError
from gail.core.random import seeded_initialization
from gail.envs import make_vec

ONE = gym.spaces.Box(-10.0, 10.0, (1,))
PUSH = gym.spaces.Box(-2.0, 4.0, (1,))


def constant_policy(mean: float, std: float) -> SquashedGaussianPolicy:
    """Every state's Gaussian is the same."""
    policy = SquashedGaussianPolicy(ONE, PUSH, hidden=())
    (layer,) = policy.output
    assert isinstance(layer, nn.Linear)
    layer.weight.data.zero_()
    layer.bias.data.copy_(torch.tensor([mean, math.log(std)]))
    return policy


def linear_critic(network: nn.Sequential, obs: float, action: float, bias: float) -> None:
    (layer,) = network
    assert isinstance(layer, nn.Linear)
    layer.weight.data.copy_(torch.tensor([[obs, action]]))
    layer.bias.data.fill_(bias)


def batch(**columns: list[float]) -> SACBatch:
    """Two transitions; what is not given is zero."""
    rows = {name: torch.tensor(columns.get(name, [0.0, 0.0])) for name in SACBatch.__annotations__}
    wide = {"features", "samples", "next_features", "noise", "next_noise"}
    return SACBatch(**{name: rows[name][:, None] if name in wide else rows[name] for name in rows})


def test_the_density_is_that_of_a_squashed_gaussian() -> None:
    policy = constant_policy(0.7, 1.5)
    noise = torch.linspace(-3.0, 3.0, 31)[:, None]
    samples, log_density = policy.draw(torch.zeros(31, 1), noise)
    theirs = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(torch.tensor(0.7), torch.tensor(1.5)), [torch.distributions.TanhTransform()]
    )
    inner = samples[:, 0].abs() < 0.999  # theirs inverts tanh, which fails where it saturates
    assert int(inner.sum()) > 20
    assert torch.allclose(log_density[inner], theirs.log_prob(samples[inner, 0]), atol=1e-3)


def test_the_density_stays_finite_where_tanh_saturates() -> None:
    _, log_density = constant_policy(60.0, 1.0).draw(torch.zeros(1, 1), torch.zeros(1, 1))
    # log N = -log(2 pi) / 2; -log(1 - tanh^2) tends to 2 x - 2 log 2
    assert float(log_density.detach()) == pytest.approx(
        -0.5 * math.log(2 * math.pi) + 120.0 - 2 * math.log(2.0), rel=1e-5
    )


def test_actions_lie_within_their_bounds_and_the_best_one_is_the_squashed_mean() -> None:
    policy = constant_policy(0.5, 1.0)
    best = policy.act(torch.zeros(1, 1), deterministic=True)
    assert float(best.action) == pytest.approx(1.0 + 3.0 * math.tanh(0.5), abs=1e-6)
    drawn = policy.act(torch.zeros(10_000, 1), generator=torch.Generator().manual_seed(0)).action
    assert float(drawn.min()) >= -2.0 and float(drawn.max()) <= 4.0
    policy.uniform = True
    uniform = policy.act(torch.zeros(10_000, 1), generator=torch.Generator().manual_seed(0)).action
    assert float(uniform.mean()) == pytest.approx(1.0, abs=0.1)
    assert float(uniform.std()) == pytest.approx(6.0 / math.sqrt(12.0), abs=0.05)


def learner() -> SACLearner:
    made = SACLearner(constant_policy(0.0, 1.0), SACConfig(hidden=(), initial_temperature=0.5))
    linear_critic(made.critic.first, 1.0, 0.0, 0.0)
    linear_critic(made.critic.second, 2.0, 0.0, 0.0)
    linear_critic(made.target.first, 3.0, 0.0, 1.0)
    linear_critic(made.target.second, 1.0, 10.0, 0.0)
    return made


def test_the_critics_target_by_hand() -> None:
    made = learner()
    data = batch(features=[1.0, 1.0], returns=[5.0, 7.0], next_features=[2.0, 2.0], discount=[0.9, 0.0])
    # Without noise the next action is tanh(0) = 0 with log-density -log(2 pi) / 2; the smaller target is 1 * 2.
    log_density = -0.5 * math.log(2 * math.pi)
    targets = [5.0 + 0.9 * (2.0 - 0.5 * log_density), 7.0]
    expected = sum(0.5 * ((1.0 - t) ** 2 + (2.0 - t) ** 2) for t in targets) / 2
    loss, _ = made.critic_loss(data)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)


def test_the_policys_loss_by_hand_and_whom_it_moves() -> None:
    made = learner()
    linear_critic(made.critic.first, 0.0, 4.0, 0.0)
    linear_critic(made.critic.second, 0.0, 3.0, 1.0)
    data = batch(noise=[1.0, -1.0])
    log_density = sum(-0.5 - 0.5 * math.log(2 * math.pi) - math.log(1 - math.tanh(x) ** 2) for x in (1.0, -1.0)) / 2
    value = (min(4 * math.tanh(1.0), 3 * math.tanh(1.0) + 1) + min(4 * math.tanh(-1.0), 3 * math.tanh(-1.0) + 1)) / 2
    loss, metrics = made.policy_loss(data)
    assert float(loss.detach()) == pytest.approx(0.5 * log_density - value, rel=1e-5)
    assert float(metrics["entropy"]) == pytest.approx(-log_density, rel=1e-5)
    before = made.players["critic"].weights.detach().clone()
    made.players["policy"].step(data, 2.0)
    assert torch.equal(made.players["critic"].weights, before)
    mean, _ = made.policy.distribution(torch.zeros(1, 1))
    assert float(mean.detach()) > 0.0, "both critics want a larger action"


@pytest.mark.parametrize(("entropy", "rises"), [(-3.0, True), (1.0, False)])
def test_the_temperature_rises_where_the_entropy_is_below_its_target(entropy: float, rises: bool) -> None:
    made = learner()
    made.players["temperature"].step(torch.full((4,), -entropy), 4.0)
    assert (float(made.temperature.log.detach().exp()) > 0.5) == rises


def test_target_critics_follow_at_their_rate() -> None:
    made = learner()
    made.follow()
    (layer,) = made.target.first
    assert isinstance(layer, nn.Linear)
    assert layer.weight.tolist()[0] == pytest.approx([3.0 + 0.005 * (1.0 - 3.0), 0.0])


def game(steps_per_update: float = 1.0) -> SAC:
    env = make_vec("Pendulum-v1", 4)
    config = SACConfig(
        hidden=(8,), batch_size=8, learning_starts=40, buffer_size=2_000, steps_per_update=steps_per_update
    )
    with seeded_initialization(0, "policy"):
        policy = SquashedGaussianPolicy(env.observation_space, env.action_space, **config.network)
        generators = {name: torch.Generator().manual_seed(0) for name in ("actions", "noise", "replay")}
        return SAC(env, config, policy=policy, total_steps=2_000, seed=0, generators=generators)


@pytest.mark.parametrize(("steps_per_update", "updates"), [(1.0, 964), (0.25, 3856), (10.0, 96)])
def test_gradient_steps_per_environment_step(steps_per_update: float, updates: int) -> None:
    learning = game(steps_per_update)
    counts = {"critic": 0, "policy": 0, "temperature": 0}
    for turn in learning.round():
        counts[turn.player] += 1
        if turn.player == "policy":
            # Only the policy's loss leaves something for the next turn.
            learning.players["policy"].loss(turn.batch)
    assert learning.steps == 1_000
    assert counts["critic"] == counts["policy"] == counts["temperature"]
    assert counts["critic"] == pytest.approx(updates, abs=2)


def test_sac_resumes_exactly_replay_included(tmp_path: Path) -> None:
    def play(folder: str, *stops: int) -> dict[str, Tensor]:
        for stop in stops:
            learning = game()
            train(learning, total_steps=stop, title="", directory=tmp_path / folder, resume=True, progress=False)
        return {
            **{name: player.weights.detach() for name, player in learning.players.items()},
            **{f"target {name}": value for name, value in learning.learner.target.state_dict().items()},
        }

    whole, cut = play("whole", 2_000), play("cut", 1_000, 2_000)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_a_policy_file_plays_the_same_actions(tmp_path: Path) -> None:
    policy = SquashedGaussianPolicy(ONE, PUSH, hidden=(8,))
    save_policy(policy, tmp_path / "policy.safetensors", env_id="X-v0", env_kwargs={})
    again = load_policy(tmp_path / "policy.safetensors").policy
    obs = torch.randn(5, 1)
    assert torch.equal(policy.act(obs, deterministic=True).action, again.act(obs, deterministic=True).action)


@pytest.mark.parametrize("space", [gym.spaces.Discrete(2), gym.spaces.Box(-np.inf, np.inf, (2,))])
def test_other_actions_are_refused(space: gym.Space) -> None:
    with pytest.raises(InputError, match="not supported by sac; supported is a bounded Box"):
        SquashedGaussianPolicy(ONE, space)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"sac\.target_rate: 1\.5, expected at most 1"):
        SACConfig(target_rate=1.5)
    with pytest.raises(InputError, match=r"sac\.steps_per_update: 0\.0, expected more than 0"):
        SACConfig(steps_per_update=0.0)


def test_sac_is_an_expert_trainer_like_the_others(tmp_path: Path) -> None:
    config = ExpertConfig(
        "sac",
        steps=200,
        num_envs=4,
        evaluation_episodes=2,
        sac=SACConfig(hidden=(8,), batch_size=8, learning_starts=50),
    )
    result = train_expert("Pendulum-v1", config=config, out=tmp_path / "run", progress=False)
    assert result.summary["algo"] == "sac"
    again = load_policy(tmp_path / "run").policy
    obs = torch.randn(5, 3)
    ours = result.policy.act(obs, deterministic=True).action
    assert torch.equal(again.act(obs, deterministic=True).action, ours)


@pytest.mark.slow
def test_sac_swings_pendulum_up_within_15_000_steps() -> None:
    """Random play is about -1,200, a good policy about -150."""
    config = expert_recipe("Pendulum-v1", "sac")
    returns = [
        train_expert(
            "Pendulum-v1",
            config=ExpertConfig("sac", steps=15_000, num_envs=1, sac=config.sac, evaluation_episodes=20),
            seed=seed,
            progress=False,
        ).summary["return_mean"]
        for seed in range(3)
    ]
    assert min(returns) > -250.0, returns
