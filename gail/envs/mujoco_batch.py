"""N simulations of one MuJoCo model: started, advanced and read together."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any

import mujoco
import numpy as np

from gail.envs.mujoco_tasks import Array, Fields, MujocoTask
from gail.envs.mujoco_team import StepTeam
from gail.envs.mujoco_warnings import take_warnings

_INTEGRATION = mujoco.mjtState.mjSTATE_INTEGRATION


class SimulationBatch:
    """A ``mujoco.MjData`` per simulation, and the table of what a task reads from all of them.

    Attributes:
        fields: the current values ``[N, size]`` by name; every method makes new ones.
        shapes: the shapes of what :meth:`save` returns, by name.
        warned: what MuJoCo warned of since it was last taken (:meth:`take_warnings`).
    """

    def __init__(self, env: Any, task: MujocoTask, count: int, threads: int) -> None:
        """Make ``count`` simulations of ``env.model``.

        Args:
            env: an instance of the Gymnasium class, from now on used for the draws of resets only.
            task: what to read.
            count: N.
            threads: how many advance them.
        """
        self.model: Any = env.model
        self.datas = [mujoco.MjData(self.model) for _ in range(count)]
        self._team = StepTeam(
            self.model, self.datas, env.frame_skip, contact_forces=task.reads_contact_forces, threads=threads
        )
        self._resets = _ResetDraws(env)
        self.warned: list[str] = []
        self._controls = [data.ctrl for data in self.datas]
        # MjData's memory never moves, so the views are made once.
        views = [task.views(data) for data in self.datas]
        self._views = [list(row.values()) for row in views]
        self._all_views = [view for row in self._views for view in row]
        ends = np.cumsum([view.size for view in self._views[0]]).tolist()
        self._columns = {
            "state": slice(0, self.model.nq + self.model.nv),
            **{name: slice(end - views[0][name].size, end) for name, end in zip(views[0], ends, strict=True)},
        }
        self._show(np.zeros((count, ends[-1])))
        self._reads_contact_forces = task.reads_contact_forces
        self._initial = np.empty(mujoco.mj_stateSize(self.model, _INTEGRATION))
        mujoco.mj_getState(self.model, self.datas[0], self._initial, _INTEGRATION)
        self.shapes = {"physics": [count, self._initial.size], "fields": list(self._table.shape)}

    def _show(self, table: Array) -> None:
        self._table = table
        self.fields: Fields = {name: table[:, columns] for name, columns in self._columns.items()}

    def _read_all(self) -> None:
        self._show(np.concatenate(self._all_views).reshape(len(self.datas), -1))

    def start(self, rows: Iterable[int], generators: Sequence[np.random.Generator]) -> None:
        """Reset the simulations ``rows`` as the class's ``reset`` does, each with its own random generator."""
        self._show(self._table.copy())
        for row in rows:
            self._begin(row, *self._resets.draw(generators[row]))
            np.concatenate(self._views[row], out=self._table[row])

    def _begin(self, row: int, qpos: Array, qvel: Array) -> None:
        data = self.datas[row]
        # What mj_resetData does, a third of its time: mj_forward computes all other values but the contact forces.
        mujoco.mj_setState(self.model, data, self._initial, _INTEGRATION)
        if self._reads_contact_forces:
            data.cfrc_ext[:] = 0
        data.qpos[:], data.qvel[:] = qpos, qvel
        mujoco.mj_forward(self.model, data)

    def advance(self, actions: Array) -> None:
        """Advance every simulation by one step of the environment under ``actions`` ``[N, A]``."""
        deque(map(operator.setitem, self._controls, repeat(...), actions.astype(np.float64)), maxlen=0)
        outer = mujoco.get_mju_user_warning()
        mujoco.set_mju_user_warning(self.warned.append)
        try:
            self._team.step()
        finally:
            mujoco.set_mju_user_warning(outer)
        self._read_all()

    def take_warnings(self) -> dict[int, str]:
        """What MuJoCo warned of, by simulation; a diverged one was reset by it."""
        self.warned.clear()
        return take_warnings(self.datas)

    def set_positions(self, qpos: Array, qvel: Array) -> None:
        """Put the simulations into positions ``[N, nq]`` and velocities ``[N, nv]``; all else is as after a reset."""
        for row, (position, velocity) in enumerate(zip(qpos, qvel, strict=True)):
            self._begin(row, position, velocity)
        self._read_all()

    def save(self) -> tuple[Array, Array]:
        """Integration states ``[N, S]`` and all fields ``[N, F]``, some of which lag one substep behind."""
        states = np.empty(self.shapes["physics"])
        for data, state in zip(self.datas, states, strict=True):
            mujoco.mj_getState(self.model, data, state, _INTEGRATION)
        return states, self._table

    def load(self, states: Array, table: Array) -> None:
        """Go on from what :meth:`save` returned."""
        for data, state in zip(self.datas, states, strict=True):
            mujoco.mj_setState(self.model, data, state, _INTEGRATION)
            # Drawing reads derived values. The warm start stays as it was set: mj_forward has left it alone since
            # MuJoCo 3.5 at the latest.
            mujoco.mj_forward(self.model, data)
        self._show(table)


class _ResetDraws:
    """Initial positions and velocities, drawn by the ``reset_model`` of the class itself."""

    def __init__(self, env: Any) -> None:
        self._env = env
        env.set_state = self._keep
        env._get_obs = lambda: None

    def _keep(self, qpos: Array, qvel: Array) -> None:
        self._drawn = (qpos, qvel)

    def draw(self, generator: np.random.Generator) -> tuple[Array, Array]:
        self._env.np_random = generator
        self._env.reset_model()
        return self._drawn
