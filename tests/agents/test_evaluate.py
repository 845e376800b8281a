"""Evaluation, collection and policy files."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.collect import collect_demos
from gail.agents.evaluate import evaluate_policy, random_return
from gail.agents.policy import MLPPolicy, PolicyOutput, RandomPolicy, load_policy, save_policy
from gail.agents.scoring import evaluate
from gail.core.errors import InputError
from gail.core.random import seeded_initialization
from gail.envs import make_vec
from gail.envs.vec import Step, VecEnv


class Leaning:
    """CartPole by hand: push towards where the pole leans and falls."""

    observation_space = make_vec("CartPole-v1", 1).observation_space
    action_space = gym.spaces.Discrete(2)

    def initial_state(self, n: int) -> None:
        return None

    def act(self, obs: torch.Tensor, state: None = None, **options: object) -> PolicyOutput:
        action = (obs[:, 2] + 0.5 * obs[:, 3] > 0).long()
        return PolicyOutput(action, action[:, None])


def mlp_policy(env_id: str) -> MLPPolicy:
    env = make_vec(env_id, 1)
    with seeded_initialization(0, "policy"):
        return MLPPolicy(env.observation_space, env.action_space, hidden=(8,))


def test_each_environment_plays_its_share_so_short_episodes_are_not_preferred() -> None:
    env = make_vec("CartPole-v1", 7)
    result = evaluate_policy(RandomPolicy(env.observation_space, env.action_space), env, episodes=17)
    assert result.returns.shape == (17,)
    assert np.array_equal(result.returns, result.lengths)
    # CartPole under random play lasts about 22 steps (200,000 episodes measured elsewhere).
    assert random_return("CartPole-v1", {}).interval.mean == pytest.approx(22, abs=4)


class LosesItsFirst(VecEnv):
    """Pays 1 a step and ends after 3; the first episode is lost in its second step."""

    env_id, env_kwargs, num_envs, max_episode_steps = "Loses", {}, 1, 3
    observation_space, action_space = gym.spaces.Box(0.0, 1.0, (1,)), gym.spaces.Discrete(2)
    device = torch.device("cpu")

    def reset(self, seed: int | None = None) -> torch.Tensor:
        self.t, self.whole = 0, False
        return torch.zeros(1, 1)

    def step(self, actions: torch.Tensor) -> Step:
        self.t += 1
        lost = self.t == 2 and not self.whole
        ended = self.t == 3 or lost
        self.t, self.whole = (0 if ended else self.t), self.whole or lost
        obs, no = torch.zeros(1, 1), torch.tensor([False])
        return Step(obs, obs, torch.ones(1), no, torch.tensor([ended]), torch.tensor([not lost]))

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state: dict[str, object]) -> torch.Tensor:
        return self.reset()


def test_lost_episode_is_no_evaluation_episode() -> None:
    env = LosesItsFirst()
    result = evaluate_policy(RandomPolicy(env.observation_space, env.action_space), env, episodes=2)
    assert result.returns.tolist() == [3.0, 3.0] and result.lengths.tolist() == [3, 3]


def test_recorded_actions_replay_to_the_recorded_states_and_returns() -> None:
    demos = collect_demos(Leaning(), "CartPole-v1", episodes=3, seed=50)
    for trajectory in demos:
        assert trajectory.seed is not None
        env = make_vec("CartPole-v1", 1)
        obs, total = env.reset(trajectory.seed), 0.0
        assert np.array_equal(obs[0].numpy(), trajectory.observations[0])
        for t, action in enumerate(trajectory.actions):
            step = env.step(torch.tensor([int(action)]))
            total += float(step.reward[0])
            assert np.array_equal(step.next_obs[0].numpy(), trajectory.observations[t + 1])
        assert bool(step.terminated[0]) == trajectory.terminated
        assert bool(step.truncated[0]) == trajectory.truncated
        assert total == trajectory.total_reward


def test_saved_policies_act_the_same_after_loading(tmp_path: Path) -> None:
    policy = mlp_policy("Pendulum-v1")
    policy.normalizer.update(torch.randn(100, 3) * 5)
    save_policy(policy, tmp_path / "policy.safetensors", env_id="Pendulum-v1", env_kwargs={"g": 9.0})
    loaded = load_policy(tmp_path)
    obs = torch.randn(10, 3)
    assert torch.equal(policy.act(obs, deterministic=True).action, loaded.policy.act(obs, deterministic=True).action)
    assert (loaded.env_id, loaded.env_kwargs) == ("Pendulum-v1", {"g": 9.0})


def test_evaluation_is_reproducible_and_sampling_differs_from_the_mode(tmp_path: Path) -> None:
    save_policy(mlp_policy("Pendulum-v1"), tmp_path / "p.safetensors", env_id="Pendulum-v1", env_kwargs={})
    first, again = (evaluate(tmp_path / "p.safetensors", episodes=3) for _ in range(2))
    assert first == again
    assert evaluate(tmp_path / "p.safetensors", episodes=3, deterministic=False)["return_mean"] != first["return_mean"]


def test_a_policy_for_another_environment_is_refused(tmp_path: Path) -> None:
    save_policy(mlp_policy("Pendulum-v1"), tmp_path / "p.safetensors", env_id="Pendulum-v1", env_kwargs={})
    with pytest.raises(InputError, match="CartPole-v1: the policy's observation_space"):
        evaluate(tmp_path / "p.safetensors", env_id="CartPole-v1", episodes=1)
    with pytest.raises(InputError, match="no such file"):
        evaluate(tmp_path / "missing.safetensors")


@pytest.mark.parametrize(
    "space", [gym.spaces.Discrete(3, start=2), gym.spaces.MultiDiscrete([2, 5]), gym.spaces.Box(-2, 7, (2,))]
)
def test_random_play_covers_the_action_space_evenly(space: gym.Space) -> None:
    policy = RandomPolicy(gym.spaces.Box(-1, 1, (1,)), space)
    action = policy.act(torch.zeros(20_000, 1), generator=torch.Generator().manual_seed(0)).action
    assert space.contains(action[0].numpy() if space.shape else int(action[0]))
    if isinstance(space, gym.spaces.Box):
        assert torch.allclose(action.mean(0), torch.tensor(2.5), atol=0.1)
        assert float(action.min()) < -1.9 and float(action.max()) > 6.9
    else:
        for column in action.reshape(20_000, -1).T:
            _, counts = column.unique(return_counts=True)
            assert float(counts.min() / counts.max()) > 0.9


def test_a_policy_file_with_an_environment_that_is_no_text_is_refused(tmp_path: Path) -> None:
    for env_id, env_kwargs, found in (([1], {}, "env_id"), ("Pendulum-v1", [1], "env_kwargs")):
        file = tmp_path / "p.safetensors"
        save_policy(mlp_policy("Pendulum-v1"), file, env_id=env_id, env_kwargs=env_kwargs)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=f"{found} is"):
            load_policy(file)
