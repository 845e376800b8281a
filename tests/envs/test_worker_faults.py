"""Worker processes that die, hang or raise: named, and with restart_workers replaced."""

import os
import signal

import counting_envs  # noqa: F401  (registers the test environments)
import pytest
import torch

from gail.agents.policy import PolicyOutput
from gail.agents.rollout import Collector
from gail.core.errors import EnvironmentFault, InputError
from gail.envs import make_vec
from gail.envs.gym_async import check_restarts
from gail.envs.worker_options import WorkerOptions

SAID = {
    "raise": r"raised ValueError: the environment itself is broken",
    "exit": r"the worker process died \(exit code 17\)",
    "kill": r"the worker process died \(killed by SIGKILL\)",
    "crash": r"the worker process died \(killed by SIGSEGV\), in .* at .*counting_envs.py:\d+",
    "hang": r"the worker process hangs \(no answer within its timeout\), in _hang at .*counting_envs.py:\d+",
}


def counting(num_envs=4, *, restart=False, timeout=60.0, **kwargs):
    options = WorkerOptions(worker_timeout=timeout, restart_workers=restart)
    kwargs = {"length": 1000, **kwargs}
    return make_vec("Counting-v0", num_envs, backend="async", num_workers=2, workers=options, **kwargs)


class AlwaysOne:
    def act(self, obs, *, generator):
        ones = torch.ones(len(obs), dtype=torch.int64)
        return PolicyOutput(ones, ones[:, None])


def ones(env):
    return torch.ones(env.num_envs, dtype=torch.int64)


@pytest.mark.parametrize("fault", SAID)
def test_broken_worker_is_named_with_environment_seed_step_and_action(fault, tmp_path):
    env = counting(fault=fault, fault_at=3, once=str(tmp_path / "once"), timeout=2.0 if fault == "hang" else 60.0)
    env.reset(7)
    processes = [worker.process for worker in env._workers]
    with pytest.raises(EnvironmentFault) as caught:
        for _ in range(5):
            env.step(ones(env))
    (index,) = caught.value.environments
    message = str(caught.value)
    assert caught.match(rf"^Counting-v0: environment {index} \(seed {7 + index}\): {SAID[fault]}")
    assert message.endswith(", in step 3 of episode 0 since that seed, action 1") and "\n" not in message
    assert all(process.poll() is not None for process in processes)
    with pytest.raises(RuntimeError, match="closed"):
        env.step(ones(env))


def test_exception_of_an_environment_comes_with_its_own_traceback():
    env = counting(2, fault="raise", fault_at=2, length=1)
    env.reset(0)
    env.step(ones(env))
    with pytest.raises(EnvironmentFault, match="in step 1 of episode 1 since that seed") as caught:
        env.step(ones(env))
    assert "in _raise" in "".join(caught.value.__notes__)


@pytest.mark.parametrize("fault", SAID)
def test_fresh_worker_goes_on_and_the_lost_rows_are_cut_and_invalid(fault, tmp_path):
    env = counting(
        fault=fault, fault_at=3, once=str(tmp_path / "once"), restart=True, timeout=2.0 if fault == "hang" else 60.0
    )
    env.reset(7)
    for _ in range(2):
        assert env.step(ones(env)).valid.all()
    with pytest.warns(RuntimeWarning, match=SAID[fault]):
        step = env.step(ones(env))
    lost = ~step.valid
    assert lost.tolist() in ([True, True, False, False], [False, False, True, True])
    assert step.truncated.equal(lost) and not step.terminated.any()
    assert step.reward.tolist() == [0.0 if row else 3.0 for row in lost]
    assert step.obs[:, 1].tolist() == [0.0 if row else 3.0 for row in lost]
    step = env.step(ones(env))
    assert step.valid.all() and step.obs[:, 1].tolist() == [1.0 if row else 4.0 for row in lost]
    assert env.worker_restarts == 1
    env.close()


def test_worker_killed_between_steps_is_replaced_at_the_next_step_or_state():
    for at_state in (False, True):
        env = counting(restart=True)
        env.reset(0)
        env.step(ones(env))
        os.kill(env._workers[1].process.pid, signal.SIGKILL)
        with pytest.warns(RuntimeWarning, match=r"environments 2 to 3 \(seeds 2 to 3\): the worker process died"):
            state = env.state_dict() if at_state else None
            step = env.step(ones(env))
        assert step.valid.tolist() == [True, True, False, False]
        assert step.truncated.tolist() == [False, False, True, True]
        assert step.obs[:, 1].tolist() == [2, 2, 0, 0]
        assert env.step(ones(env)).valid.all()
        if state is not None:
            assert env.load_state_dict(state)[:, 1].tolist() == [1, 1, 0, 0]
            assert env.worker_restarts == 1
            assert env.restored().tolist() == [True, True, False, False]
        env.close()


def test_a_return_does_not_go_on_in_another_episode_where_a_worker_broke_while_its_state_was_saved():
    env = counting(restart=True)
    collector = Collector(env, horizon=4, seed=0, generator=torch.Generator().manual_seed(0))
    collector.collect(AlwaysOne())
    os.kill(env._workers[1].process.pid, signal.SIGKILL)
    with pytest.warns(RuntimeWarning):
        state = collector.state_dict()
    # In the run that goes on, the next step tells; in one that is resumed from here, nothing else would.
    collector.load_state_dict(state)
    assert collector.stats.running_return.tolist() == [10.0, 10.0, 0.0, 0.0]
    assert not collector.exact_resume
    collector.collect(AlwaysOne())
    assert collector.stats.running_return.tolist() == [36.0, 36.0, 10.0, 10.0]
    env.close()


def test_lost_environments_start_other_episodes_than_those_that_led_to_the_fault():
    env = make_vec("NoisyWalk-v0", 2, backend="async", num_workers=2, workers=WorkerOptions(restart_workers=True))
    first = env.reset(3)
    os.kill(env._workers[0].process.pid, signal.SIGKILL)
    with pytest.warns(RuntimeWarning):
        step = env.step(torch.zeros(2, 2))
    assert not step.obs[0].equal(first[0])
    env.close()


def test_worker_that_breaks_again_and_again_ends_the_run():
    env = counting(restart=True, fault="exit", fault_at=2)
    env.reset(0)
    with (
        pytest.warns(RuntimeWarning),
        pytest.raises(EnvironmentFault, match="restarted 5 times, each within 100 steps"),
    ):
        for _ in range(100):
            env.step(ones(env))


@pytest.mark.parametrize("backend", ["sync", "auto"])
def test_restarts_are_refused_where_there_are_no_workers(backend):
    env = make_vec("CartPole-v1", 2, backend=backend)
    with pytest.raises(InputError, match=r"--restart-workers: CartPole-v1 is stepped by .*expected --backend async"):
        check_restarts(env, WorkerOptions(restart_workers=True))


def test_sync_environment_that_raises_is_named_too():
    env = make_vec("Counting-v0", 2, backend="sync", length=100, fault="raise", fault_at=2)
    env.reset(5)
    env.step(ones(env))
    with pytest.raises(EnvironmentFault, match=r"environment 0 \(seed 5\): raised ValueError.*step 2 .*action 1$"):
        env.step(ones(env))
