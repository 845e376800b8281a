"""The imitation game on a hand-made rollout: what the discriminator sees, and what the policy is paid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from gail.agents.policy import MLPPolicy
from gail.agents.ppo import PPOConfig
from gail.agents.rollout import Rollout
from gail.core.engine import Turn
from gail.core.random import seeded_initialization
from gail.demos.types import Demonstrations, Trajectory, to_transitions
from gail.envs.vec import Step, VecEnv
from gail.imitation.gail import GAIL, DiscriminatorConfig, GAILConfig, JudgedBatch

NO_TURNS = DiscriminatorConfig(hidden=(), updates_per_round=0)
PPO_CONFIG = PPOConfig(gamma=0.75, horizon=4, epochs=2, minibatch_size=8, learning_rate=0.02, hidden=(8,))
"""With gamma 3/4 a termination without a time limit is followed by 4 absorbing steps, worth 3 rewards."""


class Stub(VecEnv):
    """Spaces and a time limit; the rollouts are made by hand."""

    env_id, env_kwargs, num_envs = "Stub", {}, 2
    observation_space = gym.spaces.Box(-10.0, 10.0, (1,))
    action_space = gym.spaces.Discrete(2)
    device = torch.device("cpu")

    def __init__(self, max_episode_steps: int | None = None) -> None:
        self.max_episode_steps = max_episode_steps

    def reset(self, seed: int | None = None) -> Tensor:
        return torch.zeros(self.num_envs, 1)

    def step(self, actions: Tensor) -> Step:
        raise AssertionError("the rollouts are made by hand")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> Tensor:
        return self.reset()


def expert_demos(*, terminated: bool | None = False) -> Demonstrations:
    """Two episodes of 4 steps that observe 1, -1, 1, -1 (so that normalizing changes nothing) and act 0."""
    obs = np.array([[1.0], [-1.0], [1.0], [-1.0], [1.0]], np.float32)
    episode = Trajectory(obs, np.zeros(4, np.int64), None, terminated, None if terminated is None else not terminated)
    return Demonstrations((episode, episode))


def new_game(
    judge: DiscriminatorConfig = NO_TURNS,
    *,
    demos: Demonstrations | None = None,
    time_limit: int | None = None,
) -> GAIL:
    env, demos = Stub(time_limit), demos or expert_demos()
    with seeded_initialization(0, "policy"):
        policy = MLPPolicy(env.observation_space, env.action_space, hidden=(8,))
    generators = {name: torch.Generator().manual_seed(1) for name in ("actions", "shuffle", "judge")}
    config = GAILConfig(ppo=PPO_CONFIG, discriminator=judge)
    return GAIL(env, demos, to_transitions(demos), config, policy=policy, seed=0, generators=generators)


def matrix(*columns: list[float]) -> Tensor:
    """One list per environment to ``[T, N]``."""
    return torch.tensor(columns, dtype=torch.float32).T.contiguous()


NOTHING = matrix([0, 0, 0, 0], [0, 0, 0, 0])


def rollout(
    obs: Tensor,
    actions: Tensor,
    *,
    terminated: Tensor = NOTHING,
    truncated: Tensor = NOTHING,
    valid: Tensor | None = None,
    lengths: Tensor = NOTHING,
    rewards: Tensor = NOTHING,
) -> Rollout:
    return Rollout(
        obs=obs[..., None],
        samples=actions.long()[..., None],
        actions=actions.long(),
        next_obs=obs[..., None],
        rewards=rewards,
        terminated=terminated.bool(),
        truncated=truncated.bool(),
        valid=(torch.ones_like(obs) if valid is None else valid).bool(),
        finished_lengths=lengths.long(),
    )


def play(game: GAIL, data: Rollout, *, players: tuple[str, ...] = ("discriminator", "policy")) -> None:
    """One round on ``data``, training ``players`` only."""
    game.collector.collect = lambda policy: data  # type: ignore[method-assign]
    for turn in game.round():
        if turn.player in players:
            game.players[turn.player].step(turn.batch, turn.rows)


def paid(game: GAIL, data: Rollout) -> Tensor:
    """The rewards ``[T, N]`` that the policy's learner is given in a round on ``data``."""
    given = []

    def turns(_: Rollout, rewards: Tensor) -> Iterator[Turn]:
        given.append(rewards.clone())
        return iter(())

    game.ppo.turns = turns  # type: ignore[method-assign]
    play(game, data, players=())
    (rewards,) = given
    return rewards


def judge_by_hand(game: GAIL, *, obs: float, actions: tuple[float, float], absorbing: float) -> None:
    """Make logits ``obs * s + actions[a]`` of real rows and ``absorbing`` of the absorbing state."""
    (layer,) = game.discriminator.network
    mark = float(game.discriminator.absorbing_features()[0, -1])
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[obs, *actions, absorbing / mark]]))
        layer.bias.zero_()


# --- rewards -----------------------------------------------------------------------------------------------------

MIXED = rollout(
    obs=matrix([1, 2, 3, 4], [-1, -2, -3, -4]),
    actions=matrix([0, 1, 0, 1], [1, 1, 0, 0]),
    terminated=matrix([0, 1, 0, 0], [0, 0, 0, 1]),
    truncated=matrix([0, 0, 0, 1], [1, 0, 0, 0]),
    lengths=matrix([0, 2, 0, 2], [7, 0, 0, 3]),
    rewards=matrix([500, 500, 500, 500], [500, 500, 500, 500]),
)


def test_the_last_reward_of_a_terminated_episode_gains_the_value_of_the_absorbing_state() -> None:
    game = new_game()
    judge_by_hand(game, obs=1.0, actions=(0.5, -0.25), absorbing=-2.0)
    rewards = paid(game, MIXED)
    # Terminated rows alone gain gamma / (1 - gamma) * -2 = -6: 1.75 becomes -4.25 and -3.5 becomes -9.5.
    expected = matrix([1.5, -4.25, 3.5, 3.75], [-1.25, -2.25, -2.5, -9.5])
    assert torch.allclose(rewards, expected, atol=1e-5)


def test_an_absorbing_state_that_looks_like_the_expert_makes_ending_pay() -> None:
    game = new_game()
    judge_by_hand(game, obs=0.0, actions=(0.0, 0.0), absorbing=5.0)
    rewards = paid(game, MIXED)
    assert torch.allclose(rewards, 15.0 * MIXED.terminated, atol=1e-4)


def test_real_rows_and_the_absorbing_state_are_paid_by_the_same_formula() -> None:
    game = new_game(replace(NO_TURNS, reward="negative"))
    judge_by_hand(game, obs=0.0, actions=(0.0, 0.0), absorbing=0.0)
    rewards = paid(game, MIXED)
    # log D = -log 2 everywhere, and three times as much more at the terminations.
    expected = -0.6931472 * (1.0 + 3.0 * MIXED.terminated)
    assert torch.allclose(rewards, expected, atol=1e-5)
    assert game.round_metrics()["absorbing_reward"] == pytest.approx(-0.6931472, rel=1e-5)


def test_the_mean_reward_is_reported_without_the_absorbing_tail_and_over_played_rows() -> None:
    game = new_game()
    judge_by_hand(game, obs=1.0, actions=(0.0, 0.0), absorbing=-2.0)
    paid(game, replace(MIXED, valid=matrix([1, 1, 1, 0], [1, 1, 1, 1]).bool()))
    metrics = game.round_metrics()
    # 1 + 2 + 3 - 1 - 2 - 3 - 4 over the seven rows that were played.
    assert metrics["reward_imitation"] == pytest.approx(-4 / 7, rel=1e-5)
    assert metrics["absorbing_reward"] == pytest.approx(-2.0, rel=1e-5)


def test_demonstrations_with_unknown_ends_give_terminations_no_value() -> None:
    game = new_game(demos=expert_demos(terminated=None))
    judge_by_hand(game, obs=1.0, actions=(0.5, -0.25), absorbing=-2.0)
    expected = matrix([1.5, 1.75, 3.5, 3.75], [-1.25, -2.25, -2.5, -3.5])
    assert torch.allclose(paid(game, MIXED), expected, atol=1e-5)


@pytest.mark.parametrize("updates", [0, 3])
def test_the_environments_reward_changes_nothing(updates: int) -> None:
    first, second = (new_game(DiscriminatorConfig(hidden=(4,), updates_per_round=updates)) for _ in range(2))
    play(first, MIXED)
    play(second, replace(MIXED, rewards=torch.randn(4, 2, generator=torch.Generator().manual_seed(0)) * 100))
    for name, player in first.players.items():
        other = second.players[name].module.state_dict()
        for key, value in player.module.state_dict().items():
            assert torch.equal(value, other[key]), f"{name} {key}"


@pytest.mark.parametrize("liked", [0, 1])
def test_the_policy_moves_towards_what_the_discriminator_likes(liked: int) -> None:
    game = new_game()
    judge_by_hand(game, obs=0.0, actions=(1.0, -1.0) if liked == 0 else (-1.0, 1.0), absorbing=0.0)
    # The environment pays the other action.
    data = rollout(MIXED.obs[..., 0], MIXED.actions, rewards=10.0 * (MIXED.actions != liked))
    before = _probability(game, liked)
    for _ in range(5):
        play(game, data)
    assert _probability(game, liked) > before + 0.05


def _probability(game: GAIL, action: int) -> float:
    log_prob, _, _ = game.policy.evaluate(MIXED.obs.flatten(0, 1), torch.full((8,), action))
    return float(log_prob.detach().exp().mean())


# --- what the discriminator sees ---------------------------------------------------------------------------------

EXPERT, FAKE, UNPLAYED = 1.0, 3.0, 7.0
"""Absolute observations, by which rows are told apart; the absorbing row observes 0 and has a mark."""


def judged(*, expert_ends: bool | None, policy_ends: bool, time_limit: int | None = None) -> JudgedBatch:
    """All rows of a round of 8 x 256, in which every third row was not played."""
    judge = DiscriminatorConfig(hidden=(4,), updates_per_round=8, batch_size=256)
    game = new_game(judge, demos=expert_demos(terminated=expert_ends), time_limit=time_limit)
    valid = matrix([1, 1, 1, 0], [1, 0, 1, 1])
    ends = matrix([0, 0, 1, 0], [0, 0, 0, 1])
    data = rollout(
        obs=torch.where(valid.bool(), FAKE, UNPLAYED),
        actions=torch.ones(4, 2),
        terminated=ends if policy_ends else NOTHING,
        truncated=NOTHING if policy_ends else ends,
        valid=valid,
        lengths=3 * ends,
    )
    game.collector.collect = lambda policy: data  # type: ignore[method-assign]
    turns = [turn for turn in game.round() if turn.player == "discriminator"]
    assert len(turns) == 8
    assert all(turn.rows == len(turn.batch.expert) == len(turn.batch.generated) == 256 for turn in turns)
    return JudgedBatch(*(torch.cat([getattr(t.batch, n) for t in turns]) for n in ("expert", "generated", "mix")))


def is_absorbing(rows: Tensor) -> Tensor:
    return rows[:, -1] > 0


def test_expert_rows_are_the_experts_and_generated_rows_are_the_policys() -> None:
    rows = judged(expert_ends=False, policy_ends=False)
    assert bool((rows.expert[:, 0].abs() == EXPERT).all())
    assert bool((rows.generated[:, 0] == FAKE).all())
    # The one-hot actions: the expert plays 0, the policy 1.
    assert rows.expert[:, 1:3].unique(dim=0).tolist() == [[1.0, 0.0]]
    assert rows.generated[:, 1:3].unique(dim=0).tolist() == [[0.0, 1.0]]
    # Both kinds of the expert's rows are drawn, evenly.
    assert float(rows.expert[:, 0].mean()) == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize("ends", [False, True])
def test_rows_that_were_not_played_are_never_judged(ends: bool) -> None:
    rows = judged(expert_ends=ends, policy_ends=ends)
    assert not bool((rows.generated[:, 0] == UNPLAYED).any())


@pytest.mark.parametrize(
    ("expert_ends", "policy_ends", "time_limit", "expert", "generated"),
    [
        (False, False, None, 0.0, 0.0),
        # Two terminations in 8 expert steps, 4 absorbing steps each: 8 / 16.
        (True, False, None, 8 / 16, 0.0),
        # Two terminations in 6 played steps: 8 / 14.
        (False, True, None, 0.0, 8 / 14),
        # With a limit of 5 the expert (length 4) has 1 absorbing step left, the policy (length 3) 1 + 0.75.
        (True, True, 5, 2 / 10, 3.5 / 9.5),
        # Terminations at the limit itself leave none.
        (True, False, 4, 0.0, 0.0),
    ],
)
def test_each_side_has_its_own_share_of_absorbing_rows(
    expert_ends: bool, policy_ends: bool, time_limit: int | None, expert: float, generated: float
) -> None:
    rows = judged(expert_ends=expert_ends, policy_ends=policy_ends, time_limit=time_limit)
    # 2048 draws: a standard error of 0.011.
    for side, share in ((rows.expert, expert), (rows.generated, generated)):
        found = float(is_absorbing(side).float().mean())
        assert found == pytest.approx(share, abs=0.045)
        assert share > 0.0 or found == 0.0
        assert bool((side[is_absorbing(side)][:, :-1] == 0.0).all())


def test_demonstrations_with_unknown_ends_make_no_absorbing_rows_on_either_side() -> None:
    rows = judged(expert_ends=None, policy_ends=True)
    assert not bool(is_absorbing(rows.expert).any()) and not bool(is_absorbing(rows.generated).any())


def test_absorbing_rows_and_interpolates_are_drawn_independently() -> None:
    rows = judged(expert_ends=True, policy_ends=True)
    expert, generated, mix = is_absorbing(rows.expert), is_absorbing(rows.generated), rows.mix[:, 0]
    assert float((expert & generated).float().mean()) == pytest.approx(8 / 16 * 8 / 14, abs=0.045)
    assert 0.0 <= float(mix.min()) and float(mix.max()) < 1.0
    for side in (expert, generated):
        assert float(mix[side].mean()) == pytest.approx(0.5, abs=0.045)


# --- training ----------------------------------------------------------------------------------------------------


def trained(judge: DiscriminatorConfig, data: Rollout) -> tuple[Tensor, Tensor, Tensor, GAIL]:
    """Logits of the expert's and of the policy's rows when the policy's turns begin, its rewards, and the game."""
    game, seen = new_game(judge), []

    def turns(_: Rollout, rewards: Tensor) -> Iterator[Turn]:
        rows = [game.discriminator.features(part) for part in (to_transitions(expert_demos()), data.transitions())]
        logits = [game.discriminator.logits_expert_is_high(part).detach() for part in rows]
        seen.append((*logits, rewards.flatten(), game))
        return iter(())

    game.ppo.turns = turns  # type: ignore[method-assign]
    play(game, data)
    return seen[0]


def test_the_discriminator_learns_to_rate_the_expert_above_the_policy() -> None:
    judge = DiscriminatorConfig(hidden=(8,), updates_per_round=50, batch_size=16, learning_rate=0.02)
    expert, generated, _, game = trained(judge, rollout(torch.full((4, 2), FAKE), torch.ones(4, 2)))
    assert float(expert.min()) > 0.5 and float(generated.max()) < -0.5
    metrics = game.players["discriminator"].read_metrics()
    assert metrics["discriminator/logit_expert"] > metrics["discriminator/logit_generated"]


def test_the_policy_is_paid_by_the_discriminator_that_has_just_been_trained() -> None:
    judge = DiscriminatorConfig(hidden=(4,), updates_per_round=5, learning_rate=0.05)
    _, generated, rewards, _ = trained(judge, rollout(MIXED.obs[..., 0], MIXED.actions))
    assert torch.allclose(rewards, generated, atol=1e-6)


def test_a_discriminator_without_updates_stays_as_it_was() -> None:
    game = new_game()
    before = {name: value.clone() for name, value in game.discriminator.state_dict().items()}
    play(game, MIXED)
    for name, value in game.discriminator.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_round_without_a_played_row_teaches_no_one() -> None:
    """A group of agents can wait for a whole rollout."""
    game = new_game(DiscriminatorConfig(hidden=(4,)))
    networks = {name: [p.clone() for p in player.parameters] for name, player in game.players.items()}
    play(game, replace(MIXED, valid=torch.zeros_like(MIXED.valid)))
    for name, before in networks.items():
        assert all(torch.equal(a, b) for a, b in zip(game.players[name].parameters, before, strict=True)), name


def test_a_round_counts_the_steps_of_all_environments() -> None:
    game = new_game()
    play(game, MIXED)
    play(game, MIXED)
    assert game.steps == 2 * 4 * 2
