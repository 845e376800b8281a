"""Rollouts and episode statistics on environments whose every number says where it comes from."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from gail.agents.policy import PolicyOutput
from gail.agents.rollout import Collector, EpisodeStats, Rollout
from gail.envs.vec import Step, VecEnv

LENGTHS = torch.tensor([3, 4])


class Counting(VecEnv):
    """Observes ``1000 * episode + t`` and pays ``t + 1``; environment 0 terminates after 3 steps, 1 is cut after 4.

    With ``rest`` every end is followed by a row that is not played, as in Gymnasium's NEXT_STEP mode; that row holds
    999 wherever it can.
    """

    env_id, env_kwargs, num_envs, max_episode_steps = "Counting", {}, 2, None
    observation_space = gym.spaces.Box(0.0, 1e6, (1,))
    action_space = gym.spaces.Discrete(100)
    device = torch.device("cpu")

    def __init__(self, *, rest: bool = False) -> None:
        self.rest = rest
        self.lost = np.zeros(2, dtype=bool)
        """Environments that cannot be restored."""
        self.seen: list[torch.Tensor] = []

    def _obs(self) -> torch.Tensor:
        return (1000.0 * self.episode + self.t)[:, None]

    def reset(self, seed: int | None = None) -> torch.Tensor:
        self.episode, self.t = torch.zeros(2), torch.zeros(2)
        self.resting = torch.zeros(2, dtype=torch.bool)
        return self._obs()

    def step(self, actions: torch.Tensor) -> Step:
        self.seen.append(actions)
        valid = ~self.resting
        self.t = self.t + valid
        reward, next_obs = self.t.clone(), self._obs()
        reward[~valid], next_obs[~valid] = 999.0, 999.0
        ended = valid & (self.t == LENGTHS)
        self.episode, self.t = self.episode + ended, self.t * ~ended
        self.resting = ended if self.rest else torch.zeros_like(ended)
        terminated = ended & torch.tensor([True, False])
        return Step(self._obs(), next_obs, reward, terminated, ended & ~terminated, valid)

    def state_dict(self) -> dict[str, Any]:
        return {"episode": self.episode, "t": self.t, "resting": self.resting}

    def load_state_dict(self, state: dict[str, Any]) -> torch.Tensor:
        lost = torch.from_numpy(self.lost)
        self.saves_state = not self.lost.any()
        self.episode, self.t, self.resting = state["episode"] * ~lost, state["t"] * ~lost, state["resting"] & ~lost
        return self._obs()

    def restored(self) -> np.ndarray:
        return ~self.lost


class Echo:
    """Draws the observation plus a half and acts with its last digit."""

    observation_space, action_space = Counting.observation_space, Counting.action_space

    def initial_state(self, n: int) -> None:
        return None

    def act(self, obs: torch.Tensor, state: None = None, **options: object) -> PolicyOutput:
        return PolicyOutput((obs[:, 0] % 10).long(), obs + 0.5)


def new_collector(horizon: int, *, rest: bool = False) -> Collector:
    return Collector(Counting(rest=rest), horizon=horizon, seed=0, generator=torch.Generator().manual_seed(0))


def columns(rows: torch.Tensor) -> list[list[float]]:
    """``[T, 2]`` or ``[T, 2, 1]`` as one list per environment."""
    return rows.reshape(len(rows), 2).T.tolist()


def test_successors_are_the_true_ones_also_where_an_episode_ends() -> None:
    rollout = new_collector(6).collect(Echo())
    assert columns(rollout.obs) == [[0, 1, 2, 1000, 1001, 1002], [0, 1, 2, 3, 1000, 1001]]
    assert columns(rollout.next_obs) == [[1, 2, 3, 1001, 1002, 1003], [1, 2, 3, 4, 1001, 1002]]


def test_each_end_is_flagged_with_its_kind_and_its_length() -> None:
    rollout = new_collector(6).collect(Echo())
    assert columns(rollout.terminated.int()) == [[0, 0, 1, 0, 0, 1], [0] * 6]
    assert columns(rollout.truncated.int()) == [[0] * 6, [0, 0, 0, 1, 0, 0]]
    assert columns(rollout.finished_lengths) == [[0, 0, 3, 0, 0, 3], [0, 0, 0, 4, 0, 0]]
    assert columns(rollout.rewards) == [[1, 2, 3, 1, 2, 3], [1, 2, 3, 4, 1, 2]]
    assert bool(rollout.valid.all())


def test_a_second_rollout_goes_on_where_the_first_stopped() -> None:
    collector = new_collector(2)
    collector.collect(Echo())
    rollout = collector.collect(Echo())
    assert columns(rollout.obs) == [[2, 1000], [2, 3]]
    # The length of an episode counts its steps in the rollout before.
    assert columns(rollout.finished_lengths) == [[3, 0], [0, 4]]
    assert collector.stats.metrics() == {"episodes": 2.0, "return_mean": (6 + 10) / 2, "length_mean": 3.5}


def test_actions_are_what_was_executed_and_samples_what_was_drawn() -> None:
    collector = new_collector(4)
    rollout = collector.collect(Echo())
    assert columns(rollout.actions) == [[0, 1, 2, 0], [0, 1, 2, 3]]
    assert columns(rollout.samples) == [[0.5, 1.5, 2.5, 1000.5], [0.5, 1.5, 2.5, 3.5]]
    assert torch.equal(torch.stack(collector.env.seen), rollout.actions)


def test_rows_that_were_not_played_are_marked_and_count_in_no_episode() -> None:
    collector = new_collector(9, rest=True)
    rollout = collector.collect(Echo())
    assert columns(rollout.valid.int()) == [[1, 1, 1, 0, 1, 1, 1, 0, 1], [1, 1, 1, 1, 0, 1, 1, 1, 1]]
    assert columns(rollout.finished_lengths) == [[0, 0, 3, 0, 0, 0, 3, 0, 0], [0, 0, 0, 4, 0, 0, 0, 0, 4]]
    assert list(collector.stats.finished) == [(6.0, 3), (10.0, 4), (6.0, 3), (10.0, 4)]


def test_transitions_are_the_same_rows_time_first() -> None:
    rows = new_collector(3).collect(Echo()).transitions()
    assert rows.obs[:, 0].tolist() == [0, 0, 1, 1, 2, 2]
    assert rows.next_obs[:, 0].tolist() == [1, 1, 2, 2, 3, 3]
    assert rows.actions.tolist() == [0, 0, 1, 1, 2, 2]
    assert rows.terminated.tolist() == [False] * 4 + [True, False]
    assert rows.rewards is not None and rows.rewards.tolist() == [1, 1, 2, 2, 3, 3]


def test_a_restored_collector_plays_on_in_the_middle_of_its_episodes() -> None:
    collector = new_collector(2)
    collector.collect(Echo())
    other = new_collector(2)
    other.load_state_dict(collector.state_dict())
    first, second = collector.collect(Echo()), other.collect(Echo())
    for name in Rollout.__dataclass_fields__:
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert other.stats.metrics() == {"episodes": 2.0, "return_mean": 8.0, "length_mean": 3.5}


def test_only_episodes_that_could_not_be_restored_leave_the_sums() -> None:
    collector = new_collector(2)
    collector.collect(Echo())
    other = new_collector(3)
    other.env.lost[0] = True
    other.load_state_dict(collector.state_dict())
    # Environment 0 starts anew and pays 1 + 2 + 3 in 3 steps, whatever it had before; 1 ends its episode of 4.
    assert columns(other.collect(Echo()).finished_lengths) == [[0, 0, 3], [0, 4, 0]]
    assert list(other.stats.finished) == [(10.0, 4), (6.0, 3)]


def test_a_resume_that_lost_an_episode_is_remembered_by_every_later_one() -> None:
    first, second, third = new_collector(2), new_collector(2), new_collector(2)
    first.collect(Echo())
    assert first.exact_resume
    second.env.lost[1] = True
    second.load_state_dict(first.state_dict())
    assert not second.exact_resume
    second.collect(Echo())
    third.load_state_dict(second.state_dict())
    assert third.env.saves_state and not third.exact_resume
    # An exact one leaves the run exact.
    other = new_collector(2)
    other.load_state_dict(first.state_dict())
    assert other.exact_resume


def test_backends_that_save_nothing_start_all_episodes_anew() -> None:
    env = Counting()
    env.saves_state = False
    assert not VecEnv.restored(env).any()


def add(stats: EpisodeStats, reward: list[float], ended: list[int], valid: list[int]) -> list[int]:
    return stats.add(np.array(reward), np.array(ended, dtype=bool), np.array(valid, dtype=bool)).tolist()


def test_rewards_and_steps_of_rows_that_were_not_played_are_not_counted() -> None:
    stats = EpisodeStats(2)
    assert add(stats, [1, 10], [0, 0], [1, 1]) == [0, 0]
    assert add(stats, [500, 20], [0, 1], [0, 1]) == [0, 2]
    assert add(stats, [2, 700], [1, 0], [1, 0]) == [2, 0]
    assert add(stats, [4, 40], [1, 1], [1, 1]) == [1, 1]
    assert list(stats.finished) == [(30.0, 2), (3.0, 2), (4.0, 1), (40.0, 1)]
    assert stats.metrics() == {"episodes": 4.0, "return_mean": 77 / 4, "length_mean": 1.5}


def test_episode_that_was_lost_counts_nowhere_and_the_next_starts_from_zero() -> None:
    stats = EpisodeStats(1)
    add(stats, [5], [0], [1])
    assert add(stats, [0], [1], [0]) == [0]
    assert add(stats, [2], [1], [1]) == [1]
    assert stats.metrics() == {"episodes": 1.0, "return_mean": 2.0, "length_mean": 1.0, "lost_episodes": 1.0}
    other = EpisodeStats(1)
    other.load_state_dict(stats.state_dict())
    assert other.metrics() == stats.metrics()


def test_means_are_absent_before_the_first_end() -> None:
    stats = EpisodeStats(1)
    add(stats, [3], [0], [1])
    assert stats.metrics() == {"episodes": 0.0}


def test_means_are_over_the_window_and_the_count_is_over_all() -> None:
    stats = EpisodeStats(1, window=2)
    for reward in (100.0, 1.0, 3.0):
        add(stats, [reward], [1], [1])
    assert stats.metrics() == {"episodes": 3.0, "return_mean": 2.0, "length_mean": 1.0}


def test_statistics_go_on_after_a_restart() -> None:
    stats, other = EpisodeStats(1), EpisodeStats(1)
    add(stats, [5], [1], [1])
    add(stats, [7], [0], [1])
    other.load_state_dict(stats.state_dict())
    add(other, [2], [1], [1])
    assert other.metrics() == {"episodes": 2.0, "return_mean": pytest.approx((5 + 9) / 2), "length_mean": 1.5}
    # The copy is a copy: the original still sums its own episode.
    assert stats.running_return.tolist() == [7.0]
