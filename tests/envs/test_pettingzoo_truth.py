"""Batches of PettingZoo environments against stepping them by hand, with the same seeds and actions."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch

from gail.agents.policy import MLPPolicy, RandomPolicy
from gail.envs import check_vec_env, make_vec
from gail.envs.multi_agent import episode_seed, make_multi_agent
from gail.envs.spaces import MaskedBox, space_from_json, space_to_json

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*render method without specifying"),
]

SEED = 11


def roms() -> str:
    import ale_py

    return str(Path(ale_py.__file__).parent / "roms")


ENVS = {
    "mpe2.simple_spread_v3": ({}, 60),
    "mpe2.simple_tag_v3": ({"continuous_actions": True, "max_cycles": 15}, 40),
    "mpe2.simple_adversary_v3": ({}, 30),
    "pettingzoo.butterfly.knights_archers_zombies_v11": ({"max_cycles": 150, "spawn_delay": 3}, 200),
    "pettingzoo.butterfly.cooperative_pong_v6": ({"max_cycles": 6}, 8),
    "pettingzoo.butterfly.pistonball_v6": ({"n_pistons": 3, "max_cycles": 6}, 8),
    "pettingzoo.atari.pong_v3": ({"obs_type": "grayscale_image", "max_cycles": 20}, 25),
}


@pytest.mark.parametrize("env_id", ENVS)
def test_every_step_is_what_pettingzoo_gives(env_id: str) -> None:
    kwargs, steps = ENVS[env_id]
    copies = 2
    env = make_multi_agent(env_id, copies, **kwargs)
    if env_id.startswith("pettingzoo.atari"):
        kwargs = {**kwargs, "auto_rom_install_path": roms()}
    by_hand = [importlib.import_module(env_id).parallel_env(**kwargs) for _ in range(copies)]
    episodes, ended_early = [0] * copies, 0
    current = [game.reset(seed=SEED + copy)[0] for copy, game in enumerate(by_hand)]
    obs = env.reset(SEED)
    generator = torch.Generator().manual_seed(3)
    policies = {name: RandomPolicy(g.observation_space, g.action_space) for name, g in env.groups.items()}
    for _ in range(steps):
        actions = {name: policy.act(obs[name], generator=generator).action for name, policy in policies.items()}
        batch = env.step(actions)
        for copy, game in enumerate(by_hand):
            acted = list(game.agents)
            place = {
                a: (name, copy * g.rows_per_env + i) for name, g in env.groups.items() for i, a in enumerate(g.agents)
            }
            assert all(
                np.array_equal(obs[n][row].numpy(), current[copy][a]) for a, (n, row) in place.items() if a in acted
            )
            chosen = {a: actions[n][row].numpy() for a, (n, row) in place.items() if a in acted}
            current[copy], rewards, terminated, truncated, _ = game.step(chosen)
            for agent, (name, row) in place.items():
                step = batch[name]
                assert bool(step.valid[row]) == (agent in acted)
                if agent in acted:
                    assert np.array_equal(step.next_obs[row].numpy(), current[copy][agent])
                    assert step.reward[row].item() == np.float32(rewards[agent])
                    assert (bool(step.terminated[row]), bool(step.truncated[row])) == (
                        terminated[agent],
                        truncated[agent],
                    )
                    ended_early += bool(game.agents) and terminated[agent]
            if not game.agents:
                episodes[copy] += 1
                if "zombies" in env_id:  # its spawn timer survives reset
                    game = by_hand[copy] = importlib.import_module(env_id).parallel_env(**kwargs)
                current[copy] = game.reset(seed=episode_seed(SEED + copy, episodes[copy]))[0]
        obs = {name: step.obs for name, step in batch.items()}
    assert min(episodes) >= 1, "the test never saw a reset"
    assert ended_early > 0 or "zombies" not in env_id, "the test never saw an agent die before the others"
    env.close()


@pytest.mark.parametrize("env_id", ["pettingzoo.classic.tictactoe_v3", "pettingzoo.classic.connect_four_v3"])
def test_a_board_game_is_what_its_turns_by_hand_give(env_id: str) -> None:
    env = make_vec(env_id, 1)
    game = importlib.import_module(env_id).env()
    game.reset(seed=SEED)
    obs, episode = env.reset(SEED), 0
    space = env.observation_space
    assert isinstance(space, MaskedBox)
    policy, generator = RandomPolicy(space, env.action_space), torch.Generator().manual_seed(5)
    for _ in range(60):
        action = policy.act(obs, generator=generator).action
        for row, agent in enumerate(game.possible_agents):
            seen = game.observe(agent)
            assert np.array_equal(obs[row, : -space.mask_size], seen["observation"].reshape(-1))
            turn = agent == game.agent_selection
            legal = seen["action_mask"] if turn else np.eye(space.mask_size)[0]
            assert np.array_equal(obs[row, -space.mask_size :], legal)
            assert legal[action[row]] == 1, "an illegal move was drawn"
        game.step(action[game.possible_agents.index(game.agent_selection)].item())
        step = env.step(action)
        assert step.valid.all()
        assert step.reward.tolist() == [game.rewards[a] for a in game.possible_agents]
        assert step.terminated.tolist() == [game.terminations[a] for a in game.possible_agents]
        for row, agent in enumerate(game.possible_agents):
            seen = game.observe(agent)["observation"]
            assert np.array_equal(step.next_obs[row, : -space.mask_size], seen.reshape(-1))
        if all(game.terminations.values()):
            episode += 1
            game.reset(seed=episode_seed(SEED, episode))
        obs = step.obs
    assert episode >= 2


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("mpe2.simple_spread_v3", {}),
        ("pettingzoo.butterfly.knights_archers_zombies_v11", {"max_cycles": 60}),
        ("pettingzoo.classic.tictactoe_v3", {}),
        ("pettingzoo.classic.rps_v2", {}),
    ],
)
def test_real_environments_keep_the_contract(env_id: str, kwargs: dict) -> None:
    env = make_vec(env_id, 2, **kwargs)
    assert check_vec_env(env, steps=50, factory=lambda copies: make_vec(env_id, copies, **kwargs)) == []


def test_a_policy_gives_illegal_actions_probability_zero_and_keeps_the_mask_through_a_file() -> None:
    env = make_vec("pettingzoo.classic.tictactoe_v3", 1)
    space = space_from_json(space_to_json(env.observation_space))
    assert space == env.observation_space
    policy = MLPPolicy(space, env.action_space, hidden=(8,))
    obs = env.reset(0)
    for move in (0, 4):
        obs = env.step(torch.tensor([move, move])).obs
    policy.normalizer.update(policy.encoder(obs).repeat(50, 1) + torch.randn(100, policy.encoder.size))
    params = policy.action_params(policy.features(obs))
    probabilities = params.softmax(dim=1)
    legal = obs[:, -9:] > 0
    assert legal[0].tolist() == [False, True, True, True, False, True, True, True, True]
    assert (probabilities[~legal] == 0).all() and (probabilities[legal] > 0).all()
    # Who waits has one legal action: nothing to learn from its log-probability.
    log_prob, entropy, _ = policy.evaluate(obs, torch.tensor([1, 0]))
    assert log_prob[1] == 0 and entropy[1] == 0 and torch.isfinite(entropy).all() and entropy[0] > 0
