import counting_envs
import gymnasium as gym
import pytest
import torch
from counting_envs import CountingVectorEnv
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from gail.core.errors import InputError
from gail.envs import WrappedVectorEnv, check_vec_env, make_vec


def run(env, steps):
    first = env.reset(0)
    return first, [env.step(torch.zeros(env.num_envs, dtype=torch.int64)) for _ in range(steps)]


@pytest.mark.parametrize(
    "mode,plain",
    [(AutoresetMode.SAME_STEP, False), (AutoresetMode.SAME_STEP, True), (AutoresetMode.DISABLED, False)],
)
def test_every_row_counts_without_gap_when_the_mode_gives_the_next_start(mode, plain):
    env = WrappedVectorEnv(CountingVectorEnv(3, mode, plain))
    first, steps = run(env, 30)
    now = first
    for step in steps:
        # [episode, step] of the successor follows what was acted on; row i ends at i + 2.
        assert step.next_obs.equal(now + torch.tensor([0.0, 1.0]))
        ended = step.next_obs[:, 1] == torch.tensor([2.0, 3.0, 4.0])
        assert step.terminated.equal(ended) and not step.truncated.any() and step.valid.all()
        assert step.reward.equal(step.next_obs[:, 1])
        start = torch.stack([step.next_obs[:, 0] + 1, torch.zeros(3)], 1)
        assert step.obs.equal(torch.where(ended[:, None], start, step.next_obs))
        now = step.obs
    assert check_vec_env(env, 40) == []


def test_next_step_mode_marks_exactly_the_reset_rows_invalid():
    env = WrappedVectorEnv(CountingVectorEnv(3, AutoresetMode.NEXT_STEP))
    now, steps = run(env, 30)
    ended_before = torch.zeros(3, dtype=torch.bool)
    for step in steps:
        assert step.valid.equal(~ended_before)
        counted = now + torch.tensor([0.0, 1.0])
        restarted = torch.stack([now[:, 0] + 1, torch.zeros(3)], 1)
        assert step.next_obs.equal(torch.where(ended_before[:, None], restarted, counted))
        assert step.obs.equal(step.next_obs)
        assert step.reward.equal(step.next_obs[:, 1] * step.valid)
        ended_before, now = step.terminated, step.obs
    assert check_vec_env(env, 40) == []


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_gymnasiums_own_vector_environments_come_out_alike_in_every_mode(mode):
    def make():
        return gym.make("Counting-v0", length=4)

    env = WrappedVectorEnv(SyncVectorEnv([make, make], autoreset_mode=mode))
    _, steps = run(env, 20)
    played = [step.next_obs[0].tolist() for step in steps if step.valid[0]]
    assert played == [[i // 4, i % 4 + 1] for i in range(len(played))]
    assert len(played) == (16 if mode is AutoresetMode.NEXT_STEP else 20)


def test_vector_entry_point_of_cartpole_has_gymnasiums_time_limit():
    env = make_vec("CartPole-v1", 4, backend="vector_entry_point", max_episode_steps=7)
    assert not env.saves_state
    env.reset(0)
    steps = [env.step(torch.arange(4) % 2 * 0 + t % 2) for t in range(8)]
    assert [bool(s.truncated.all()) for s in steps] == [False] * 6 + [True, False]
    assert not steps[7].valid.any()


def test_vector_environment_that_hides_its_mode_or_final_obs_is_refused():
    silent = CountingVectorEnv(2)
    silent.metadata = {}
    with pytest.raises(InputError, match="autoreset_mode"):
        WrappedVectorEnv(silent)
    liar = CountingVectorEnv(2, AutoresetMode.NEXT_STEP)
    liar.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
    with pytest.raises(RuntimeError, match="final_obs"):
        run(WrappedVectorEnv(liar), 5)


def test_id_without_a_vector_class_is_refused():
    assert counting_envs
    with pytest.raises(InputError, match="vector_entry_point"):
        make_vec("Hopper-v5", 2, backend="vector_entry_point")
