"""An environment that returns what it must not is named with the step and the action; sound values pass."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.core.errors import EnvironmentFault
from gail.envs import make_vec


class Faulty(gym.Env):
    """Environment number 1 of a batch (by its seed) returns something wrong at step 3, or from its second reset."""

    observation_space = gym.spaces.Box(-10, 10, (3,), np.float32)
    action_space = gym.spaces.Discrete(5)

    def __init__(self, fault="", length=5):
        self.fault, self.length, self.episode, self.mine = fault, length, 0, False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.mine = self.mine or seed == 8
        self.time, self.episode = 0, self.episode + 1
        if self.fault == "reset half":
            return self.obs("")
        return self.obs("reset" if self.mine and self.episode == 2 else ""), {}

    def step(self, action):
        self.time += 1
        now = self.fault if self.mine and self.time == 3 else ""
        reward = {
            "reward nan": float("nan"),
            "reward none": None,
            "reward text": "one",
            "reward row": np.ones(2),
        }.get(now, 1.0)
        over = {"flag none": None, "flag row": np.ones(2, bool)}.get(now, self.time == self.length)
        if now == "raises":
            raise ValueError("out of rails")
        if now == "leaves":
            raise SystemExit("good bye")
        if now == "nothing":
            return None
        if now == "four values":
            return self.obs(now), reward, over, {}
        return self.obs(now), reward, over, False, {}

    def obs(self, now):
        if now == "reset" and self.fault == "reset raises":
            raise ValueError("out of stock")
        good = np.ones(3, np.float32)
        if now == "reset" and self.fault == "reset nan":
            good[1] = np.nan
        return {
            "nan": np.array([1, np.nan, 1], np.float32),
            "infinity": np.array([1, 1, np.inf], np.float32),
            "too long": np.ones(4, np.float32),
            "broadcast": np.float32(1),
            "column": np.ones((3, 1), np.float32),
            "complex": np.ones(3, np.complex64),
            "text": "east",
            "none": None,
            "list": [1.0, 1.0, 1.0],
            "float64": np.ones(3),
        }.get(now, good)


@pytest.mark.parametrize(
    ("fault", "problem"),
    [
        ("nan", r"returned nan in an observation at \[1\]"),
        ("infinity", r"returned inf in an observation at \[2\]"),
        ("reward nan", "returned nan in the reward"),
        ("reward none", "returned nan in the reward"),
        ("reward text", "returned str as reward, expected a number"),
        ("reward row", r"returned float64 \[2\] as reward, expected a number"),
        ("flag none", "returned NoneType as terminated, expected a bool"),
        ("flag row", r"returned bool \[2\] as terminated, expected a bool"),
        ("raises", r"raised ValueError: out of rails, in step at .*test_value_faults\.py:\d+"),
        ("leaves", r"raised SystemExit: good bye, in step at .*test_value_faults\.py:\d+"),
        ("nothing", "returned NoneType from step, expected five values"),
        ("too long", r"returned an observation of float32 \[4\], expected float32 \[3\]"),
        ("broadcast", r"returned an observation of float32 \[\], expected float32 \[3\]"),
        ("column", r"returned an observation of float32 \[3, 1\], expected float32 \[3\]"),
        ("complex", r"returned an observation of complex64 \[3\], expected float32"),
        ("text", r"returned an observation of <U4 \[\], expected float32 \[3\]"),
        ("none", r"returned an observation of NoneType, expected float32 \[3\]"),
        ("four values", r"returned a tuple of 4 \(ndarray, float, bool, dict\) from step, expected five values"),
    ],
)
def test_a_wrong_value_is_named_with_environment_step_and_action(fault: str, problem: str) -> None:
    env = make_vec(Faulty, 3, backend="sync", fault=fault)
    env.reset(7)
    actions = torch.tensor([0, 4, 2])
    for _ in range(2):
        env.step(actions)
    with pytest.raises(EnvironmentFault, match=rf"environment 1 \(seed 8\): {problem}.*step 3 .*action 4$"):
        env.step(actions)


def test_a_reset_that_breaks_is_named_within_an_episode_and_at_the_start() -> None:
    env = make_vec(Faulty, 2, backend="sync", fault="reset raises", length=1)
    env.reset(7)
    with pytest.raises(EnvironmentFault, match=r"environment 1 \(seed 8\): raised ValueError: out of stock, .*step 1 "):
        env.step(torch.zeros(2, dtype=torch.int64))
    said = r"environment 0 \(seed 7\): returned float32 \[3\] from reset, expected a tuple \(observation, info dict\)$"
    with pytest.raises(EnvironmentFault, match=said):
        make_vec(Faulty, 2, backend="sync", fault="reset half").reset(7)


def test_a_wrong_first_observation_is_named(recwarn: pytest.WarningsRecorder) -> None:
    env = make_vec(Faulty, 2, backend="sync", fault="reset nan", length=4)
    env.reset(7)
    for _ in range(3):
        env.step(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(EnvironmentFault, match=r"environment 1 .*returned nan in an observation from reset at \[1\]"):
        env.step(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("harmless", ["", "list", "float64"])
def test_what_can_be_stored_without_loss_of_meaning_passes(harmless: str) -> None:
    env = make_vec(Faulty, 3, backend="sync", fault=harmless)
    env.reset(7)
    for _ in range(7):
        assert torch.equal(env.step(torch.zeros(3, dtype=torch.int64)).next_obs, torch.ones(3, 3))


def test_huge_finite_numbers_are_no_fault() -> None:
    env = make_vec(lambda: gym.wrappers.TransformObservation(Faulty(), lambda obs: obs * np.float32(3e38), None), 2)
    env.reset(7)
    assert torch.isfinite(env.step(torch.zeros(2, dtype=torch.int64)).obs).all()


def test_workers_name_wrong_values_too() -> None:
    env = make_vec(Faulty, 2, backend="async", num_workers=1, fault="nan")
    env.reset(7)
    actions = torch.tensor([0, 4])
    for _ in range(2):
        env.step(actions)
    with pytest.raises(
        EnvironmentFault, match=r"environment 1 \(seed 8\): returned nan .*step 3 .*action 4$"
    ) as caught:
        env.step(actions)
    assert not hasattr(caught.value, "__notes__")  # there is no traceback of the environment's own
