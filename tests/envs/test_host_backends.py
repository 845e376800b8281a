import gc
import subprocess
import sys

import counting_envs  # noqa: F401  (registers the test environments)
import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.core.errors import InputError
from gail.envs import check_vec_env, chunk, make_vec
from gail.envs.gym_async import GymAsyncVecEnv

BACKENDS = ["sync", "async"]


def sample(env, steps, seed=0):
    env.action_space.seed(seed)
    return [
        torch.from_numpy(np.stack([np.asarray(env.action_space.sample()) for _ in range(env.num_envs)]))
        for _ in range(steps)
    ]


def play(env, actions):
    return [env.step(action) for action in actions]


def assert_same(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        for name in ("obs", "next_obs", "reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(x, name), getattr(y, name)), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_counting_environment_shows_true_successor_and_next_start(backend):
    env = make_vec("Counting-v0", 2, backend=backend, length=3)
    assert env.reset(0).tolist() == [[0, 0], [0, 0]]
    steps = play(env, sample(env, 4))
    assert [s.next_obs[0].tolist() for s in steps] == [[0, 1], [0, 2], [0, 3], [1, 1]]
    assert [s.obs[0].tolist() for s in steps] == [[0, 1], [0, 2], [1, 0], [1, 1]]
    assert [s.reward[1].item() for s in steps] == [1, 2, 3, 1]
    assert [bool(s.terminated[0]) for s in steps] == [False, False, True, False]
    env.close()


@pytest.mark.parametrize("env_id", ["Hopper-v5", "CartPole-v1", "NoisyWalk-v0", "Taxi-v4"])
def test_sync_equals_gymnasium_environments_stepped_by_hand(env_id):
    env = make_vec(env_id, 2, backend="sync", max_episode_steps=25)
    truth = [gym.make(env_id, max_episode_steps=25) for _ in range(2)]
    obs = env.reset(11)
    assert np.array_equal(obs.numpy(), np.stack([e.reset(seed=11 + i)[0] for i, e in enumerate(truth)]))
    for action in sample(env, 80):
        step = env.step(action)
        for i, single in enumerate(truth):
            o, r, terminated, truncated, _ = single.step(action[i].numpy().copy()[()])
            assert np.array_equal(step.next_obs[i].numpy(), o)
            assert step.reward[i] == np.float32(r)
            assert (bool(step.terminated[i]), bool(step.truncated[i])) == (terminated, truncated)
            if terminated or truncated:
                o, _ = single.reset()
            assert np.array_equal(step.obs[i].numpy(), o)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "NoisyWalk-v0"])
def test_async_equals_sync_bit_for_bit_also_across_a_saved_state(env_id):
    sync, workers = make_vec(env_id, 3, backend="sync"), make_vec(env_id, 3, backend="async", num_workers=2)
    assert workers.worker_rows == [(0, 2), (2, 3)]
    assert sync.reset(4).equal(workers.reset(4))
    actions = sample(sync, 60)
    assert_same(play(sync, actions[:40]), play(workers, actions[:40]))
    state = workers.state_dict()
    after = play(workers, actions[40:])
    # A state saved by one backend goes on in the other.
    fresh = make_vec(env_id, 3, backend="sync")
    fresh.load_state_dict(state)
    assert_same(after, play(fresh, actions[40:]))
    workers.load_state_dict(state)
    assert_same(after, play(workers, actions[40:]))
    assert workers.saves_state
    workers.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_keep_the_contract(backend):
    def make(n):
        return make_vec("NoisyWalk-v0", n, backend=backend)

    env = make(2)
    assert check_vec_env(env, 90, make) == []
    env.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_environment_with_hidden_state_starts_new_episodes_and_says_so(backend):
    env = make_vec("Counting-v0", 2, backend=backend, length=50, hidden=True)
    env.reset(0)
    play(env, sample(env, 5))
    state = env.state_dict()
    assert env.saves_state
    obs = env.load_state_dict(state)
    assert not env.saves_state
    assert obs[:, 1].tolist() == [0, 0]
    env.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_environments_that_could_not_be_restored_are_named_row_by_row(backend):
    env = make_vec("Counting-v0", 3, backend=backend, length=50)
    env.reset(0)
    play(env, sample(env, 5))
    state = env.state_dict()
    state["obs"][1] += 1  # a replay cannot lead there
    obs = env.load_state_dict(state)
    assert env.restored().tolist() == [True, False, True]
    assert obs[:, 1].tolist() == [5, 0, 5] and not env.saves_state
    env.close()


def test_action_log_is_trimmed_and_an_episode_beyond_the_limit_is_not_restored(monkeypatch):
    monkeypatch.setattr(chunk, "REPLAY_LIMIT", 300)
    env = make_vec("Counting-v0", 1, backend="sync", length=100_000)
    env.reset(0)
    play(env, sample(env, 250))
    assert int(env.state_dict()["lengths"]) == 250
    play(env, sample(env, 2000))
    assert len(env._chunk._log._rows) <= 2 * 300
    state = env.state_dict()
    assert int(state["lengths"]) == -1 and not env.saves_state
    assert env.load_state_dict(state)[0, 1] == 0


def test_long_runs_of_short_episodes_restore_exactly():
    env = make_vec("NoisyWalk-v0", 2, backend="sync")
    env.reset(0)
    actions = sample(env, 900)
    play(env, actions[:700])
    state = env.state_dict()
    after = play(env, actions[700:])
    other = make_vec("NoisyWalk-v0", 2, backend="sync")
    other.load_state_dict(state)
    assert_same(after, play(other, actions[700:]))


def test_state_of_another_batch_size_is_refused():
    env = make_vec("CartPole-v1", 2, backend="sync")
    env.reset(0)
    with pytest.raises(InputError, match=r"\[2, 4\].*\[3, 4\]"):
        make_vec("CartPole-v1", 3, backend="sync").load_state_dict(env.state_dict())


def test_workers_leave_when_the_environment_is_collected():
    env = make_vec("Counting-v0", 2, backend="async")
    processes = [worker.process for worker in env._workers]
    del env
    gc.collect()
    assert [process.poll() for process in processes] == [0, 0]


def test_workers_leave_with_a_parent_that_raises_and_import_no_torch():
    script = (
        "import counting_envs, sys\n"
        "from gail.envs import make_vec\n"
        "env = make_vec('Counting-v0', 2, backend='async')\n"
        "for p in [worker.process for worker in env._workers]:\n"
        "    print(p.pid, 'libtorch' in open(f'/proc/{p.pid}/maps').read(), flush=True)\n"
        "env.reset(0)\n"
        "raise SystemError('parent fails')\n"
    )
    paths = [path for path in sys.path if path]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{script}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "parent fails" in result.stderr
    rows = [line.split() for line in result.stdout.splitlines()]
    assert len(rows) == 2
    for pid, has_torch in rows:
        assert has_torch == "False"
        assert subprocess.run(["ps", "-p", pid], capture_output=True).returncode == 1


def test_environment_of_the_running_script_is_refused_by_workers_and_sync_by_auto():
    class Local(gym.Env):
        observation_space = action_space = gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            return 0, {}

    gym.register("Local-v0", lambda: Local())
    with pytest.raises(InputError, match="backend='sync'"):
        GymAsyncVecEnv(gym.spec("Local-v0"), 8)
    assert type(make_vec("Local-v0", 8)).__name__ == "GymSyncVecEnv"
