"""Do our batched formulas still say what the installed Gymnasium class says? Asked before anything is played."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from gymnasium.utils.seeding import np_random

from gail.core.errors import InputError
from gail.envs.mujoco_batch import SimulationBatch
from gail.envs.mujoco_tasks import MujocoTask

PROBES = 12
"""States that are compared: enough to be on both sides of every healthy range, a few milliseconds of physics."""

_LOWEST, _HIGHEST = -0.5, 1.2
"""Offsets of the probes' positions (metres, radians): beyond the healthy ranges, mostly up, for the floor is below."""


class DefinitionsDiffer(InputError):
    """The installed Gymnasium class observes, rewards or ends otherwise than the formulas of this package."""


def make_task(env_id: str, make_env: Callable[[], Any], task_class: type[MujocoTask]) -> tuple[Any, MujocoTask]:
    """An instance of the Gymnasium class and its batched definitions, compared with the class.

    Resets from seeds, then single steps from states around the initial one, must agree bit for bit: observations,
    rewards, terminations, every entry of ``info``.

    Args:
        env_id: for messages.
        make_env: makes an instance of the class.
        task_class: the formulas of that id.

    Raises:
        DefinitionsDiffer: where they do not.
    """
    truth, env = make_env(), make_env()
    try:
        task = task_class(env)
        difference = _difference(truth, SimulationBatch(env, task, PROBES, threads=1), task)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        difference = f"{type(error).__name__}: {error}"
    if difference is not None:
        raise DefinitionsDiffer(
            f"{env_id}: the backend 'mujoco' does not fit the installed {type(truth).__name__} ({difference}); "
            "use the backend sync or async"
        )
    return env, task


def _difference(truth: Any, batch: SimulationBatch, task: MujocoTask) -> str | None:
    """The first thing that differs, in words, or None."""
    # Resets twice: of simulations that were never played, and of such that were.
    return (
        _reset_difference(truth, batch, task)
        or _step_difference(truth, batch, task)
        or _reset_difference(truth, batch, task)
    )


def _reset_difference(truth: Any, batch: SimulationBatch, task: MujocoTask) -> str | None:
    generators = [np_random(seed)[0] for seed in range(PROBES)]
    batch.start(range(PROBES), generators)
    first = task.observe(batch.fields)
    for seed in range(PROBES):
        obs, _ = truth.reset(seed=seed)
        if not _same(first[seed], obs):
            return f"the observation after reset(seed={seed})"
        if generators[seed].bit_generator.state != truth.np_random.bit_generator.state:
            return "how many random numbers a reset takes"
    return None


def _step_difference(truth: Any, batch: SimulationBatch, task: MujocoTask) -> str | None:
    draw = np.random.default_rng(0)
    scale = np.linspace(0.0, 1.0, PROBES)[:, None]
    qpos = batch.fields["qpos"] + scale * draw.uniform(_LOWEST, _HIGHEST, (PROBES, batch.model.nq))
    qvel = batch.fields["qvel"] + task.probe_speed * scale * draw.choice((-1, 1), (PROBES, batch.model.nv))
    space = truth.action_space
    actions = draw.uniform(space.low, space.high, (PROBES, *space.shape)).astype(np.float32)
    batch.set_positions(qpos, qvel)
    before = task.track(batch.fields)
    batch.advance(actions)
    after = task.track(batch.fields)
    reward, terminated, make_info = task.judge(before, after, batch.fields, actions)
    info = make_info()
    obs = task.observe(batch.fields)
    for row in range(PROBES):
        mujoco.mj_resetData(truth.model, truth.data)
        truth.set_state(qpos[row], qvel[row])
        expected = truth.step(actions[row])
        found = (obs[row], reward[row], False if terminated is None else terminated[row], False)
        for name, ours, theirs in zip(
            ("observation", "reward", "termination", "truncation"), found, expected[:4], strict=True
        ):
            if not _same(ours, theirs):
                return f"{name} after a step, in state {row} of {PROBES}: {theirs}, expected {ours}"
        if set(info) != set(expected[4]):
            return f"info has {', '.join(sorted(expected[4]))}, expected {', '.join(sorted(info))}"
        for name, values in info.items():
            if not _same(values[row], expected[4][name]):
                return f"info[{name!r}] after a step: {expected[4][name]}, expected {values[row]}"
    return None


def _same(ours: Any, theirs: Any) -> bool:
    return np.array_equal(np.asarray(ours), np.asarray(theirs), equal_nan=True)
