"""Dict, Tuple and MultiBinary spaces: flat dicts of tensors, from the environment through files to a trained policy."""

import gymnasium as gym
import minari
import numpy as np
import pytest
import torch
from gymnasium import spaces
from nested_envs import KEYS, SHAPES, Nested

import gail
from gail.agents import MLPPolicy, RandomPolicy
from gail.core.errors import EnvironmentFault, InputError
from gail.envs import check_vec_env, make_vec
from gail.envs.leaves import leaf_spaces, leaf_values
from gail.envs.spaces import SpaceEncoder, space_from_json, space_to_json, spaces_equal
from gail.generators.fields import describe_field


def random_demos(**kwargs):
    env = make_vec(Nested, 1, **kwargs)
    policy = RandomPolicy(env.observation_space, env.action_space)
    return gail.collect_demos(policy, Nested, episodes=3, env_kwargs=kwargs)


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) and a[key].dtype == b[key].dtype for key in a)


@pytest.mark.parametrize("backend", ["sync", "async"])
def test_observations_are_flat_dicts_equal_to_the_environments_own(backend):
    env = make_vec(Nested, 2, backend=backend)
    truth = [Nested() for _ in range(2)]
    obs = env.reset(3)
    assert list(obs) == KEYS and {key: list(value.shape[1:]) for key, value in obs.items()} == SHAPES
    expected = [single.reset(seed=3 + i)[0] for i, single in enumerate(truth)]
    for step_number in range(12):
        for i, single in enumerate(expected):
            assert same({k: v[i].numpy() for k, v in obs.items()}, flat(truth[i], single))
        actions = torch.tensor([step_number % 2, 1])
        step = env.step(actions)
        for i, single in enumerate(truth):
            successor, reward, over, _, _ = single.step(int(actions[i]))
            assert same({k: v[i].numpy() for k, v in step.next_obs.items()}, flat(single, successor))
            assert float(step.reward[i]) == reward and bool(step.terminated[i]) == over
            expected[i] = single.reset()[0] if over else successor
        obs = step.obs
    env.close()


def flat(env, obs):
    leaves = leaf_values(env.observation_space, obs)
    return {
        k: np.asarray(v, s.dtype)
        for (k, v), s in zip(leaves.items(), leaf_spaces(env.observation_space).values(), strict=True)
    }


@pytest.mark.parametrize("buttons", [False, True])
def test_the_contract_holds_with_several_parts(buttons):
    env = make_vec(Nested, 3, backend="sync", buttons=buttons)
    assert check_vec_env(env, 20, lambda n: make_vec(Nested, n, backend="sync", buttons=buttons)) == []


@pytest.mark.parametrize(
    ("fault", "problem"),
    [("missing", r"an observation of dict \(KeyError: 'flags'\)"), ("nan", r"nan in an observation position at \[1\]")],
)
def test_a_fault_names_the_part(fault, problem):
    env = make_vec(Nested, 2, backend="sync", fault=fault)
    env.reset(0)
    env.step(torch.zeros(2, dtype=torch.int64))
    with pytest.raises(EnvironmentFault, match=problem):
        env.step(torch.zeros(2, dtype=torch.int64))


def test_the_encoder_concatenates_the_parts_in_the_order_of_their_names():
    space = spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Tuple((spaces.Box(0, 1, (1,)), spaces.MultiBinary(2)))})
    obs = {"a/0": torch.tensor([[0.5]]), "a/1": torch.tensor([[1, 0]], dtype=torch.int8), "b": torch.tensor([1])}
    encoder = SpaceEncoder(space)
    assert encoder.size == 5
    assert encoder(obs).tolist() == [[0.5, 1, 0, 0, 1]]


def test_spaces_survive_json_and_what_is_unsupported_is_named():
    space = Nested(buttons=True).observation_space
    assert spaces_equal(space, space_from_json(space_to_json(space)))
    assert not spaces_equal(space, spaces.Dict({**space.spaces, "flags": spaces.MultiBinary(4)}))
    with pytest.raises(InputError, match=r"Text.*supported are .*MultiBinary.*Dict and Tuple"):
        SpaceEncoder(spaces.Dict({"a": spaces.Text(3)}))
    with pytest.raises(InputError, match="holds a '/'"):
        leaf_spaces(spaces.Dict({"a/b": spaces.Discrete(2)}))


@pytest.mark.parametrize("name", ["demos.npz", "demos-v0"])
def test_demonstrations_round_trip_with_every_part(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    demos = random_demos()
    loaded = gail.load_demos(gail.save_demos(demos, tmp_path / name))
    for ours, theirs in zip(demos, loaded, strict=True):
        assert same(ours.observations, dict(theirs.observations))
        assert np.array_equal(ours.actions, theirs.actions)
    transitions = gail.to_transitions(loaded, subsample=3, generator=torch.Generator().manual_seed(0))
    assert transitions.obs.keys() == set(KEYS) and len(transitions[:2]) == 2
    if name.endswith("-v0"):
        episode = minari.load_dataset(name)[0]
        assert np.array_equal(
            episode.observations["inner"][1]["deep"], demos.trajectories[0].observations["inner/1/deep"]
        )
    else:
        with np.load(tmp_path / name) as archive:
            assert {f"observations/{key}" for key in KEYS} < set(archive.files)


def test_the_check_names_the_part_that_is_wrong(tmp_path):
    demos = random_demos()
    path = gail.save_demos(demos, tmp_path / "d.npz")
    assert gail.check_demos(path, "nested_envs:Nested") == []
    first = demos.trajectories[0].observations
    first["position"][0, 0] = np.nan
    first["inner/0"][1] = 30
    rules = {(f.rule, f.message.partition(":")[0]) for f in gail.check_demos(demos, "nested_envs:Nested")}
    assert rules == {("not-finite", "observations/position"), ("outside-space", "observations/inner/0")}
    description = gail.demos.describe(demos)["observations"]
    assert description["flags"] == {"shape": [3], "dtype": "int8"}


@pytest.mark.parametrize("buttons", [False, True])
def test_an_imitator_learns_from_parts_and_its_policy_is_read_back(buttons, tmp_path):
    demos = random_demos(buttons=buttons)
    settings = {"num_envs": 4, "evaluation_episodes": 2, "progress": False, "steps": 256}
    result = gail.imitate(Nested, demos, out=tmp_path / "run", **settings)
    again = gail.imitate(Nested, demos, out=tmp_path / "run", resume=True, **settings)
    assert again.summary["return_mean"] == result.summary["return_mean"]
    policy = gail.load_policy(tmp_path / "run").policy
    env = make_vec(Nested, 2, buttons=buttons)
    obs = env.reset(0)
    assert isinstance(policy, MLPPolicy)
    assert torch.equal(policy.act(obs, deterministic=True).action, result.policy.act(obs, deterministic=True).action)
    env.step(policy.act(obs).action)


def test_demonstrations_without_a_part_are_refused(tmp_path):
    demos = random_demos()
    for trajectory in demos:
        del trajectory.observations["flags"]
    with pytest.raises(InputError, match="expected observations/flags"):
        gail.imitate(Nested, demos, steps=64, progress=False)


def test_vector_environments_of_others_with_parts_are_refused_by_name():
    vector = gym.make_vec("Nested-v0", num_envs=2, vectorization_mode="sync")
    with pytest.raises(InputError, match=r"Dict\(.*not supported"):
        gail.envs.WrappedVectorEnv(vector)


def test_the_check_of_a_batch_names_the_keys_that_it_lacks():
    class Renamed(type(make_vec(Nested, 2, backend="sync"))):
        def reset(self, seed=None):
            return {f"my_{key}": value for key, value in super().reset(seed).items()}

    (finding,) = check_vec_env(Renamed(gym.spec("Nested-v0"), 2), 5)
    assert finding.rule == "layout" and "my_flags" in finding.found and "inner/1/deep" in finding.expected


def test_who_cannot_learn_from_parts_says_who_can():
    for algo in ("dqn", "sb3:PPO"):
        config = gail.ExpertConfig(algo=algo, steps=64, num_envs=2)
        with pytest.raises(InputError, match=r"several parts.*ppo|not supported by dqn"):
            gail.train_expert(Nested, config=config, progress=False)
    with pytest.raises(InputError, match="several parts"):
        describe_field(random_demos(), "observations")
