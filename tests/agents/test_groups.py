"""Agents that die or join in PPO's advantages; groups with a policy each: rollouts, scores, training, resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from gail.agents.collect import collect_demos
from gail.agents.evaluate import evaluate_policy
from gail.agents.expert import ExpertConfig, TrueReward
from gail.agents.group_expert import GroupReward, evaluate_group_run, train_group_experts
from gail.agents.groups import GroupCollector, evaluate_groups, load_policies
from gail.agents.policy import MLPPolicy, PolicyOutput, RandomPolicy, new_policy
from gail.agents.ppo import PPO, PPOConfig
from gail.agents.q_policy import QPolicy
from gail.agents.rollout import Collector
from gail.core.engine import train
from gail.core.errors import InputError
from gail.core.random import make_generator
from gail.demos import load_demos, save_demos
from gail.envs import make_vec
from gail.envs.multi_agent import make_multi_agent, make_shared

sys.path.insert(0, str(Path(__file__).parent.parent / "envs"))
from scripted_agents import Scripted

SPREAD = "mpe2.simple_spread_v3"


class Clock(Scripted):
    """Observes step + 1 and pays 1."""

    def observation_space(self, agent: str) -> spaces.Space:
        return self.space

    space = spaces.Box(0.0, 1e9, (1,), np.float32)

    def _obs(self, agent: str) -> np.ndarray:
        return np.array([self.t + 1], np.float32)

    def step(self, actions: dict) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, dict.fromkeys(rewards, 1.0), *rest


class Always:
    """Acts the same way everywhere."""

    def __init__(self, env: Any, action: int) -> None:
        self.observation_space, self.action_space, self.action = env.observation_space, env.action_space, action

    def initial_state(self, n: int) -> None:
        return None

    def act(self, obs: torch.Tensor, state: None = None, **options: object) -> PolicyOutput:
        action = torch.full((len(obs),), self.action)
        return PolicyOutput(action, action[:, None])


def test_advantages_of_agents_that_die_join_and_wait() -> None:
    env = make_shared(Clock, 1)
    rollout = Collector(env, horizon=6, seed=0, generator=torch.Generator()).collect(Always(env, 0))
    # The critic says the observation itself.
    policy = MLPPolicy(env.observation_space, env.action_space, hidden=(1,), activation="relu")
    for layer in (policy.critic[0], policy.critic[-1]):
        torch.nn.init.ones_(layer.weight), torch.nn.init.zeros_(layer.bias)
    config = PPOConfig(gamma=0.5, gae_lambda=0.5, epochs=1, minibatch_size=18)
    ppo = PPO(policy, config, torch.Generator().manual_seed(0))
    (turn,) = ppo.turns(rollout, rollout.rewards)
    order = torch.randperm(18, generator=torch.Generator().manual_seed(0))
    target = torch.empty(18)
    target[order] = ppo.scale.unscale(turn.batch.target)
    advantage = (target.view(6, 3) - rollout.obs[..., 0]).T
    # Lives as long as the episode, is cut at step 5 and bootstraps from its last observation 6:
    # deltas 1 + V' / 2 - V = 1, 0.5, 0, -0.5, -1, and A = delta + A' / 4; then step 1 of the next episode.
    assert advantage[0].tolist() == pytest.approx([1.11328125, 0.453125, -0.1875, -0.75, -1.0, 1.0], abs=1e-5)
    # Terminates at step 3: 1 - 3, nothing from its last observation; waits for two steps; plays again.
    assert advantage[1][[0, 1, 2, 5]].tolist() == pytest.approx([1.0, 0.0, -2.0, 1.0], abs=1e-5)
    # Joins for step 3, terminates at step 5: 1 - 5; waits in the next episode.
    assert advantage[2][2:5].tolist() == pytest.approx([-0.375, -1.5, -4.0], abs=1e-5)
    weight = torch.empty(18)
    weight[order] = turn.batch.weight
    assert weight.view(6, 3).T.tolist() == [[1] * 6, [1, 1, 1, 0, 0, 1], [0, 0, 1, 1, 1, 0]]
    assert turn.rows == 13


def test_returns_are_per_agent_episode() -> None:
    env = make_shared(Scripted, 1)
    collector = Collector(env, horizon=10, seed=0, generator=torch.Generator())
    collector.collect(Always(env, 0))
    # Agent 1: 110 + 120 + 130; agent 0: 10 + 20 + 30 + 40 + 50; agent 2: 230 + 240 + 250. Twice.
    assert list(collector.stats.finished) == [(360.0, 3), (150.0, 5), (720.0, 3)] * 2


def test_each_group_is_played_by_its_own_policy() -> None:
    env = make_multi_agent(Scripted, 2, wide=True)
    collector = GroupCollector(env, horizon=5, seed=0, generator=torch.Generator())
    rollouts = collector.collect({"a": Always(env.groups["a"], 1), "a-1": Always(env.groups["a-1"], 3)})
    assert (rollouts["a"].actions == 1).all() and (rollouts["a-1"].actions == 3).all()
    assert rollouts["a-1"].rewards.T.tolist() == [[113, 123, 133, 0, 0]] * 2
    assert rollouts["a"].obs.shape == (5, 4, 3) and rollouts["a-1"].obs.shape == (5, 2, 4)
    assert list(collector.stats["a-1"].finished) == [(369.0, 3)] * 2


def test_groups_are_scored_over_exactly_the_episodes_asked_for() -> None:
    env = make_multi_agent(Scripted, 2, wide=True)
    played = evaluate_groups({"a": Always(env.groups["a"], 0), "a-1": Always(env.groups["a-1"], 1)}, env, episodes=3)
    assert sorted(played["a"].returns) == [150.0] * 3 + [720.0] * 3
    assert played["a-1"].returns.tolist() == [363.0] * 3 and played["a-1"].lengths.tolist() == [3] * 3
    with pytest.raises(InputError, match="no policy for group 'a-1'"):
        evaluate_groups({"a": Always(env.groups["a"], 0)}, env, episodes=1)


def test_one_policy_per_group_is_trained_saved_and_scored(tmp_path: Path) -> None:
    config = ExpertConfig(steps=300, num_envs=2, evaluation_episodes=3, ppo=PPOConfig(horizon=25, hidden=(8,)))
    result = train_group_experts(
        "mpe2.simple_adversary_v3", config=config, out=tmp_path / "run", progress=False, env_kwargs={"max_cycles": 10}
    )
    assert set(result.policies) == {"adversary", "agent"}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 300 and {"adversary/loss", "agent/loss", "agent/return_mean"} <= lines[-1].keys()
    loaded = load_policies(tmp_path / "run")
    assert loaded.env_kwargs == {"max_cycles": 10}
    for name, policy in loaded.policies.items():
        assert all(
            torch.equal(a, b) for a, b in zip(policy.parameters(), result.policies[name].parameters(), strict=True)
        )
    scores = evaluate_group_run(tmp_path / "run", episodes=3)["groups"]
    assert scores == result.summary["groups"] and scores["agent"]["episodes"] == 6


@pytest.mark.parametrize(
    "env_id,env_kwargs,message",
    [
        ("my_env.py:MyEnv", {}, r"my_env\.py:MyEnv: there is no file my_env\.py"),
        ("Pong", {}, r"ALE/Pong-v5: makes no PettingZoo environment"),
        ("mpe2.simple_tag_v3", {"num_envs": 3}, "'num_envs' is no keyword of an environment"),
    ],
)
def test_what_is_no_pettingzoo_environment_is_refused_before_training(
    env_id: str, env_kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        train_group_experts(env_id, env_kwargs=env_kwargs, progress=False)


def new_game() -> GroupReward:
    env = make_multi_agent("mpe2.simple_tag_v3", 2, max_cycles=7)
    policies = {name: new_policy(group, 0, hidden=(8,)) for name, group in env.groups.items()}
    generators = {name: make_generator(0, name) for name in ("actions", "shuffle")}
    return GroupReward(env, PPOConfig(horizon=10, minibatch_size=16), policies=policies, seed=3, generators=generators)


def test_a_resumed_run_with_several_groups_equals_one_that_never_stopped(tmp_path: Path) -> None:
    options: dict[str, Any] = {"title": "", "progress": False, "checkpoints": 2}
    whole, killed, resumed = new_game(), new_game(), new_game()
    train(whole, total_steps=320, **options)
    play = killed.round

    def round_until_killed() -> Any:
        if killed.steps == 240:
            raise KeyboardInterrupt
        return play()

    killed.round = round_until_killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        train(killed, total_steps=320, directory=tmp_path, **options)
    train(resumed, total_steps=320, directory=tmp_path, resume=True, **options)
    assert resumed.exact_resume and resumed.steps == 320
    for name in whole.policies:
        for a, b in zip(whole.policies[name].parameters(), resumed.policies[name].parameters(), strict=True):
            assert torch.equal(a, b)


def test_ppo_never_plays_an_illegal_move() -> None:
    env = make_vec("pettingzoo.classic.tictactoe_v3", 4)
    policy = new_policy(env, 0, hidden=(8,))
    generators = {name: make_generator(0, name) for name in ("actions", "shuffle")}
    config = PPOConfig(horizon=20, learning_rate=1e-2, entropy_coef=0.1)
    game = TrueReward(env, config, policy=policy, seed=0, generators=generators)
    seen = []
    collect = game.collector.collect
    game.collector.collect = lambda policy: seen.append(collect(policy)) or seen[-1]  # type: ignore[method-assign]
    train(game, total_steps=640, title="", progress=False)
    assert len(seen) == 4
    for rollout in seen:
        legal = rollout.obs[..., -9:].gather(-1, rollout.samples)
        assert legal.bool().all()


def test_demonstrations_hold_one_trajectory_per_agent_life() -> None:
    demos = collect_demos(RandomPolicy(*spaces_of(SPREAD)), SPREAD, episodes=2, env_kwargs={"max_cycles": 5}, seed=40)
    assert [(t.agent, t.seed, len(t), t.truncated) for t in demos] == [
        (f"agent_{i}", seed, 5, True) for seed in (40, 41) for i in range(3)
    ]


def spaces_of(env_id: str) -> tuple[spaces.Space, spaces.Space]:
    env = make_vec(env_id, 1)
    env.close()
    return env.observation_space, env.action_space


def test_the_agents_of_a_file_come_back(tmp_path: Path) -> None:
    demos = collect_demos(RandomPolicy(*spaces_of(SPREAD)), SPREAD, episodes=1, env_kwargs={"max_cycles": 3})
    read = load_demos(save_demos(demos, tmp_path / "demos.npz"))
    assert [t.agent for t in read] == ["agent_0", "agent_1", "agent_2"] and read.env_id == SPREAD
    for ours, theirs in zip(demos, read, strict=True):
        assert np.array_equal(ours.observations, theirs.observations)


def test_lives_in_a_row_start_and_stop_with_the_agent() -> None:
    env = make_shared(Scripted, 2)  # of which one copy is used
    demos = collect_demos(Always(env, 0), env, episodes=1, seed=9)
    lives = [(t.agent, t.observations[:, 1].tolist(), t.terminated, t.truncated, t.total_reward) for t in demos]
    assert lives == [
        ("a_0", [0, 1, 2, 3, 4, 5], False, True, 150.0),
        ("a_1", [0, 1, 2, 3], True, False, 360.0),
        ("a_2", [2, 3, 4, 5], True, False, 720.0),
    ]
    assert all((t.observations[:, 0] == 9).all() for t in demos)


def test_dqn_is_refused_where_actions_are_masked() -> None:
    with pytest.raises(InputError, match="action mask are not supported by dqn"):
        QPolicy(*spaces_of("pettingzoo.classic.tictactoe_v3"))


def test_scored_episodes_come_from_as_many_environments_as_there_are() -> None:
    env = make_shared(Scripted, 4)
    # One agent of each copy, another one in the next: a_0, a_1, a_2, a_0.
    assert evaluate_policy(Always(env, 0), env, episodes=4).returns.tolist() == [150.0, 360.0, 720.0, 150.0]
    assert sorted(evaluate_policy(Always(env, 0), env, episodes=12).returns) == [150.0] * 4 + [360.0] * 4 + [720.0] * 4


class EndlessCopy(Clock):
    """The first one that is made ends as usual, the others never do."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        self.endless = EndlessCopy.made > 0
        EndlessCopy.made += 1

    def step(self, actions: dict) -> Any:
        self.t = 0 if self.endless else self.t
        return super().step(actions)


def test_a_copy_without_an_end_is_not_waited_for_while_another_starts_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gail.agents.groups.MAX_EPISODE_STEPS", 40)
    env = make_multi_agent(EndlessCopy, 2)
    (name, group), *_ = env.groups.items()
    with pytest.raises(InputError, match="no episode ended in 40 steps"):
        evaluate_groups({name: Always(group, 0)}, env, episodes=2)
