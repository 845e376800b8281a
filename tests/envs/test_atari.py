"""Atari: the protocol that is asked for is what is played, frame by frame."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TimeLimit

from gail.core.errors import EnvironmentFault, InputError
from gail.envs import check_vec_env, make_vec, resolve_env
from gail.envs.atari import AtariProtocol, is_console
from gail.envs.atari_single import console_seed

ale_py = pytest.importorskip("ale_py")

# Gymnasium hands ALE negative seeds for half of all seeds; those are compared with our own single environments.
SEED = next(s for s in range(100) if all(np.random.SeedSequence(s + i).generate_state(2)[1] < 2**31 for i in range(2)))


def gymnasiums_own(game: str, max_steps: int) -> gym.Env:
    env = gym.make(f"ALE/{game}-v5", frameskip=1)
    env = AtariPreprocessing(env, noop_max=0, frame_skip=4, screen_size=84)
    return TimeLimit(FrameStackObservation(env, 4, padding_type="zero"), max_steps)


@pytest.mark.parametrize("game,least_ends", [("Pong", 2), ("Breakout", 4), ("MsPacman", 2)])
def test_v5_games_are_bit_equal_to_gymnasiums_wrappers_over_1000_steps(game, least_ends):
    env = make_vec(game, 2, max_episode_steps=450)
    assert type(env).__name__ == "AtariVecEnv"
    singles = [gymnasiums_own(game, 450) for _ in range(2)]
    obs = env.reset(SEED).numpy()
    for i, single in enumerate(singles):
        assert np.array_equal(single.reset(seed=SEED + i)[0], obs[i])
    actions = np.random.default_rng(0).integers(0, env.action_space.n, (500, 2))
    ends = 0
    for action in actions:
        step = env.step(torch.from_numpy(action))
        for i, single in enumerate(singles):
            obs, reward, terminated, truncated, _ = single.step(int(action[i]))
            assert np.array_equal(step.next_obs[i].numpy(), obs)
            assert (float(step.reward[i]), bool(step.terminated[i]), bool(step.truncated[i])) == (
                reward, terminated, truncated,
            )  # fmt: skip
            if terminated or truncated:
                ends += 1
                obs, _ = single.reset()
            assert np.array_equal(step.obs[i].numpy(), obs)
    assert ends >= least_ends


@pytest.mark.parametrize(
    "keywords",
    [
        {"use_fire_reset": True, "frameskip": 3, "grayscale": False, "max_num_frames_per_episode": 150},
        {"episodic_life": True, "reward_clipping": True, "full_action_space": True, "stack_num": 2,
         "img_height": 60, "img_width": 70, "repeat_action_probability": 0.0},
    ],
)  # fmt: skip
def test_every_keyword_means_the_same_in_both_backends(keywords):
    ours, single = make_vec("Breakout", 2, **keywords), make_vec("Breakout", 2, backend="sync", **keywords)
    assert ours.env_kwargs == single.env_kwargs and ours.max_episode_steps == single.max_episode_steps
    assert ours.observation_space == single.observation_space and ours.action_space == single.action_space
    assert ours.reset(2).equal(single.reset(2))
    generator, ends = np.random.default_rng(1), 0
    for _ in range(110):
        actions = torch.from_numpy(generator.integers(0, ours.action_space.n, 2))
        a, b = ours.step(actions), single.step(actions)
        for name in ("obs", "next_obs", "reward", "terminated", "truncated"):
            assert getattr(a, name).equal(getattr(b, name)), name
        ends += int((a.terminated | a.truncated).sum())
    assert ends >= 3


def test_defaults_are_the_v5_protocol():
    assert AtariProtocol() == AtariProtocol(
        obs_type="pixels", repeat_action_probability=0.25, frameskip=4, full_action_space=False, noop_max=0,
        use_fire_reset=False, episodic_life=False, reward_clipping=False, stack_num=4, img_height=84, img_width=84,
        grayscale=True, max_num_frames_per_episode=108_000,
    )  # fmt: skip
    assert make_vec("Pong", 1).max_episode_steps == 27_000


def test_atari_keeps_the_contract():
    def make(count):
        return make_vec("Breakout", count, max_episode_steps=12)

    assert check_vec_env(make(2), 30, make) == []


def test_no_ops_are_up_to_noop_max_and_the_default_is_none():
    for backend in ("atari", "sync"):
        plain, waiting = (make_vec("Freeway", 3, backend=backend, noop_max=most) for most in (0, 30))
        assert len({row.numpy().tobytes() for row in plain.reset(0)}) == 1
        assert len({row.numpy().tobytes() for row in waiting.reset(0)}) > 1


def test_games_without_a_seed_differ_from_each_other():
    env = make_vec("Breakout", 3)
    env.reset()
    rows = [env.step(torch.ones(3, dtype=torch.int64) * (t % 4)).obs for t in range(120)]
    assert len({torch.stack([row[i] for row in rows]).numpy().tobytes() for i in range(3)}) == 3


def test_loading_a_state_starts_the_same_new_games_and_says_so():
    env = make_vec("MsPacman", 2)
    env.reset(3)
    env.step(torch.zeros(2, dtype=torch.int64))
    state = env.state_dict()
    assert not env.saves_state

    def play():
        other = make_vec("MsPacman", 2)
        return [other.load_state_dict(state)] + [other.step(torch.full((2,), t % 9)).obs for t in range(30)]

    assert all(a.equal(b) for a, b in zip(play(), play(), strict=True))


def test_later_single_games_are_not_claimed_to_be_restored():
    env = make_vec("Breakout", 1, backend="sync", max_episode_steps=3)
    env.reset(0)
    env.step(torch.tensor([0]))
    env.state_dict()
    assert env.saves_state
    for _ in range(3):
        env.step(torch.tensor([0]))
    env.state_dict()
    assert not env.saves_state


@pytest.mark.parametrize("name", ["Pong", "pong", "ALE/Pong-v5"])
def test_bare_names_are_the_v5_id(name):
    assert resolve_env(name, {"noop_max": 5})[0] == "ALE/Pong-v5"
    assert resolve_env(name, {"noop_max": 5})[1]["repeat_action_probability"] == 0.25
    assert make_vec(name, 1).env_id == "ALE/Pong-v5"
    with pytest.raises(InputError, match="'device' is no keyword of an environment"):
        resolve_env(name, {"device": "cpu"})
    assert resolve_env("ms_pacman")[0] == resolve_env("MsPacman")[0] == "ALE/MsPacman-v5"


def test_what_is_saved_repeats_the_protocol():
    env = make_vec("Pong", 1, noop_max=7, max_episode_steps=100)
    again = make_vec(env.env_id, 1, **env.env_kwargs)
    assert again.env_kwargs == env.env_kwargs and again.max_episode_steps == 100


def test_mode_and_difficulty_zero_are_kept():
    _, kwargs = resolve_env("Breakout", {"mode": 0, "difficulty": 0})
    assert (kwargs["mode"], kwargs["difficulty"]) == (0, 0)


def test_evaluation_scores_the_real_game():
    training = {"reward_clipping": True, "episodic_life": True, "noop_max": 30}
    _, kwargs = resolve_env("Pong", training, for_evaluation=True)
    assert (kwargs["reward_clipping"], kwargs["episodic_life"], kwargs["noop_max"]) == (False, False, 30)


def test_other_ids_of_ale_stay_plain_gymnasium_environments():
    env = make_vec("Pong-v4", 1)
    assert env.reset(0).shape == (1, 210, 160, 3) and env.env_kwargs == {}
    assert is_console("Pong-v4") and is_console("ALE/Pong-v5") and not is_console("CartPole-v1")


@pytest.mark.parametrize(
    "keywords,shape",
    [({"obs_type": "ram"}, (128,)), ({"obs_type": "rgb"}, (210, 160, 3)), ({"mode": 4, "difficulty": 1}, (4, 84, 84))],
)
def test_what_only_single_games_have_is_played_by_them(keywords, shape):
    env = make_vec("Breakout", 2, **keywords)
    assert type(env).__name__ == "GymSyncVecEnv"
    assert env.reset(0).shape == (2, *shape) and env.step(torch.tensor([0, 1])).obs.dtype == torch.uint8


def test_sound_is_heard_frame_by_frame_beside_the_screen():
    env = make_vec("Pong", 2, obs_type="rgb", frameskip=1, sound_obs=True, repeat_action_probability=0.0)
    single = gym.make("ALE/Pong-v5", obs_type="rgb", frameskip=1, sound_obs=True, repeat_action_probability=0.0)
    single.reset(seed=1)
    heard = set()
    assert env.reset(0)["image"].shape == (2, 210, 160, 3)
    for _ in range(150):
        obs = env.step(torch.tensor([0, 2])).obs
        theirs = single.step(2)[0]
        assert all(np.array_equal(obs[name][1].numpy(), theirs[name]) for name in ("image", "sound"))
        heard.add(obs["sound"][1].numpy().tobytes())
    assert obs["sound"].shape == (2, 512) and len(heard) > 1


def test_rendering_shows_the_colour_screen_of_the_same_game():
    env, plain = make_vec("Pong", 1, render_mode="rgb_array"), make_vec("Pong", 1)
    assert env.reset(4).equal(plain.reset(4))
    assert env.render()[0].shape == (210, 160, 3)


def test_workers_play_the_same_game():
    workers, single = make_vec("Pong", 2, backend="async", obs_type="ram"), make_vec("Pong", 2, obs_type="ram")
    try:
        assert workers.reset(1).equal(single.reset(1))
        for t in range(20):
            actions = torch.tensor([t % 6, 2])
            assert workers.step(actions).obs.equal(single.step(actions).obs)
    finally:
        workers.close()


@pytest.mark.parametrize(
    "keywords,words",
    [
        ({"sticky": 0.5}, ["sticky", "repeat_action_probability"]),
        ({"frameskip": 2.5}, ["frameskip", "2.5", "int"]),
        ({"frameskip": 0}, ["frameskip", "0", "at least 1"]),
        ({"repeat_action_probability": 1.5}, ["repeat_action_probability", "1.5"]),
        ({"obs_type": "ram", "stack_num": 4}, ["stack_num", "pixels", "ram"]),
        ({"obs_type": "ram", "backend": "atari"}, ["atari", "ram", "sync"]),
        ({"backend": "atari", "render_mode": "rgb_array"}, ["render_mode", "sync"]),
        ({"sound_obs": True}, ["sound_obs", "frameskip=1"]),
        ({"mode": 77}, ["mode", "77"]),
        ({"max_episode_steps": 5, "max_num_frames_per_episode": 5}, ["max_episode_steps", "not both"]),
    ],
)
def test_bad_keywords_get_one_clear_line(keywords, words):
    with pytest.raises(InputError) as error:
        make_vec("Breakout", 1, **keywords)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_an_action_that_the_game_lacks_is_refused_before_ale_sees_it():
    env = make_vec("Pong", 2)
    env.reset(0)
    with pytest.raises(InputError, match="Discrete"):
        env.step(torch.tensor([0, 6]))


def test_what_ale_raises_names_the_games_the_step_and_the_actions(monkeypatch):
    env = make_vec("Pong", 2)
    env.reset(7)
    env.step(torch.tensor([1, 2]))

    class Broken:
        def step(self, actions):
            raise RuntimeError("no cartridge")

    monkeypatch.setattr(env, "_games", Broken())
    said = r"environments 0 to 1 \(seeds 7 to 8\): raised RuntimeError: no cartridge.*, in step 2 .*, actions \[3 4\]$"
    with pytest.raises(EnvironmentFault, match=said):
        env.step(torch.tensor([3, 4]))


@pytest.mark.parametrize("name", ["Pong", "ALE/Pong-v5"])
def test_missing_ale_says_how_to_install_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(InputError, match=r"pip install 'gail-toolkit\[atari\]'"):
        make_vec(name, 1)


def test_console_seeds_are_never_negative_and_gymnasiums_where_those_are_not():
    for seed in range(50):
        theirs = int(np.random.SeedSequence(seed).generate_state(2)[1])
        assert console_seed(seed) == (theirs if theirs < 2**31 else theirs - 2**31)
