import pytest
import torch

from gail.core.errors import InputError
from gail.envs import check_vec_env, make_vec
from gail.envs.acrobot import Acrobot
from gail.envs.cartpole import CartPole
from gail.envs.mountain_car import MountainCar, MountainCarContinuous
from gail.envs.pendulum import Pendulum

IDS = ["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1"]


@pytest.mark.parametrize("env_id", [*IDS, "CartPoleFixedHorizon-v0"])
def test_native_environments_keep_the_contract(env_id):
    def make(n):
        return make_vec(env_id, n, backend="native", max_episode_steps=30)

    assert check_vec_env(make(4), 100, make) == []


def test_truncation_comes_at_the_limit_and_restarts_only_that_row():
    env = CartPole(2, fixed_horizon=True, max_episode_steps=5)
    env.reset(0)
    flags = [env.step(torch.ones(2, dtype=torch.int64)) for _ in range(10)]
    assert [bool(s.truncated.all()) for s in flags] == [i % 5 == 4 for i in range(10)]
    assert not flags[4].obs.equal(flags[4].next_obs)
    assert flags[4].obs.abs().max() <= 0.05


def test_skipping_the_reset_branch_changes_nothing():
    fast, plain = CartPole(16), CartPole(16)
    plain._may_skip_reset = False
    assert fast.reset(3).equal(plain.reset(3))
    for t in range(60):
        actions = (torch.arange(16) + t) % 2
        a, b = fast.step(actions), plain.step(actions)
        assert a.obs.equal(b.obs) and a.next_obs.equal(b.next_obs) and a.terminated.equal(b.terminated)


def test_reset_without_seed_goes_on_with_the_streams():
    env, again = CartPole(3), CartPole(3)
    first = env.reset(5)
    second = env.reset()
    assert not first.equal(second)
    again.reset(5)
    assert again.reset().equal(second)
    assert env.reset(5).equal(first)


def test_a_policy_that_writes_in_its_observation_does_not_move_the_cart():
    env = CartPole(2)
    obs = env.reset(0)
    before = env.get_state()
    obs.fill_(9.0)
    assert env.get_state().equal(before)


def test_fixed_horizon_pole_can_be_brought_back_from_its_stop():
    env = CartPole(1, fixed_horizon=True, max_episode_steps=2000)
    env.reset(0)
    at_stop = torch.tensor([[0.0, 0.0, -0.5, -3.0]])
    fallen = env.set_state(at_stop)
    step = env.step(torch.ones(1, dtype=torch.int64))
    assert float(step.next_obs[0, 2]) == pytest.approx(-0.41888, abs=1e-4) and float(step.next_obs[0, 3]) == 0.0
    # Driving under the pole lifts it back inside the limit within a second.
    angles = [float(env.step(torch.zeros(1, dtype=torch.int64)).next_obs[0, 2]) for _ in range(50)]
    assert float(fallen[0, 2]) < -0.4 and max(angles) > -0.2


def test_fixed_horizon_pays_inside_the_limits_only_and_never_overflows():
    env = CartPole(3, fixed_horizon=True, max_episode_steps=2000)
    env.reset(0)
    steps = [env.step(torch.ones(3, dtype=torch.int64)) for _ in range(1500)]
    for step in steps:
        inside = (step.next_obs[:, 0].abs() <= 2.4) & (step.next_obs[:, 2].abs() <= 0.20943951)
        assert step.reward.equal(inside.float())
        assert not step.terminated.any() and not step.truncated.any()
        assert all(env.observation_space.contains(row) for row in step.obs.numpy())
    assert steps[0].reward.sum() == 3 and steps[-1].reward.sum() == 0
    assert env.env_id == "CartPoleFixedHorizon-v0"


@pytest.mark.parametrize("native", [CartPole, Pendulum, Acrobot])
def test_a_step_reads_nothing_back_from_the_device(native):
    env = native(4, device="meta")
    env.reset(0)
    discrete = len(env.action_space.shape) == 0
    actions = torch.zeros(4, dtype=torch.int64, device="meta") if discrete else torch.zeros(4, 1, device="meta")
    step = env.step(actions)
    assert step.obs.device.type == "meta" and step.obs.shape == (4, *env.observation_space.shape)


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: CartPole(2, wheels=4), ["wheels", "sutton_barto_reward"]),
        (lambda: CartPole(0), ["num_envs", "0"]),
        (lambda: CartPole(2, dtype=torch.float16), ["float16", "float32"]),
        (lambda: Pendulum(2, max_episode_steps=0), ["max_episode_steps", "0"]),
        (lambda: CartPole(2).set_state(torch.zeros(2, 3)), ["[2, 3]", "[2, 4]", "theta_dot"]),
    ],
)
def test_bad_arguments_get_one_clear_line(make, words):
    with pytest.raises(InputError) as error:
        make()
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_actions_of_the_wrong_shape_are_refused_instead_of_broadcast():
    env = CartPole(3)
    env.reset(0)
    with pytest.raises(InputError, match=r"\[3, 1\].*\[3\]"):
        env.step(torch.zeros(3, 1, dtype=torch.int64))


def test_state_of_another_precision_is_refused():
    env = CartPole(2, dtype=torch.float64)
    env.reset(0)
    with pytest.raises(InputError, match="float64"):
        CartPole(2).load_state_dict(env.state_dict())


@pytest.mark.parametrize("native", [CartPole, Pendulum, MountainCar, MountainCarContinuous, Acrobot])
def test_native_environments_are_drawn_as_they_stand(native):
    env = native(2, render_mode="rgb_array")
    env.reset(0)
    first = env.render()[0]
    assert first.shape[2] == 3 and first.dtype.name == "uint8" and (first != first[0, 0]).any()
    moved = env.get_state()
    moved[1] = moved[0] = moved[0] + 0.3
    env.set_state(moved)
    again = env.render()
    assert (again[0] == again[1]).all() and (again[0] != first).any()
