"""A user's own batch of tensors is watched in training: what it raises or returns wrongly is named with its moment."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.core.errors import EnvironmentFault
from gail.envs import NativeVecEnv, Step, VecEnv, make_vec, open_vec
from gail.envs.watched import watched

ACTIONS = torch.tensor([[0.25], [0.5], [0.75]])


class Own(VecEnv):
    """Observes the step number; episodes take 4 steps; in step 6 (step 2 of episode 1) row 1 goes wrong."""

    def __init__(self, fault="", num_envs=3):
        self.env_id, self.env_kwargs, self.num_envs = "Own", {}, num_envs
        self.observation_space = gym.spaces.Dict({"xy": gym.spaces.Box(-100, 100, (2,), np.float32)})
        self.action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
        self.max_episode_steps, self.device, self.fault, self.time = None, torch.device("cpu"), fault, 0
        self.extra = "seen through"

    def obs(self):
        return {"xy": torch.full((self.num_envs, 2), float(self.time))}

    def reset(self, seed=None):
        if self.fault == "reset raises":
            raise ValueError("out of stock")
        self.time, obs = 0, self.obs()
        if self.fault == "reset nan":
            obs["xy"][1, 0] = torch.nan
        return obs["xy"] if self.fault == "reset tensor" else obs

    def step(self, actions):
        self.time += 1
        obs = self.obs()
        columns = {
            "next_obs": obs,
            "reward": torch.ones(self.num_envs),
            "terminated": torch.full((self.num_envs,), self.time % 4 == 0),
            "truncated": torch.zeros(self.num_envs, dtype=torch.bool),
            "valid": torch.ones(self.num_envs, dtype=torch.bool),
        }
        if self.time == 6:
            if self.fault == "raises":
                raise ValueError("out of fuel")
            if self.fault == "leaves":
                raise SystemExit("good bye")
            if self.fault == "nothing":
                return None
            if self.fault == "nan":
                obs["xy"][1, 1] = torch.nan
            if self.fault == "first nan":
                columns["next_obs"] = self.obs()
                obs["xy"][1, 1] = torch.nan
            if self.fault == "reward":
                columns["reward"][1] = -torch.inf
            wrong = {
                "shape": {"next_obs": {"xy": obs["xy"][:, :1]}},
                "dtype": {"next_obs": {"xy": obs["xy"].double()}},
                "keys": {"next_obs": {"position": obs["xy"]}},
                "tuple": {"next_obs": (obs["xy"],)},
                "column": {"reward": columns["reward"][:, None]},
                "list": {"reward": [1.0] * self.num_envs},
                "flag": {"terminated": columns["terminated"].float()},
                "device": {"valid": columns["valid"].to("meta")},
            }
            columns |= wrong.get(self.fault, {})
        return Step(obs, **columns)

    def state_dict(self):
        return {"time": self.time}

    def load_state_dict(self, state):
        self.time = state["time"]
        return self.obs()


ONE = r"environment 1 \(seed 8\): {}, in step 2 of episode 1 since that seed, action \[0.5\]$"
ALL = (
    r"environments 0 to 2 \(seeds 7 to 9\): {}, in step 6 since the last reset, "
    r"actions \[\[0.25\] \[0.5 ?\] \[0.75\]\]$"
)
FAULTS = [
    ("raises", ALL, r"raised ValueError: out of fuel, in step at .*test_watched_batches\.py:\d+"),
    ("leaves", ALL, r"raised SystemExit: good bye, in step at .*test_watched_batches\.py:\d+"),
    ("nothing", ALL, r"returned NoneType from step, expected a gail\.envs\.Step"),
    (
        "shape",
        ALL,
        r"returned next_obs xy of torch\.float32 \[3, 1\] on cpu, expected torch\.float32 \[3, 2\] on cpu",
    ),
    (
        "dtype",
        ALL,
        r"returned next_obs xy of torch\.float64 \[3, 2\] on cpu, expected torch\.float32 \[3, 2\] on cpu",
    ),
    ("keys", ALL, "returned next_obs of a dict with position, expected a dict with xy"),
    ("tuple", ALL, "returned next_obs of tuple, expected a dict with xy"),
    ("column", ALL, r"returned reward of torch\.float32 \[3, 1\] on cpu, expected torch\.float32 \[3\] on cpu"),
    ("list", ALL, r"returned reward of list, expected torch\.float32 \[3\] on cpu"),
    ("flag", ALL, r"returned terminated of torch\.float32 \[3\] on cpu, expected torch\.bool \[3\] on cpu"),
    ("device", ALL, r"returned valid of torch\.bool \[3\] on meta, expected torch\.bool \[3\] on cpu"),
    ("nan", ONE, r"returned nan in an observation xy at \[1\]"),
    ("first nan", ONE, r"returned nan in an observation to go on from xy at \[1\]"),
    ("reward", ONE, "returned -inf in the reward"),
]


def play(env, steps):
    for _ in range(steps):
        step = env.step(ACTIONS)
    return step


@pytest.mark.parametrize(("fault", "frame", "problem"), FAULTS)
def test_a_step_that_breaks_is_named(fault, frame, problem):
    with open_vec(Own(fault), 3) as env:
        env.reset(7)
        play(env, 5)
        with pytest.raises(EnvironmentFault, match="^Own: " + frame.format(problem)):
            env.step(ACTIONS)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("reset raises", r"environments 0 to 2 \(seeds 7 to 9\): raised ValueError: out of stock, in reset at .*\d$"),
        (
            "reset tensor",
            r"environments 0 to 2 .*: returned an observation from reset of a tensor, expected a dict with xy$",
        ),
        ("reset nan", r"environment 1 \(seed 8\): returned nan in an observation from reset xy at \[0\]$"),
    ],
)
def test_a_reset_that_breaks_is_named(fault, problem):
    with open_vec(Own(fault), 3) as env, pytest.raises(EnvironmentFault, match=problem):
        env.reset(7)


@pytest.mark.parametrize("fault", ["nan", "reward"])
def test_on_a_device_nan_is_told_late_with_its_step(fault):
    env = watched(Own(fault))
    env._on_host = False  # as on a device, from which no step reads back
    env.reset(7)
    play(env, 9)
    with pytest.raises(EnvironmentFault, match=ONE.format("returned NaN or infinity in an observation or the reward")):
        env.state_dict()


def test_a_resumed_batch_names_the_same_moment():
    env = watched(Own("nan"))
    env.reset(7)
    play(env, 5)
    other = watched(Own("nan"))
    assert other.load_state_dict(env.state_dict())["xy"].tolist() == [[5, 5]] * 3
    with pytest.raises(EnvironmentFault, match=ONE.format(r"returned nan in an observation xy at \[1\]")):
        other.step(ACTIONS)


def test_a_sound_batch_is_passed_through():
    own = Own()
    with open_vec(own, 3) as env:
        assert (env.extra, env.num_envs, env.observation_space) == ("seen through", 3, own.observation_space)
        with pytest.raises(AttributeError, match="missing"):
            env.missing  # noqa: B018
        env.reset(7)
        assert play(env, 9).reward.tolist() == [1, 1, 1]


class Pushed(NativeVecEnv):
    """A user's subclass: its physics raise in step 3."""

    gym_id, reset_draws, state_names = "MountainCarContinuous-v0", 2, ("a", "b")

    def _initial_state(self, uniform):
        return uniform

    def _advance(self, state, actions):
        if self._clock == 3:
            raise ValueError("out of road")
        return state, torch.ones(len(state)), torch.zeros(len(state), dtype=torch.bool)

    def _observe(self, state):
        return state.clone()


def test_users_physics_are_watched_and_this_packages_are_not():
    with open_vec(Pushed, 3) as env:
        env.reset(7)
        play(env, 2)
        problem = r"environments 0 to 2 \(seeds 7 to 9\): raised ValueError: out of road, in _advance at .*, in step 3 "
        with pytest.raises(EnvironmentFault, match=problem):
            env.step(ACTIONS)
    own = make_vec("CartPole-v1", 2)
    assert watched(own) is own
