"""Image demonstrations are cloned and scored by the rules that they were made by."""

import importlib
from dataclasses import replace

import pytest
import torch

from gail.agents import RandomPolicy, collect_demos, load_policy
from gail.demos import load_demos, save_demos
from gail.envs import make_vec
from gail.imitation.imitate import imitate
from gail.imitation.recipes import recipe

pytest.importorskip("ale_py")

RULES = {"repeat_action_probability": 0.0, "max_num_frames_per_episode": 60}


def test_pixels_from_a_file_are_cloned_and_the_policy_file_repeats_their_protocol(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("gail.agents.evaluate"), "RANDOM_EPISODES", 2)
    env = make_vec("Pong", 1, **RULES)
    noise = collect_demos(RandomPolicy(env.observation_space, env.action_space), "Pong", episodes=2, env_kwargs=RULES)
    # One action throughout: what there is to learn can be told from anything else.
    demos = replace(noise, trajectories=tuple(replace(t, actions=0 * t.actions + 3) for t in noise))
    config = recipe("ALE/Pong-v5")
    config = replace(config, algo="bc", evaluation_episodes=2, bc=replace(config.bc, steps=100, batch_size=4))
    file = save_demos(demos, tmp_path / "demos.npz")
    result = imitate("pong", file, config=config, out=tmp_path / "run", progress=False)
    loaded = load_policy(tmp_path / "run")
    assert loaded.env_id == result.summary["env_id"] == "ALE/Pong-v5"
    assert {name: loaded.env_kwargs[name] for name in RULES} == RULES and loaded.env_kwargs["frameskip"] == 4
    observations = torch.from_numpy(load_demos(file).trajectories[0].observations.copy())
    assert loaded.policy.act(observations, deterministic=True).action.eq(3).all()
    assert result.summary["return_mean"] is not None and result.summary["expert_return"] is not None
