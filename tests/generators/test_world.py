"""A learned model as an environment: the contract, where episodes start and end, and that its steps are the model's."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents import RandomPolicy, collect_demos
from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import check_vec_env, make_vec
from gail.generators import FitResult, World, fit

LIMIT = 6


def line_walks(episodes: int) -> Demonstrations:
    """x' = x + a, reward x', a = +-1 by coin; terminated where x = 3, at most 6 steps; starts at -1, 0 or 1."""
    rng = np.random.default_rng(0)
    trajectories = []
    for episode in range(episodes):
        states, actions = [float(episode % 3 - 1)], []
        while states[-1] < 3 and len(actions) < LIMIT:
            actions.append(float(rng.choice([-1.0, 1.0])))
            states.append(states[-1] + actions[-1])
        obs = np.asarray([[0, 0, x] for x in states], np.float32)
        played = np.asarray(actions, np.float32)[:, None]
        trajectories.append(Trajectory(obs, played, obs[1:, 2].astype(float), states[-1] >= 3, states[-1] < 3))
    # Spaces are those of a registered environment.
    return Demonstrations(tuple(trajectories), env_id="Pendulum-v1")


@pytest.fixture(scope="module")
def walker() -> FitResult:
    return fit(
        "mdrnn", line_walks(150), data_kind="segments", length=7, steps=250, batch_size=64, width=32, components=1,
        warmup=10, learning_rate=1e-2, previews=0, progress=False,
    )  # fmt: skip


def test_the_contract_holds(walker: FitResult) -> None:
    assert check_vec_env(World(5, run=walker), steps=60) == []


def test_episodes_start_where_recorded_ones_did_and_end_as_they_do(walker: FitResult) -> None:
    env = World(60, run=walker)
    assert env.max_episode_steps == LIMIT
    obs = env.reset(0)
    assert set(obs[:, 2].tolist()) == {-1.0, 0.0, 1.0}
    up, ends = torch.ones(60, 1), {True: list[bool](), False: list[bool]()}
    for _ in range(8):
        step = env.step(up)
        assert torch.allclose(step.next_obs[:, 2], (obs[:, 2] + 1).clamp(max=3), atol=0.3)
        assert torch.allclose(step.reward, step.next_obs[:, 2], atol=0.3)
        for goal, over in zip((step.next_obs[:, 2] > 2.7).tolist(), step.terminated.tolist(), strict=True):
            ends[goal].append(over)
        obs = step.obs
    assert len(ends[True]) > 60 and np.mean(ends[True]) > 0.5 and np.mean(ends[False]) < 0.1
    down = [World(60, run=walker).reset(0)]
    env.reset(0)
    for _ in range(LIMIT):
        step = env.step(-up)
        down.append(step.next_obs)
    assert bool(step.truncated.float().mean() > 0.9)  # the data's truncations are no ends of the model's own
    assert set(step.obs[step.truncated][:, 2].tolist()) <= {-1.0, 0.0, 1.0}


def test_nothing_leaves_the_range_of_the_data(walker: FitResult) -> None:
    env = World(20, run=walker, max_episode_steps=None)
    env.reset(0)
    lowest = min(float(t.observations[:, 2].min()) for t in line_walks(150))
    for _ in range(40):
        step = env.step(torch.full((20, 1), -2.0))
        assert float(step.next_obs[:, 2].min()) >= lowest and not bool(step.truncated.any())


def test_environment_i_does_not_depend_on_how_many_there_are(walker: FitResult) -> None:
    few, many = World(2, run=walker), World(9, run=walker)
    assert torch.equal(few.reset(5), many.reset(5)[:2])
    for _ in range(10):
        a, b = few.step(torch.ones(2, 1)), many.step(torch.ones(9, 1))
        assert torch.allclose(a.obs, b.obs[:2], atol=1e-4) and torch.equal(a.terminated, b.terminated[:2])


class Counter(gym.Env):
    """Only its spaces count."""

    observation_space = gym.spaces.Box(-200, 200, (1,), np.int32)
    action_space = gym.spaces.Box(-1, 1, (1,))


def test_whole_numbers_are_seen_as_the_nearest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gym.registry, "Counter-v0", gym.envs.registration.EnvSpec("Counter-v0", Counter))
    rng = np.random.default_rng(0)
    episodes = tuple(
        Trajectory(rng.integers(-200, 201, (9, 1), np.int32), rng.random((8, 1), np.float32), np.ones(8), False, True)
        for _ in range(20)
    )
    demos = Demonstrations(episodes, env_id="Counter-v0")
    model = fit("mdrnn", demos, data_kind="segments", length=4, steps=1, width=4, previews=0, progress=False)
    env = World(50, run=model)
    env.reset(0)
    seen, state = env.step(torch.zeros(50, 1)).obs, env.state_dict()["state"]
    assert seen.dtype == torch.int32 and (state - state.trunc()).abs().max() > 0.5
    assert (seen - state).abs().max() <= 0.5


def test_an_expert_trains_inside_it_from_the_command_line(tmp_path: Path) -> None:
    space = make_vec("Pendulum-v1", 1)
    demos = collect_demos(RandomPolicy(space.observation_space, space.action_space), "Pendulum-v1", episodes=4)
    fit(
        "mdrnn", demos, data_kind="segments", length=8, steps=2, width=8, previews=0, progress=False, out=tmp_path / "m"
    )
    small = ["--steps", "64", "--num-envs", "2", "--ppo.horizon", "32", "--evaluation-episodes", "2"]
    kwargs = f'{{"run": "{tmp_path / "m"}"}}'
    assert main(["expert", "gail:World", "--env-kwargs", kwargs, *small, "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--env", "Pendulum-v1", "--episodes", "2"]) == 0


def test_what_is_no_model_of_steps_is_refused(walker: FitResult, tmp_path: Path) -> None:
    vae = fit("vae", line_walks(4), steps=1, previews=0, progress=False, hidden=(4,))
    with pytest.raises(InputError, match="expected one of `gail fit mdrnn`"):
        World(1, run=vae)
    nameless = Demonstrations(line_walks(4).trajectories)
    model = fit("mdrnn", nameless, data_kind="segments", length=4, steps=1, width=4, previews=0, progress=False)
    with pytest.raises(InputError, match="does not say which environment"):
        World(1, run=model)
    with pytest.raises(InputError, match="no such"):
        World(1, run=tmp_path / "nowhere")
