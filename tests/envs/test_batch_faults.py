"""Backends that step a whole batch at once name what an environment must not return, with its step and action."""

import warnings

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from counting_envs import CountingVectorEnv
from gymnasium.vector import AutoresetMode

from gail.core.errors import EnvironmentFault
from gail.envs import NativeVecEnv, WrappedVectorEnv, make_vec
from gail.envs.deferred_faults import DeferredFaults


class Ramp(NativeVecEnv):
    """The state of row 1 is the step number; from step 3 on something is not finite."""

    gym_id = "MountainCarContinuous-v0"
    reset_draws = 1
    state_names = ("time", "row")
    fault = "obs"

    def _initial_state(self, uniform):
        return torch.stack([torch.zeros(self.num_envs), torch.arange(self.num_envs, dtype=torch.float32)], 1)

    def _advance(self, state, actions):
        state = state + torch.tensor([1.0, 0.0])
        bad = (state[:, 0] >= 3) & (state[:, 1] == 1)
        reward = torch.where(bad, torch.inf, 1.0) if self.fault == "reward" else torch.ones(self.num_envs)
        return state, reward, torch.zeros(self.num_envs, dtype=torch.bool)

    def _observe(self, state):
        bad = (state[:, 0] >= 3) & (state[:, 1] == 1) & (self.fault == "obs")
        return torch.where(bad[:, None], torch.nan, state)


ACTIONS = torch.tensor([[0.25], [0.5], [0.75]])


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("obs", r"returned nan in an observation at \[0\]"), ("reward", "returned inf in the reward")],
)
def test_native_environment_is_named_in_the_step_it_fails(fault, problem):
    env = Ramp(3)
    env.fault = fault
    env.reset(7)
    for _ in range(2):
        env.step(ACTIONS)
    said = rf"environment 1 \(seed 8\): {problem}, in step 3 of episode 0 since that seed, action \[0.5\]$"
    with pytest.raises(EnvironmentFault, match=said):
        env.step(ACTIONS)


def test_native_environment_on_a_device_is_named_late_but_with_the_step_it_failed_in():
    env = Ramp(3)
    env._on_host = False  # as on a device, from which no step reads back
    for look in (lambda: [env.step(ACTIONS * 0) for _ in range(256)], env.state_dict):
        env.reset(7)
        for _ in range(5):
            env.step(ACTIONS)
        with pytest.raises(
            EnvironmentFault, match=r"environment 1 \(seed 8\): returned NaN .*step 3 .*action \[0.5\]$"
        ):
            look()
        env._later = None


def test_deferred_faults_take_no_notice_of_huge_finite_numbers():
    faults, zeros = DeferredFaults(torch.zeros(2)), torch.zeros(2, dtype=torch.int64)
    huge = torch.full((2, 3), torch.finfo(torch.float32).max)
    faults.note((huge, huge[:, 0]), zeros + 1, zeros, torch.zeros(2))
    assert faults.first() is None
    faults.note((huge, torch.tensor([0.0, torch.inf])), zeros + 2, zeros + 4, torch.tensor([5.0, 6.0]))
    faults.note((huge * torch.nan, huge[:, 0]), zeros + 3, zeros + 4, torch.zeros(2))
    assert faults.first()[:3] == (0, 3, 4)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "MountainCarContinuous-v0"])
def test_nan_actions_are_a_fault_of_native_environments(env_id):
    env = make_vec(env_id, 3)
    env.reset(7)
    with pytest.raises(EnvironmentFault, match=r"environment 2 \(seed 9\): returned nan .*step 1 .*action \[nan\]$"):
        env.step(torch.tensor([[0.0], [0.0], [torch.nan]]))


class Broken(CountingVectorEnv):
    """In its third step row 2 returns something wrong."""

    def __init__(self, fault, mode=AutoresetMode.NEXT_STEP):
        super().__init__(3, mode)
        self.fault, self.time = fault, 0
        self.lengths += 10

    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        self.time += 1
        if self.time == 3:
            if self.fault == "raises":
                raise ValueError("out of rails")
            if self.fault == "nan":
                obs = obs.copy()
                obs[2, 1] = np.nan
            if self.fault == "reward":
                reward = np.array([1, 1, -np.inf])
            if self.fault == "shape":
                obs = obs[:, :1]
            if self.fault == "dtype":
                obs = obs.astype(complex)
            if self.fault == "column":
                reward = reward[:, None]
            if self.fault == "text":
                reward = ["a", "b", "c"]
            if self.fault == "flags":
                truncated = truncated[:2]
            if self.fault == "four":
                return obs, reward, terminated, info
        return obs, reward, terminated, truncated, info


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            "nan",
            r"environment 2 \(seed 9\): returned nan in an observation at \[1\], in step 3 of episode 0 .*action 1$",
        ),
        ("reward", r"environment 2 \(seed 9\): returned -inf in the reward, in step 3 of episode 0 .*action 1$"),
        (
            "raises",
            r"environments 0 to 2 .*: raised ValueError: out of .*, in step 3 since the last reset, actions \[0 0 1\]$",
        ),
        ("shape", r"returned observations of float32 \[3, 1\], expected float32 \[3, 2\].*actions \[0 0 1\]$"),
        ("column", r"returned rewards of float32 \[3, 1\], expected float32 \[3\].*actions \[0 0 1\]$"),
        ("text", r"returned rewards of list, expected float32 \[3\].*actions \[0 0 1\]$"),
        ("flags", r"returned truncated of bool \[2\], expected bool \[3\].*actions \[0 0 1\]$"),
        ("four", r"returned a tuple of 4 \(.*\) from step, expected five values .*actions \[0 0 1\]$"),
        ("dtype", r"returned observations of complex128 \[3, 2\], expected float32 \[3, 2\].*actions \[0 0 1\]$"),
    ],
)
def test_wrapped_vector_environment_is_named(mode, fault, said):
    env = WrappedVectorEnv(Broken(fault, mode))
    env.reset(7)
    for _ in range(2):
        env.step(torch.tensor([0, 0, 1]))
    with pytest.raises(EnvironmentFault, match=said):
        env.step(torch.tensor([0, 0, 1]))


def test_reset_of_a_wrapped_vector_environment_is_named(monkeypatch):
    env = WrappedVectorEnv(Broken(""))
    for reset, problem in (
        (lambda **kwargs: np.zeros((3, 2), np.float32), r"returned float32 \[3, 2\] from reset, expected a tuple"),
        (lambda **kwargs: (np.zeros((3, 1), np.float32), {}), r"returned observations of float32 \[3, 1\], expected"),
        (lambda **kwargs: 1 / 0, r"raised ZeroDivisionError: division by zero, in <lambda> at .*test_batch_faults\.py"),
    ):
        monkeypatch.setattr(env.env, "reset", reset)
        with pytest.raises(EnvironmentFault, match=rf"environments 0 to 2 \(seeds 7 to 9\): {problem}"):
            env.reset(7)


def test_batched_mujoco_names_nan():
    env = make_vec("Hopper-v5", 3, backend="mujoco")
    env.reset(7)
    env.step(torch.zeros(3, 3))
    actions = torch.zeros(3, 3)
    actions[1, 2] = torch.nan
    with (
        pytest.warns(RuntimeWarning, match=r"environment 1 \(seed 8\): MuJoCo warns: .*CTRL"),
        pytest.raises(
            EnvironmentFault,
            match=r"Hopper-v5: environment 1 \(seed 8\): returned nan in the reward, in step 2 of .*nan\]$",
        ),
    ):
        env.step(actions)


def test_batched_mujoco_names_all_that_may_be_meant_where_mujoco_gives_up(monkeypatch):
    real, gives_up = mujoco.mj_step, False

    def step(*simulation, **count):
        if gives_up:
            raise mujoco.FatalError("mj_stackAlloc: out of memory")
        real(*simulation, **count)

    monkeypatch.setattr(mujoco, "mj_step", step)
    env = make_vec("Hopper-v5", 3, backend="mujoco")
    env.reset(7)
    env.step(torch.zeros(3, 3))
    gives_up = True
    words = (
        r"Hopper-v5: environments 0 to 2 \(seeds 7 to 9\): MuJoCo raised FatalError: mj_stackAlloc: .*, in steps 2 2 2 "
    )
    with pytest.raises(EnvironmentFault, match=words) as caught:
        env.step(torch.full((3, 3), 0.5))
    assert list(caught.value.environments) == [0, 1, 2]


def test_batched_mujoco_says_which_simulation_diverged_and_goes_on_as_gymnasium(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env, truth = (
        make_vec("Hopper-v5", 3, backend="mujoco", terminate_when_unhealthy=False),
        gym.make("Hopper-v5", terminate_when_unhealthy=False),
    )
    env.reset(7)
    truth.reset(seed=8)
    actions = torch.tensor([[0.0, 0, 0], [0.25, 0.5, 1], [0, 0, 0]])
    fast = np.zeros((3, 6))
    fast[1] = 1e9
    env.set_physics_state(torch.zeros(3, 6), torch.from_numpy(fast))
    with pytest.warns(
        RuntimeWarning, match=r"environment 1 \(seed 8\): MuJoCo warns: .*QACC.*step 1 of episode 0 .*\[0.25 0.5 +1"
    ):
        step = env.step(actions)
    assert "unstable" not in capfd.readouterr().err and not list(tmp_path.iterdir())
    mujoco.set_mju_user_warning(lambda text: None)
    try:
        truth.unwrapped.set_state(np.zeros(6), fast[1])
        obs, reward, *_ = truth.step(actions[1].numpy())
    finally:
        mujoco.set_mju_user_warning(None)
    assert np.array_equal(step.obs[1].numpy(), obs) and step.reward[1] == np.float32(reward)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env.step(actions)


@pytest.mark.parametrize("backend", ["mujoco", "sync"])
def test_loading_half_cheetah_is_silent(backend, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_vec("HalfCheetah-v5", 2, backend=backend).close()
    assert capfd.readouterr() == ("", "") and not list(tmp_path.iterdir())
