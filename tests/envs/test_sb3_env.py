"""Our batches as a VecEnv of Stable-Baselines3."""

from __future__ import annotations

import counting_envs
import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize

from gail.core.errors import InputError
from gail.envs import make_vec
from gail.envs.gym_vector import WrappedVectorEnv
from gail.envs.sb3 import SB3VecEnv


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "NoisyWalk-v0"])
def test_steps_ends_and_infos_equal_those_of_their_own_vecenv(env_id: str) -> None:
    """Theirs is DummyVecEnv with a Monitor around each environment; both are seeded with 5 and 6."""
    limit = {"CartPole-v1": 12, "Pendulum-v1": 15, "NoisyWalk-v0": 40}[env_id]
    ours = SB3VecEnv(make_vec(env_id, 2, backend="sync", max_episode_steps=limit))
    theirs = VecMonitor(DummyVecEnv([lambda: gym.make(env_id, max_episode_steps=limit) for _ in range(2)]))
    assert ours.seed(5) == theirs.seed(5)
    assert np.array_equal(ours.reset(), theirs.reset())
    ours.action_space.seed(0)
    ends = {False: 0, True: 0}
    for _ in range(100):
        actions = np.stack([np.asarray(ours.action_space.sample()) for _ in range(2)])
        obs, reward, dones, infos = ours.step(actions.copy())
        their_obs, their_reward, their_dones, their_infos = theirs.step(actions.copy())
        assert np.array_equal(obs, their_obs) and np.array_equal(dones, their_dones)
        assert np.array_equal(reward, their_reward)
        for row in np.flatnonzero(dones):
            mine, their = infos[row], their_infos[row]
            assert np.array_equal(mine["terminal_observation"], their["terminal_observation"])
            assert mine["TimeLimit.truncated"] == their["TimeLimit.truncated"]
            assert mine["episode"]["l"] == their["episode"]["l"]
            assert mine["episode"]["r"] == pytest.approx(their["episode"]["r"], rel=1e-5)
            ends[mine["TimeLimit.truncated"]] += 1
        assert all("terminal_observation" not in infos[row] for row in np.flatnonzero(~dones))
    assert ends[True] > 0 and (env_id == "Pendulum-v1" or ends[False] > 0)


def test_their_ppo_trains_on_a_native_environment_and_their_wrappers_and_evaluation_go_around_it() -> None:
    env = VecNormalize(VecMonitor(SB3VecEnv(make_vec("CartPole-v1", 4))))
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=64, n_epochs=4, seed=0, device="cpu", learning_rate=3e-3)
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(512)
    assert not any(torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))
    assert model.ep_info_buffer is not None and len(model.ep_info_buffer) > 5
    around = VecMonitor(SB3VecEnv(make_vec("CartPole-v1", 2)))
    returns, lengths = evaluate_policy(model, around, 4, return_episode_rewards=True)
    assert returns == lengths and len(returns) == 4


def test_seeds_hold_for_one_reset_and_frames_are_tiled() -> None:
    env = SB3VecEnv(make_vec("CartPole-v1", 2, backend="sync", render_mode="rgb_array"))
    env.seed(3)
    first = env.reset()
    assert not np.array_equal(first, env.reset())
    env.seed(3)
    assert np.array_equal(first, env.reset())
    assert env.render_mode == "rgb_array"
    image = env.render()
    assert image is not None and image.dtype == np.uint8 and image.shape[2] == 3
    env.close()


def test_rows_that_were_not_played_are_refused() -> None:
    env = SB3VecEnv(WrappedVectorEnv(counting_envs.CountingVectorEnv(2)))
    env.reset()
    with pytest.raises(InputError, match=r"environment 0 was not played in this step .* cannot leave a row out"):
        for _ in range(10):
            env.step(np.zeros(2, dtype=np.int64))


def test_options_and_attributes_of_single_environments_are_refused() -> None:
    env = SB3VecEnv(make_vec("CartPole-v1", 2))
    assert env.get_attr("env_id", indices=[1]) == ["CartPole-v1"]
    with pytest.raises(AttributeError):
        env.get_attr("gravity")
    with pytest.raises(NotImplementedError, match="CartPole-v1"):
        env.set_attr("gravity", 1.0)
    env.set_options({"low": 0})
    with pytest.raises(InputError, match="options"):
        env.reset()
    assert isinstance(env.env.reset(0), torch.Tensor)
