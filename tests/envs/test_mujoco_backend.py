import gc
import itertools
import threading

import gymnasium as gym
import mujoco
import numpy as np
import pytest
import torch
from gymnasium.envs.mujoco import ant_v5, hopper_v5, reacher_v5

from gail.core.errors import InputError
from gail.envs import check_vec_env, make_vec
from gail.envs.mujoco_family import MUJOCO_IDS
from gail.envs.mujoco_tasks import TASKS, _scalar_square
from gail.envs.mujoco_team import StepTeam
from gail.envs.mujoco_truth import DefinitionsDiffer

# Every keyword that changes what is observed or rewarded, at least once.
VARIANTS = [
    ("Hopper-v5", {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False}),
    ("Hopper-v5", {"frame_skip": 2, "healthy_reward": 3, "healthy_state_range": (-2.0, 2.0), "ctrl_cost_weight": 0.5}),
    ("Walker2d-v5", {"healthy_z_range": (1.1, 1.3), "healthy_angle_range": (-0.1, 0.1), "forward_reward_weight": 2}),
    ("HalfCheetah-v5", {"reset_noise_scale": 0.5, "exclude_current_positions_from_observation": False}),
    ("Swimmer-v5", {"exclude_current_positions_from_observation": False, "xml_file": "swimmer.xml"}),
    ("Ant-v5", {"include_cfrc_ext_in_observation": False, "main_body": 3, "contact_force_range": (-0.1, 0.2)}),
    ("Ant-v5", {"terminate_when_unhealthy": False, "exclude_current_positions_from_observation": False}),
    ("Humanoid-v5", {"include_cinert_in_observation": False, "contact_cost_weight": 1e-2, "healthy_reward": 1}),
    ("Humanoid-v5", {"include_cvel_in_observation": False, "include_qfrc_actuator_in_observation": False}),
    ("HumanoidStandup-v5", {"include_cfrc_ext_in_observation": False, "impact_cost_range": (0.0, 1e-3)}),
    ("Reacher-v5", {"reward_dist_weight": 0.3, "reward_control_weight": 0.7}),
    ("Pusher-v5", {"reward_near_weight": 2.0, "reward_dist_weight": 0.5, "reward_control_weight": 0.3}),
    ("InvertedDoublePendulum-v5", {"healthy_reward": 1.5, "reset_noise_scale": 0.3}),
]


def random_actions(env, steps, seed=0):
    space, draw = env.action_space, np.random.default_rng(seed)
    shape = (steps, env.num_envs, *space.shape)
    return torch.from_numpy(draw.uniform(space.low, space.high, shape).astype(np.float32))


def play(env, actions):
    return [env.step(action) for action in actions]


def assert_same(xs, ys):
    for x, y in zip(xs, ys, strict=True):
        for name in ("obs", "next_obs", "reward", "terminated", "truncated", "valid"):
            assert torch.equal(getattr(x, name), getattr(y, name)), name
        assert x.info.keys() == y.info.keys()
        assert all(torch.equal(x.info[name], y.info[name]) for name in x.info)


def assert_equals_gymnasium(env_id, steps, num_envs=2, **kwargs):
    """Bit for bit; returns how many episodes ended."""
    env = make_vec(env_id, num_envs, backend="mujoco", **kwargs)
    truth = [gym.make(env_id, **kwargs) for _ in range(num_envs)]
    obs = env.reset(11)
    assert np.array_equal(obs.numpy(), np.stack([e.reset(seed=11 + i)[0] for i, e in enumerate(truth)]))
    ended = 0
    for actions in random_actions(env, steps):
        step = env.step(actions)
        for i, single in enumerate(truth):
            o, r, terminated, truncated, info = single.step(actions[i].numpy().copy())
            assert np.array_equal(step.next_obs[i].numpy(), o)
            assert step.reward[i].item() == np.float32(r)
            assert (bool(step.terminated[i]), bool(step.truncated[i])) == (terminated, truncated)
            # The terms of the reward, in Gymnasium's own precision.
            assert step.info.keys() == info.keys()
            for name, value in info.items():
                assert np.array_equal(step.info[name][i].numpy(), value), name
                assert step.info[name].numpy().dtype == np.asarray(value).dtype, name
            if terminated or truncated:
                o, _ = single.reset()
                ended += 1
            assert np.array_equal(step.obs[i].numpy(), o)
    return ended


def test_every_id_has_a_task():
    assert set(MUJOCO_IDS) == set(TASKS)


@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_equals_gymnasium_bit_for_bit_over_several_episodes(env_id):
    assert assert_equals_gymnasium(env_id, 130, max_episode_steps=40) >= 5


@pytest.mark.parametrize("env_id,kwargs", VARIANTS)
def test_keywords_mean_what_they_mean_to_gymnasium(env_id, kwargs):
    assert_equals_gymnasium(env_id, 30, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_equals_gymnasium_over_five_whole_episodes(env_id):
    limit = gym.spec(env_id).max_episode_steps
    assert assert_equals_gymnasium(env_id, 5 * limit, num_envs=1) >= 5


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Ant-v5", "InvertedPendulum-v5"])
def test_number_of_threads_changes_nothing(env_id):
    envs = [make_vec(env_id, 5, backend="mujoco", threads=threads) for threads in (1, 2, 4)]
    starts = [env.reset(3) for env in envs]
    assert all(start.equal(starts[0]) for start in starts)
    actions = random_actions(envs[0], 60)
    played = [play(env, actions) for env in envs]
    assert_same(played[0], played[1])
    assert_same(played[0], played[2])


@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_info_that_is_read_late_is_what_it_was_at_once(env_id):
    at_once, late = (make_vec(env_id, 3, backend="mujoco", max_episode_steps=7) for _ in range(2))
    at_once.reset(1)
    late.reset(1)
    actions = random_actions(late, 20)
    infos = [dict(at_once.step(action).info) for action in actions]
    for info, step in zip(infos, play(late, actions), strict=True):
        assert info.keys() == step.info.keys()
        assert all(torch.equal(info[name], step.info[name]) for name in info)


@pytest.mark.parametrize("env_id", MUJOCO_IDS)
def test_100_steps_after_a_restored_state_are_what_they_were(env_id):
    env = make_vec(env_id, 2, backend="mujoco", max_episode_steps=70)
    env.reset(5)
    actions = random_actions(env, 145)
    before = play(env, actions[:45])
    state = env.state_dict()
    expected = play(env, actions[45:])
    fresh = make_vec(env_id, 2, backend="mujoco", max_episode_steps=70)
    assert fresh.load_state_dict(state).equal(before[-1].obs)
    assert_same(expected, play(fresh, actions[45:]))
    # Also into an environment that has a past of its own.
    assert env.load_state_dict(state).equal(before[-1].obs)
    assert_same(expected, play(env, actions[45:]))
    assert env.saves_state


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Humanoid-v5"])
def test_keeps_the_contract(env_id):
    def make(n):
        return make_vec(env_id, n, backend="mujoco", max_episode_steps=30)

    assert check_vec_env(make(3), 80, make) == []


def test_reset_without_a_seed_goes_on_with_the_random_streams():
    env, truth = make_vec("Reacher-v5", 2, backend="mujoco"), [gym.make("Reacher-v5") for _ in range(2)]
    env.reset(8)
    for i, single in enumerate(truth):
        single.reset(seed=8 + i)
    assert np.array_equal(env.reset().numpy(), np.stack([single.reset()[0] for single in truth]))
    assert not make_vec("Reacher-v5", 1, backend="mujoco").reset().equal(env.reset()[:1])


def test_auto_steps_mujoco_in_this_process_unless_something_is_rendered():
    assert type(make_vec("Hopper-v5", 1)).__name__ == "MujocoVecEnv"
    assert type(make_vec("Hopper-v5", 8)).__name__ == "MujocoVecEnv"
    assert type(make_vec("Hopper-v5", 1, render_mode="rgb_array")).__name__ == "GymSyncVecEnv"
    assert type(make_vec("Hopper-v4", 1)).__name__ == "GymSyncVecEnv"


def test_time_limit_means_the_same_as_elsewhere():
    for limit, expected in ((None, None), (-1, None), (9, 9)):
        assert make_vec("Hopper-v5", 1, backend="mujoco", max_episode_steps=limit).max_episode_steps == expected
    assert make_vec("Hopper-v5", 1, backend="mujoco").max_episode_steps == 1000


def changed(method, change):
    return lambda self, *args: change(method(self, *args))


@pytest.mark.parametrize(
    "owner,name,change,words",
    [
        (hopper_v5.HopperEnv, "_get_rew", lambda r: (r[0] + 1e-12, r[1]), ["reward after a step"]),
        (hopper_v5.HopperEnv, "_get_rew", lambda r: (r[0], {**r[1], "reward_style": 0.0}), ["reward_style"]),
        (hopper_v5.HopperEnv, "_get_rew", lambda r: (r[0], {**r[1], "reward_ctrl": 0.0}), ["info['reward_ctrl']"]),
        (hopper_v5.HopperEnv, "_get_obs", lambda o: np.clip(o, -9, 9), ["observation after a step"]),
        (hopper_v5.HopperEnv, "_get_obs", lambda o: o[:-1], ["observation after reset"]),
        (hopper_v5.HopperEnv, "state_vector", lambda s: s * 100, ["reward after a step"]),
        (ant_v5.AntEnv, "control_cost", lambda c: c / 2, ["reward after a step"]),
        (reacher_v5.ReacherEnv, "_get_rew", lambda r: (r[0], {}), ["info has"]),
    ],
)
def test_a_class_that_changed_is_noticed_before_anything_is_played(monkeypatch, owner, name, change, words):
    env_id = owner.__name__.replace("Env", "-v5")
    monkeypatch.setattr(owner, name, changed(getattr(owner, name), change))
    with pytest.raises(DefinitionsDiffer) as error:
        make_vec(env_id, 2, backend="mujoco")
    assert all(word in str(error.value) for word in [env_id, owner.__name__, *words]), str(error.value)
    with pytest.warns(UserWarning, match=words[0].replace("[", r"\[")):
        env = make_vec(env_id, 2)
    assert type(env).__name__ == "GymSyncVecEnv"


def test_a_class_that_does_more_physics_or_renames_a_constant_is_noticed(monkeypatch):
    real = hopper_v5.HopperEnv.do_simulation
    with monkeypatch.context() as patch:
        patch.setattr(hopper_v5.HopperEnv, "do_simulation", lambda self, ctrl, n: real(self, ctrl, n + 1))
        with pytest.raises(DefinitionsDiffer, match="observation after a step"):
            make_vec("Hopper-v5", 2, backend="mujoco")

    class Renamed(hopper_v5.HopperEnv):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            del self._healthy_z_range

    monkeypatch.setattr(hopper_v5, "HopperEnv", Renamed)
    with pytest.raises(DefinitionsDiffer, match="_healthy_z_range"):
        make_vec("Hopper-v5", 2, backend="mujoco")


def test_a_changed_reset_is_followed_because_the_class_draws_it(monkeypatch):
    def reset_model(self):
        noise = self.np_random.triangular(-0.01, 0.0, 0.02, size=self.model.nq)
        self.set_state(self.init_qpos + noise, self.init_qvel)
        return self._get_obs()

    monkeypatch.setattr(hopper_v5.HopperEnv, "reset_model", reset_model)
    assert_equals_gymnasium("Hopper-v5", 60)


def test_physics_state_is_set_as_gymnasium_sets_it_and_forgets_the_past():
    env = make_vec("Hopper-v5", 2, backend="mujoco")
    env.reset(0)
    actions = random_actions(env, 25)
    play(env, actions[:20])
    single = gym.make("Hopper-v5").unwrapped
    single.reset(seed=0)
    qpos = torch.from_numpy(np.stack([single.init_qpos + 0.01, single.init_qpos - 0.02]))
    qvel = torch.full((2, 6), 0.3, dtype=torch.float64)
    obs = env.set_physics_state(qpos, qvel)
    after = play(env, actions[20:])
    for row in range(2):
        mujoco.mj_resetData(single.model, single.data)
        single.set_state(qpos[row].numpy(), qvel[row].numpy())
        assert np.array_equal(obs[row].numpy(), single._get_obs())
        for step, action in zip(after, actions[20:], strict=True):
            o, r, terminated, _, _ = single.step(action[row].numpy())
            assert np.array_equal(step.next_obs[row].numpy(), o) and step.reward[row].item() == np.float32(r)
            if terminated:
                break
    with pytest.raises(InputError, match=r"qvel has shape \[2, 5\], expected \[2, 6\]"):
        env.set_physics_state(qpos, qvel[:, :5])


LISTED = [env_id for env_id in MUJOCO_IDS if env_id not in ("Reacher-v5", "Pusher-v5", "InvertedDoublePendulum-v5")]


@pytest.mark.parametrize("env_id", LISTED)
def test_a_step_from_a_state_that_an_observation_shows_leads_to_the_recorded_successor(env_id):
    env = make_vec(env_id, 3, backend="mujoco")
    env.reset(2)
    actions = 0.3 * random_actions(env, 4)  # gentle: beyond 10 Walker2d observes its velocities clipped
    *_, before, recorded = play(env, actions)
    shown = env.set_physics_state_from_obs(before.obs)
    positions = env._batch.model.nq + env._batch.model.nv - env._task.unobserved
    assert shown[:, :positions].equal(before.obs[:, :positions])
    again = env.step(actions[-1])
    error = (again.next_obs - recorded.next_obs)[:, :positions].abs().max()
    assert error < 1e-5


def test_an_observation_without_positions_shows_no_state():
    for env_id in set(MUJOCO_IDS) - set(LISTED):
        env = make_vec(env_id, 1, backend="mujoco")
        with pytest.raises(InputError, match=f"{env_id}: observations do not list"):
            env.set_physics_state_from_obs(env.reset(0))
    env = make_vec("Hopper-v5", 2, backend="mujoco")
    with pytest.raises(InputError, match=r"obs has shape \[1, 11\], expected \[2, 11\]"):
        env.set_physics_state_from_obs(env.reset(0)[:1])


@pytest.mark.parametrize("actions", [0, 7])
def test_frames_are_those_of_the_single_environment(actions):
    ours = make_vec("Hopper-v5", 2, backend="mujoco", render_mode="rgb_array")
    theirs = make_vec("Hopper-v5", 2, backend="sync", render_mode="rgb_array")
    for env in (ours, theirs):
        env.reset(1)
        play(env, random_actions(env, actions))
    for a, b in itertools.zip_longest(ours.render(), theirs.render()):
        assert a.dtype == np.uint8 and np.array_equal(a, b)


def test_a_restored_state_is_drawn():
    env, other = (make_vec("Hopper-v5", 1, backend="mujoco", render_mode="rgb_array") for _ in range(2))
    env.reset(1)
    play(env, random_actions(env, 12))
    other.reset(2)
    played, begun = env.render()[0].astype(float), other.render()[0]
    other.load_state_dict(env.state_dict())
    # Not bit for bit: what is drawn of a played step may lag one substep behind.
    assert np.abs(other.render()[0] - played).mean() < 0.3 * np.abs(begun - played).mean()


def test_bad_input_gets_one_clear_line():
    for kwargs, words in (
        ({"env": "CartPole-v1"}, ["CartPole-v1", "mujoco", "Hopper-v5"]),
        ({"env": "Hopper-v5", "render_mode": "human"}, ["render_mode", "rgb_array"]),
        ({"env": "Hopper-v5", "wheels": 4}, ["wheels", "frame_skip"]),
        ({"env": "Hopper-v5", "threads": 0}, ["threads", "0"]),
    ):
        with pytest.raises(InputError) as error:
            make_vec(**kwargs, num_envs=2, backend="mujoco")
        assert all(word in str(error.value) for word in words), str(error.value)
    env = make_vec("Hopper-v5", 2, backend="mujoco")
    env.reset(0)
    with pytest.raises(InputError, match=r"expected \[2, 3\]"):
        env.step(torch.zeros(2, 1))
    sync = make_vec("Hopper-v5", 2, backend="sync")
    sync.reset(0)
    with pytest.raises(InputError, match="another backend"):
        env.load_state_dict(sync.state_dict())
    larger = make_vec("Hopper-v5", 3, backend="mujoco")
    larger.reset(0)
    with pytest.raises(InputError, match="physics"):
        env.load_state_dict(larger.state_dict())
    with pytest.raises(InputError, match="render_mode"):
        env.render()


def test_team_raises_what_a_helper_raised_and_its_threads_end_with_it(monkeypatch):
    def running():
        return {thread for thread in threading.enumerate() if thread.name == "gail-mujoco"}

    gc.collect()
    caller, others, helper_failed = threading.current_thread(), running(), threading.Event()

    def step(model, data, count):
        if threading.current_thread() is not caller:
            helper_failed.set()
            raise ValueError("broken simulation")
        helper_failed.wait(10)

    monkeypatch.setattr(mujoco, "mj_step", step)
    team = StepTeam(None, [object() for _ in range(6)], 1, contact_forces=False, threads=3)
    helpers = running() - others
    assert len(helpers) == 2
    with pytest.raises(ValueError, match="broken simulation"):
        team.step()
    del team
    gc.collect()
    for thread in helpers:
        thread.join(10)
    assert not running() & helpers


def test_squares_are_those_of_numpy_scalars():
    values = np.random.default_rng(0).normal(size=(2, 10_000))
    assert np.array_equal(_scalar_square(values), [[value**2 for value in row] for row in values])
    with np.errstate(over="ignore"):
        assert _scalar_square(np.array([[1e200, -3.0]])).tolist() == [[np.inf, 9.0]]


def test_team_does_not_wait_for_a_helper_that_has_not_woken_up(monkeypatch):
    caller, done = threading.current_thread(), []

    def step(model, data, count):
        assert threading.current_thread() is caller
        done.append(data)

    class Asleep(threading.Thread):
        def start(self):
            pass

    monkeypatch.setattr(mujoco, "mj_step", step)
    monkeypatch.setattr(threading, "Thread", Asleep)
    team = StepTeam(None, ["a", "b", "c"], 1, contact_forces=False, threads=3)
    for _ in range(2):
        team.step()
    assert done == ["a", "b", "c"] * 2
