"""EnvPool behind the contract, with a stand-in for the package: a Gymnasium vector environment in its mode."""

import sys
from types import SimpleNamespace
from typing import ClassVar

import gymnasium as gym
import pytest
import torch
from gymnasium.vector import AutoresetMode

from gail.core.errors import InputError
from gail.envs import make_vec


class Pool(gym.vector.SyncVectorEnv):
    """Seeded when it is made, as EnvPool is; ignores the seed of a reset."""

    made: ClassVar[list[int]] = []

    def __init__(self, env_id, *, num_envs, seed, max_episode_steps=6):
        make = lambda: gym.make("Pendulum-v1", max_episode_steps=max_episode_steps)  # noqa: E731
        super().__init__([make] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)
        self.config = {"max_episode_steps": max_episode_steps}
        super().reset(seed=seed)
        Pool.made.append(seed)

    def reset(self, *, seed=None, options=None):
        assert seed is None
        return super().reset(options=options)


@pytest.fixture(autouse=True)
def package(monkeypatch):
    fake = SimpleNamespace(make_gymnasium=Pool, list_all_envs=lambda: ["Pendulum-v1", "Hopper-v5"])
    monkeypatch.setitem(sys.modules, "envpool", fake)
    monkeypatch.delitem(sys.modules, "gail.envs.envpool", raising=False)
    Pool.made = []
    yield
    sys.modules.pop("gail.envs.envpool", None)


def test_reset_rows_are_invalid_and_the_limit_is_known():
    env = make_vec("Pendulum-v1", 2, backend="envpool")
    env.reset(0)
    steps = [env.step(torch.zeros(2, *env.action_space.shape, dtype=torch.float32)) for _ in range(8)]
    assert [bool(step.valid.all()) for step in steps] == [True] * 6 + [False, True]
    assert [bool(step.truncated.all()) for step in steps] == [False] * 5 + [True, False, False]
    assert env.max_episode_steps == 6 and not env.saves_state
    assert make_vec("Pendulum-v1", 2, backend="envpool", max_episode_steps=9).max_episode_steps == 9
    assert make_vec("Pendulum-v1", 2, backend="envpool", max_episode_steps=None).max_episode_steps is None


def test_a_seed_makes_a_new_pool_and_repeats_its_episodes():
    env = make_vec("Pendulum-v1", 3, backend="envpool")
    first = env.reset(4)
    again = env.reset()
    assert not first.equal(again)
    assert env.reset(4).equal(first) and env.reset().equal(again)
    assert Pool.made[1:] == [4, 4]


def test_played_only_when_asked_for():
    assert type(make_vec("Hopper-v5", 1)).__name__ == "MujocoVecEnv"
    assert type(make_vec("Hopper-v5", 1, backend="envpool")).__name__ == "EnvPoolVecEnv"


@pytest.mark.parametrize(
    "env_id,kwargs,words",
    [
        ("Nothing-v0", {}, ["Nothing-v0", "envpool", "list_all_envs"]),
        ("Hopper-v5", {"wheels": 3}, ["Hopper-v5", "wheels"]),
    ],
)
def test_bad_input_is_one_line(env_id, kwargs, words):
    with pytest.raises(InputError) as error:
        make_vec(env_id, 2, backend="envpool", **kwargs)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_missing_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "envpool", None)
    with pytest.raises(InputError, match=r"Hopper-v5: package 'envpool' is missing.*pip install envpool"):
        make_vec("Hopper-v5", 2, backend="envpool")
