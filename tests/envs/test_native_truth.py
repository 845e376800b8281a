"""Torch-native environments against Gymnasium's own classes, from equal states and actions."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.envs.acrobot import Acrobot
from gail.envs.cartpole import CartPole
from gail.envs.mountain_car import MountainCar, MountainCarContinuous
from gail.envs.pendulum import Pendulum

PI = np.pi
# The reach of random states, wider than what the physics leaves: [low, high] of each column.
STATES = {
    CartPole: ([-2.5, -4, -0.22, -4], [2.5, 4, 0.22, 4]),
    Pendulum: ([-20, -8], [20, 8]),
    MountainCar: ([-1.2, -0.07], [0.6, 0.07]),
    MountainCarContinuous: ([-1.2, -0.07], [0.6, 0.07]),
    Acrobot: ([-PI, -PI, -4 * PI, -9 * PI], [PI, PI, 4 * PI, 9 * PI]),
}
KWARGS = [
    (CartPole, {}),
    (CartPole, {"sutton_barto_reward": True}),
    (Pendulum, {}),
    (Pendulum, {"g": 3.7}),
    (MountainCar, {"goal_velocity": 0.02}),
    (MountainCar, {}),
    (MountainCarContinuous, {}),
    (Acrobot, {}),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("native,kwargs", KWARGS, ids=lambda v: getattr(v, "__name__", str(v)))
def test_ten_thousand_random_transitions_equal_gymnasium(native, kwargs, dtype):
    count = 10_000
    tolerance = 1e-6 if dtype is torch.float32 else 1e-7
    env = native(count, dtype=dtype, max_episode_steps=None, **kwargs)
    env.reset(0)
    rng = np.random.default_rng(3)
    low, high = STATES[native]
    states = torch.from_numpy(rng.uniform(low, high, (count, len(low)))).to(dtype)
    obs = env.set_state(states)
    if isinstance(env.action_space, gym.spaces.Discrete):
        actions = rng.integers(0, env.action_space.n, count)
    else:  # beyond the bounds too, because clipping is part of the class
        actions = rng.uniform(-2.5, 2.5, (count, 1)).astype(np.float32)
    advanced, _, _ = env._advance(env.get_state(), torch.from_numpy(actions))
    step = env.step(torch.from_numpy(actions))

    truth = gym.make(native.gym_id, disable_env_checker=True, **kwargs).unwrapped
    truth.reset(seed=0)
    truth_obs, truth_next, truth_reward, truth_end, truth_state = [], [], [], [], []
    for state, action in zip(states.to(torch.float64).numpy(), actions, strict=True):
        truth.state = state.copy()
        truth.steps_beyond_terminated = None
        if native is CartPole or native in (MountainCar, MountainCarContinuous):
            truth_obs.append(state)
        else:
            truth_obs.append(truth._get_obs() if native is Pendulum else truth._get_ob())
        o, r, ended, _, _ = truth.step(action)
        truth_next.append(o)
        truth_reward.append(r)
        truth_end.append(ended)
        truth_state.append(np.array(truth.state, dtype=np.float64))

    def close(ours, theirs, slack=0.0):
        theirs = np.asarray(theirs, dtype=np.float64)
        error = np.abs(ours.double().numpy() - theirs) / np.maximum(1, np.abs(theirs))
        assert error.max() <= tolerance + slack

    # Observations are float32 on both sides: two numbers that round apart differ by one float32 step.
    ulp = 1.2e-7
    close(obs, truth_obs, ulp)
    close(step.next_obs, truth_next, ulp)
    close(step.reward, truth_reward)
    if dtype is torch.float64:
        theirs = np.array(truth_state)
        if native is Pendulum:  # the angle is kept in one turn here
            ours = advanced.numpy()
            turns = (ours[:, 0] - theirs[:, 0]) / (2 * PI)
            assert np.abs(turns - np.round(turns)).max() < 1e-7
            close(advanced[:, 1], theirs[:, 1])
        else:
            close(advanced, theirs)
    assert step.terminated.tolist() == truth_end
    assert native is Pendulum or (any(truth_end) and not all(truth_end))


@pytest.mark.parametrize("native", list(STATES), ids=lambda c: c.__name__)
def test_spaces_and_time_limit_are_those_of_the_registered_id(native):
    truth = gym.make(native.gym_id)
    env = native(2)
    assert env.observation_space == truth.observation_space
    assert env.action_space == truth.action_space
    assert env.max_episode_steps == truth.spec.max_episode_steps
    assert native(2, max_episode_steps=-1).max_episode_steps is None


def test_acrobot_follows_gymnasiums_class_attribute(monkeypatch):
    monkeypatch.setattr(gym.envs.classic_control.AcrobotEnv, "book_or_nips", "nips")
    test_ten_thousand_random_transitions_equal_gymnasium(Acrobot, {}, torch.float64)


def test_first_states_fill_the_range_of_gymnasiums_reset():
    for native in STATES:
        env = native(4000, dtype=torch.float64)
        env.reset(1)
        ours = env.get_state()
        truth = gym.make(native.gym_id).unwrapped
        theirs = []
        for seed in range(400):
            truth.reset(seed=seed)
            theirs.append(np.array(truth.state, dtype=np.float64))
        theirs = np.array(theirs)
        spread = theirs.max(0) - theirs.min(0)
        assert np.all(ours.amin(0).numpy() >= theirs.min(0) - 0.03 * spread - 1e-9)
        assert np.all(ours.amax(0).numpy() <= theirs.max(0) + 0.03 * spread + 1e-9)
        assert np.allclose(ours.mean(0).numpy(), theirs.mean(0), atol=float(spread.max()) * 0.06)
