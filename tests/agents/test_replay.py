"""Replay: what is drawn is what happened, bit for bit, across episodes, environments and the ring's seam."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from gail.agents.replay import Replay
from gail.agents.rollout import Rollout
from gail.core.errors import InputError

VECTOR = gym.spaces.Box(-np.inf, np.inf, (2,), np.float32)
STACK = gym.spaces.Box(0, 255, (4, 6, 5), np.uint8)
GAMMA = 0.9


def replay(space: gym.Space, envs: int, **options: Any) -> Replay:
    settings = {"capacity": 1000 * envs, "n_step": 3, "gamma": GAMMA, "alpha": 0.0, "stacked": True}
    return Replay(space, envs, **{**settings, **options})


def rollout(obs: Tensor, next_obs: Tensor, rewards: Tensor, terminated: Tensor, truncated: Tensor) -> Rollout:
    """Everything ``[T, N, ...]``; the sample of step t is t."""
    steps, envs = rewards.shape
    return Rollout(
        obs=obs,
        samples=torch.arange(steps)[:, None, None].expand(steps, envs, 1),
        actions=torch.zeros(steps, envs),
        next_obs=next_obs,
        rewards=rewards,
        terminated=terminated,
        truncated=truncated,
        valid=torch.ones(steps, envs, dtype=torch.bool),
        finished_lengths=torch.zeros(steps, envs, dtype=torch.int64),
    )


def part(data: Rollout, steps: slice) -> Rollout:
    return Rollout(**{name: value[steps] for name, value in vars(data).items()})


def counted(steps: int, envs: int, ends: dict[tuple[int, int], str]) -> Rollout:
    """Environment e at step t observes ``(10 t, e)`` and is paid ``10 t + e``; its successor is ``(10 t + 1, e)``."""
    time = torch.arange(steps, dtype=torch.float32)[:, None].expand(steps, envs) * 10.0
    which = torch.arange(envs, dtype=torch.float32).expand(steps, envs)
    obs = torch.stack([time, which], dim=2)
    next_obs = obs + torch.tensor([10.0, 0.0])
    flags = {kind: torch.zeros(steps, envs, dtype=torch.bool) for kind in ("terminated", "truncated")}
    for (t, e), kind in ends.items():
        flags[kind][t, e] = True
        next_obs[t, e, 0] = 10.0 * t + 1.0
    return rollout(obs, next_obs, time + which, **flags)


def draw_all(memory: Replay, count: int = 4096, **options: Any) -> dict[tuple[int, int], dict[str, Any]]:
    """What is drawn, by (step, environment)."""
    batch = memory.draw(count, beta=1.0, generator=torch.Generator().manual_seed(0), **options)
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for i in range(count):
        step, env = int(batch.samples[i, 0]), int(batch.rows[i] // memory.length)
        rows[step, env] = {name: getattr(batch, name)[i] for name in ("obs", "returns", "next_obs", "discount")}
    return rows


def test_n_step_targets_by_hand() -> None:
    memory = replay(VECTOR, 2)
    data = counted(12, 2, {(4, 0): "terminated", (6, 1): "truncated"})
    memory.add(data, data.rewards)
    rows = draw_all(memory)
    # Environment 0: steps 0 to 4 end by termination, 5 to 11 go on; the last three lack a stored successor.
    plain = rows[1, 0]
    assert plain["obs"].tolist() == [10.0, 0.0] and plain["next_obs"].tolist() == [40.0, 0.0]
    assert float(plain["returns"]) == pytest.approx(10.0 + 0.9 * 20.0 + 0.81 * 30.0)
    assert float(plain["discount"]) == pytest.approx(0.9**3)
    for step, rewards in ((2, [20.0, 30.0, 40.0]), (3, [30.0, 40.0]), (4, [40.0])):
        row = rows[step, 0]
        assert float(row["returns"]) == pytest.approx(sum(r * 0.9**k for k, r in enumerate(rewards)))
        assert float(row["discount"]) == 0.0
    # Environment 1: cut at step 6, bootstraps from the true successor (61) and not from the next episode (70).
    for step, rewards in ((4, [41.0, 51.0, 61.0]), (5, [51.0, 61.0]), (6, [61.0])):
        row = rows[step, 1]
        assert row["next_obs"].tolist() == [61.0, 1.0]
        assert float(row["returns"]) == pytest.approx(sum(r * 0.9**k for k, r in enumerate(rewards)))
        assert float(row["discount"]) == pytest.approx(0.9 ** len(rewards))
    assert rows[7, 1]["obs"].tolist() == [70.0, 1.0]


@pytest.mark.parametrize("n_step", [1, 3, 5])
def test_every_step_with_a_known_future_is_drawn_and_no_other(n_step: int) -> None:
    memory = replay(VECTOR, 2, n_step=n_step)
    data = counted(30, 2, {(9, 0): "terminated", (10, 0): "terminated", (20, 1): "truncated", (29, 1): "terminated"})
    memory.add(data, data.rewards)
    rows = set(draw_all(memory, 20_000))
    assert len(rows) == len(memory)
    # One slot of environment 1 holds the last observation of the episode that has just ended.
    assert rows == {(t, 0) for t in range(30 - n_step)} | {(t, 1) for t in range(30 - n_step + 1)}


def test_a_full_ring_forgets_the_oldest_and_mixes_up_nothing() -> None:
    memory = replay(VECTOR, 3, capacity=3 * 40)
    generator = torch.Generator().manual_seed(2)
    ends = {
        (t, e): "truncated" for e in range(3) for t in range(200) if float(torch.rand((), generator=generator)) < 0.1
    }
    data = counted(200, 3, ends)
    # In pieces of seven, as a collector brings them.
    for t in range(0, 200, 7):
        piece = part(data, slice(t, t + 7))
        memory.add(piece, piece.rewards)
    rows = draw_all(memory, 5000)
    assert min(step for step, _ in rows) > 150 and len(rows) == len(memory) > 80
    for (step, env), row in rows.items():
        assert row["obs"].tolist() == [10.0 * step, float(env)]
        taken = next((k + 1 for k in range(3) if (step + k, env) in ends), 3)
        assert float(row["returns"]) == pytest.approx(
            sum((10.0 * (step + k) + env) * 0.9**k for k in range(taken)), rel=1e-6
        )
        assert row["next_obs"].tolist()[0] == 10.0 * (step + taken - 1) + (
            1.0 if (step + taken - 1, env) in ends else 10.0
        )


def frames(steps: int, envs: int, *, repeats: bool) -> Rollout:
    """Random frames in stacks of four, episodes that end at random, histories before a start by the given rule."""
    generator = torch.Generator().manual_seed(4)

    def frame() -> Tensor:
        return torch.randint(0, 256, STACK.shape[1:], dtype=torch.uint8, generator=generator)

    def start() -> Tensor:
        first = frame()
        return torch.stack([first if repeats else torch.zeros_like(first)] * 3 + [first])

    now = [start() for _ in range(envs)]
    columns: dict[str, list[Any]] = {"obs": [], "next_obs": [], "ended": []}
    for _ in range(steps):
        after = [torch.cat([stack[1:], frame()[None]]) for stack in now]
        ended = torch.rand(envs, generator=generator) < 0.15
        for name, value in (("obs", torch.stack(now)), ("next_obs", torch.stack(after)), ("ended", ended)):
            columns[name].append(value)
        now = [start() if bool(ended[e]) else after[e] for e in range(envs)]
    obs, next_obs, ended = (torch.stack(columns[name]) for name in ("obs", "next_obs", "ended"))
    return rollout(obs, next_obs, torch.zeros(steps, envs), torch.zeros_like(ended), ended)


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("capacity", [400, 90])
def test_stacks_are_put_together_bit_for_bit(capacity: int, repeats: bool) -> None:
    memory = replay(STACK, 2, capacity=capacity, n_step=1)
    assert memory.frames.shape[1:] == (6, 5)
    data = frames(100, 2, repeats=repeats)
    memory.add(data, data.rewards)
    rows = draw_all(memory)
    assert len(rows) == len(memory) > 50
    for (step, env), row in rows.items():
        assert torch.equal(row["obs"], data.obs[step, env])
        assert torch.equal(row["next_obs"], data.next_obs[step, env])


def test_what_is_no_stack_of_frames_is_refused_and_stored_whole_where_asked() -> None:
    data = frames(10, 2, repeats=False)
    broken = replace(data, next_obs=data.next_obs.flip(2))
    with pytest.raises(InputError, match=r"dqn\.stacked.*--dqn\.no-stacked"):
        replay(STACK, 2).add(broken, data.rewards)
    whole = replay(STACK, 2, stacked=False, n_step=1)
    whole.add(broken, data.rewards)
    for (step, env), row in draw_all(whole).items():
        assert torch.equal(row["obs"], broken.obs[step, env])


def test_a_million_frames_take_less_than_seven_and_a_half_gigabytes() -> None:
    memory = replay(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), 1, capacity=1000)
    black = torch.zeros(1, 1, 4, 84, 84, dtype=torch.uint8)
    never = torch.zeros(1, 1, dtype=torch.bool)
    memory.add(rollout(black, black, torch.zeros(1, 1), never, never), torch.zeros(1, 1))
    assert 84 * 84 * 1_000_000 < memory.nbytes * 1000 < 7_500_000_000
    held = (value for value in vars(memory).values() if isinstance(value, Tensor | np.ndarray))
    assert sum(value.nbytes for value in held if len(value) >= 1000) + memory.priorities.values.nbytes == memory.nbytes


def test_rows_that_were_not_played_are_not_stored() -> None:
    memory = replay(VECTOR, 2, n_step=1)
    data = counted(10, 2, {(4, 0): "terminated"})
    valid = data.valid.clone()
    valid[5, 0] = False  # the reset row after an end
    valid[3:5, 1] = False  # an absence in the middle: no transition may reach across it
    data = replace(data, valid=valid)
    memory.add(data, data.rewards)
    rows = set(draw_all(memory))
    assert {t for t, e in rows if e == 0} == {0, 1, 2, 3, 4, 6, 7, 8}
    assert {t for t, e in rows if e == 1} == {0, 1, 5, 6, 7, 8}


def test_nothing_reaches_across_a_cut() -> None:
    memory = replay(VECTOR, 2, n_step=3)
    for _ in range(2):
        data = counted(6, 2, {})
        memory.add(data, data.rewards)
        memory.cut(np.array([True, False]))
    rows = draw_all(memory)
    assert {t for t, e in rows if e == 0} == {0, 1, 2}
    assert {t for t, e in rows if e == 1} == {0, 1, 2, 3, 4, 5}


def test_priorities_decide_what_is_drawn_and_weights_make_up_for_it() -> None:
    memory = replay(VECTOR, 1, n_step=1, alpha=0.5)
    data = counted(5, 1, {})
    memory.add(data, data.rewards)
    memory.set_priorities(np.arange(4), np.array([1.0, 4.0, 9.0, 16.0]))
    batch = memory.draw(10_000, beta=1.0, generator=torch.Generator().manual_seed(0))
    shares = np.bincount(batch.rows, minlength=4) / 10_000
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=1e-3)
    # 1 / (share * rows), the largest one 1: relative to row 0.
    weights = [float(batch.weight[np.flatnonzero(batch.rows == row)[0]]) for row in range(4)]
    assert weights == pytest.approx([1.0, 1 / 2, 1 / 3, 1 / 4], rel=1e-5)
    # What comes in new is drawn like the most surprising so far.
    memory.add(data, data.rewards)
    assert memory.priorities.values[4:8].tolist() == pytest.approx([4.0] * 4, rel=1e-5)
    uniform = replay(VECTOR, 1, n_step=1, alpha=0.0)
    uniform.add(data, data.rewards)
    uniform.set_priorities(np.arange(4), np.array([1.0, 4.0, 9.0, 16.0]))
    batch = uniform.draw(8, beta=0.4, generator=torch.Generator().manual_seed(0))
    assert np.bincount(batch.rows).tolist() == [2, 2, 2, 2] and batch.weight.tolist() == [1.0] * 8


@pytest.mark.parametrize("steps", [30, 130])
def test_a_restored_replay_draws_and_goes_on_the_same(steps: int) -> None:
    data = frames(steps + 20, 2, repeats=True)
    first, rest = (
        Rollout(**{k: v[part] for k, v in vars(data).items()}) for part in (slice(steps), slice(steps, None))
    )
    memory = replay(STACK, 2, capacity=200, alpha=0.7)
    memory.add(first, first.rewards)
    memory.set_priorities(np.flatnonzero(memory.priorities.values)[:7], np.arange(7.0))
    other = replay(STACK, 2, capacity=200, alpha=0.7)
    other.load_state_dict(memory.state_dict())
    for each in (memory, other):
        each.add(rest, rest.rewards)
    ours, theirs = (m.draw(64, beta=0.5, generator=torch.Generator().manual_seed(1)) for m in (memory, other))
    for name, value in vars(ours).items():
        assert np.array_equal(value, getattr(theirs, name))


def test_too_small_a_replay_is_refused() -> None:
    with pytest.raises(InputError, match=r"buffer_size: 20 for 2 environments, expected at least 32"):
        replay(STACK, 2, capacity=20)


def test_an_episode_that_was_running_before_is_stored_with_the_past_that_its_stack_shows() -> None:
    data = frames(30, 2, repeats=False)
    whole = torch.ones(2, dtype=torch.bool).numpy()
    start = next(t for t in range(4, 20) if not bool(data.truncated[t - 2 : t + 1].any()))
    memory, rest = replay(STACK, 2, n_step=1), part(data, slice(start, None))
    memory.go_on(whole, rest.obs[0])
    memory.add(rest, rest.rewards)
    rows = draw_all(memory)
    assert {(start, 0), (start, 1)} <= rows.keys()
    for (step, env), row in rows.items():
        assert torch.equal(row["obs"], data.obs[step, env]) and torch.equal(row["next_obs"], data.next_obs[step, env])


def test_all_that_can_be_drawn_as_single_steps() -> None:
    memory = replay(VECTOR, 2)
    data = counted(12, 2, {(4, 0): "terminated", (6, 1): "truncated"})
    memory.add(data, data.rewards)
    rows = memory.transitions()
    found = {
        (int(obs[0] / 10), int(obs[1])): (float(successor[0]), float(reward), bool(ended), int(sample))
        for obs, successor, reward, ended, sample in zip(
            rows.obs, rows.next_obs, rows.rewards, rows.terminated, rows.actions, strict=True
        )
    }
    # The last three steps have no three successors yet and cannot be drawn.
    assert set(found) == {(t, e) for t in range(9) for e in range(2)}
    for (t, e), (successor, reward, ended, sample) in found.items():
        last = (t, e) in ((4, 0), (6, 1))
        assert (successor, reward, sample) == (10.0 * t + (1.0 if last else 10.0), 10.0 * t + e, t)
        assert ended == ((t, e) == (4, 0)), "a truncated episode goes on"
