"""Gymnasium's MuJoCo environments as one batch in this process, bit-equal to the single ones.

Every environment is a ``mujoco.MjData``; a few threads advance them inside MuJoCo (:mod:`gail.envs.mujoco_team`), and
observations, rewards and terminations of the whole batch are array operations (:mod:`gail.envs.mujoco_tasks`). The
model, the frame skip, every constant and the draws of a reset come from one instance of the Gymnasium class; before
anything is played, the array operations are compared with that instance (:mod:`gail.envs.mujoco_truth`).
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import mujoco
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.utils.seeding import np_random
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.envs.chunk import rng_from_text, rng_to_text
from gail.envs.finite import bad_value
from gail.envs.mujoco_batch import SimulationBatch
from gail.envs.mujoco_tasks import TASKS, Array
from gail.envs.mujoco_team import available_processors
from gail.envs.mujoco_truth import make_task
from gail.envs.mujoco_warnings import without_known_deprecations
from gail.envs.rendering import prepare_headless, render_frame
from gail.envs.vec import State, Step, VecEnv


class _Info(Mapping[str, Tensor]):
    """The tensors of a step's ``info``, made when the first of them is read: training reads none."""

    def __init__(self, make: Callable[[], dict[str, Array]], to_device: Callable[[Array], Tensor]) -> None:
        self._make, self._to_device = make, to_device
        self._tensors: dict[str, Tensor] | None = None

    def _made(self) -> dict[str, Tensor]:
        if self._tensors is None:
            self._tensors = {name: self._to_device(values.copy()) for name, values in self._make().items()}
        return self._tensors

    def __getitem__(self, name: str) -> Tensor:
        return self._made()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._made())


class MujocoVecEnv(VecEnv):
    """``num_envs`` copies of one of Gymnasium's MuJoCo environments (:data:`gail.envs.mujoco_tasks.TASKS`)."""

    def __init__(
        self,
        spec: EnvSpec,
        num_envs: int,
        device: torch.device | str = "cpu",
        *,
        threads: int | None = None,
        max_episode_steps: int | Literal["spec"] | None = "spec",
        render_mode: str | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Make the batch; call :meth:`reset` before the first step.

        Args:
            spec: the registered environment (``gymnasium.spec(env_id)``), one of TASKS.
            num_envs: N.
            device: where the tensors of a step live.
            threads: how many advance the simulations, at least 1; None: one per available processor, at most N.
            max_episode_steps: the time limit; "spec" is the registered one, None is no limit.
            render_mode: "rgb_array" to allow :meth:`render`.
            env_kwargs: what else the Gymnasium class takes.

        Raises:
            InputError: on a keyword's impossible value.
            DefinitionsDiffer: where the installed Gymnasium class observes or rewards something else.
        """
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"{spec.id}: render_mode is {render_mode!r}, the backend 'mujoco' has 'rgb_array' only")
        if threads is not None and threads < 1:
            raise InputError(f"{spec.id}: threads is {threads}, expected at least 1")
        if render_mode is not None:
            prepare_headless()
        assert spec.entry_point is not None
        creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
        make = functools.partial(creator, **{**spec.kwargs, **env_kwargs, "render_mode": render_mode})
        with without_known_deprecations():
            self.template, self._task = make_task(spec.id, make, TASKS[spec.id])
        self.env_id = spec.id
        self.env_kwargs = dict(env_kwargs)
        if max_episode_steps == "spec":
            self.max_episode_steps = spec.max_episode_steps
        else:
            self.max_episode_steps = self.env_kwargs["max_episode_steps"] = max_episode_steps
        self.num_envs = num_envs
        self.device = torch.device(device)
        self.observation_space = self.template.observation_space
        self.action_space = self.template.action_space
        self.saves_state = True

        self._batch = SimulationBatch(
            self.template, self._task, num_envs, threads=threads or min(available_processors(), num_envs)
        )
        self._on_host = self.device.type == "cpu"
        self._generators: list[np.random.Generator] = []
        self._clock = 0
        self._start = np.zeros(num_envs, np.int64)
        # What a fault names: the seed each row was reset with, and its episode since then.
        self._seeds: list[int | None] = [None] * num_envs
        self._episodes = np.zeros(num_envs, np.int64)
        self._tracked: Array | None = None
        self._action_shape = torch.Size((num_envs, *(self.action_space.shape or ())))
        # No time limit cuts before the clock is there.
        self._next_cut = 0
        self._valid = torch.ones(num_envs, dtype=torch.bool, device=self.device)
        self._never = torch.zeros(num_envs, dtype=torch.bool, device=self.device)

    def _to_device(self, array: Array) -> Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._on_host else tensor.to(self.device)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere; see :meth:`VecEnv.reset`."""
        if seed is not None:
            self._seeds = [int(seed) + index for index in range(self.num_envs)]
            self._generators = [np_random(int(seed) + index)[0] for index in range(self.num_envs)]
        elif not self._generators:
            self._generators = [np_random()[0] for _ in range(self.num_envs)]
        self._batch.start(range(self.num_envs), self._generators)
        self._start[:] = self._clock
        self._episodes[:] = 0 if seed is not None else self._episodes + 1
        return self._look()

    def step(self, actions: Tensor) -> Step:
        """Play one step; see :meth:`VecEnv.step`. ``info`` holds what Gymnasium's does, in its precision.

        A simulation that diverges is reset by MuJoCo within the step, as under Gymnasium; a RuntimeWarning says so.

        Raises:
            InputError: where ``actions`` is not ``[N, A]``.
            EnvironmentFault: where an observation or a reward is NaN or infinite, or MuJoCo gives up; it does not say
                in which simulation, so all are named.
        """
        if not self._generators:
            raise RuntimeError(f"{self.env_id}: call reset before the first step")
        if actions.shape != self._action_shape:
            self._check_actions(actions)
        # Contiguous, because the order of a sum over a row follows from its layout.
        played = np.ascontiguousarray(actions.numpy(force=True), dtype=np.float32)
        task, batch = self._task, self._batch
        self._clock += 1
        try:
            batch.advance(played)
        except (mujoco.FatalError, mujoco.UnexpectedError) as error:
            raise self._fault_of_all(f"MuJoCo raised {type(error).__name__}: {error}", played) from error
        after = task.track(batch.fields)
        reward, terminated, info = task.judge(self._tracked, after, batch.fields, played)
        obs = next_obs = task.observe(batch.fields)
        if batch.warned:
            for row, text in batch.take_warnings().items():
                warned = self._fault(row, f"MuJoCo warns: {text}", played)
                warned.consequence = "where a simulation diverged, MuJoCo put it back into the model's initial state"
                warnings.warn(str(warned), RuntimeWarning, stacklevel=2)
        bad = bad_value(next_obs, "an observation") or bad_value(reward, "the reward")
        if bad is not None:
            raise self._fault(*bad, played)
        truncated = None
        if self.max_episode_steps is not None and self._clock >= self._next_cut:
            truncated = self._start <= self._clock - self.max_episode_steps
        ended = terminated if truncated is None else truncated if terminated is None else terminated | truncated
        if ended is not None and np.logical_or.reduce(ended):
            batch.start(np.flatnonzero(ended).tolist(), self._generators)
            self._start[ended] = self._clock
            self._episodes[ended] += 1
            after, obs = task.track(batch.fields), task.observe(batch.fields)
        if truncated is not None and self.max_episode_steps is not None:
            self._next_cut = int(self._start.min()) + self.max_episode_steps
        self._tracked = after
        next_tensor = self._to_device(next_obs)
        return Step(
            next_tensor if obs is next_obs else self._to_device(obs),
            next_tensor,
            self._to_device(reward.astype(np.float32)),
            self._never if terminated is None else self._to_device(terminated),
            self._never if truncated is None else self._to_device(truncated),
            self._valid,
            _Info(info, self._to_device),
        )

    def _fault(self, row: int, problem: str, actions: Array) -> EnvironmentFault:
        when = f"in step {self._clock - self._start[row]} of episode {self._episodes[row]} since that seed"
        return EnvironmentFault(self.env_id, problem, {row: self._seeds[row]}, when=when, action=actions[row])

    def _fault_of_all(self, problem: str, actions: Array) -> EnvironmentFault:
        if self.num_envs == 1:
            return self._fault(0, problem, actions)
        when = f"in steps {' '.join(map(str, self._clock - self._start))} of their episodes"
        return EnvironmentFault(self.env_id, problem, dict(enumerate(self._seeds)), when=when, action=actions)

    def set_physics_state(self, qpos: Tensor, qvel: Tensor) -> Tensor:
        """Put the simulations into given positions and velocities, inside their running episodes.

        Everything else (warm start, controls, time) is as after a reset, so that what follows depends on nothing
        that was played before.

        Args:
            qpos: ``[N, nq]``.
            qvel: ``[N, nv]``.

        Returns:
            The observations ``[N, D]`` of these states.

        Raises:
            InputError: where a shape is another one.
        """
        model = self._batch.model
        for name, value, size in (("qpos", qpos, model.nq), ("qvel", qvel, model.nv)):
            if list(value.shape) != [self.num_envs, size]:
                raise InputError(
                    f"{self.env_id}: {name} has shape {list(value.shape)}, expected {[self.num_envs, size]}"
                )
        if not self._generators:
            self.reset()
        self._batch.set_positions(*(value.detach().cpu().double().numpy() for value in (qpos, qvel)))
        return self._look()

    def set_physics_state_from_obs(self, obs: Tensor) -> Tensor:
        """Put the simulations into the states that observations ``[N, D]`` show; see :meth:`set_physics_state`.

        What they leave out is as in the model: the distance covered, the warm start (which moves the next state by
        what the solver leaves, about 1e-6), velocities beyond +-10 where the environment clips them.

        Returns:
            The observations of these states.

        Raises:
            InputError: where an observation does not list positions and velocities (Reacher, Pusher,
                InvertedDoublePendulum), or the shape is another one.
        """
        hidden, model = self._positions_hidden(), self._batch.model
        expected = [self.num_envs, *(self.observation_space.shape or ())]
        if list(obs.shape) != expected:
            raise InputError(f"{self.env_id}: obs has shape {list(obs.shape)}, expected {expected}")
        rows = obs.detach().cpu().double()
        left_out = torch.from_numpy(self._task.init_qpos[:hidden]).expand(self.num_envs, -1)
        qpos = torch.cat((left_out, rows[:, : model.nq - hidden]), dim=1)
        return self.set_physics_state(qpos, rows[:, model.nq - hidden :][:, : model.nv])

    def shows_state(self, obs: Tensor) -> Tensor:
        """Which of the observations ``[M, D]`` hold the whole state, ``[M]`` bool: those without a clipped velocity.

        Raises:
            InputError: where observations do not list positions and velocities.
        """
        hidden, clip = self._positions_hidden(), self._task.velocity_clip
        if clip is None:
            return torch.ones(len(obs), dtype=torch.bool, device=obs.device)
        model = self._batch.model
        velocities = obs[:, model.nq - hidden :][:, : model.nv]
        return (velocities.abs() < clip).all(dim=1)

    def _positions_hidden(self) -> int:
        if self._task.unobserved is None:
            raise InputError(f"{self.env_id}: observations do not list positions and velocities")
        return self._task.unobserved

    def _look(self) -> Tensor:
        """Observations of the simulations as they are, where the next step begins."""
        self._tracked = self._task.track(self._batch.fields)
        return self._to_device(self._task.observe(self._batch.fields))

    def state_dict(self) -> State:
        """The running episodes and the random streams.

        Leaves: ``physics`` ``[N, S]`` (MuJoCo's integration state: positions, velocities, warm start, controls,
        ...), ``fields`` ``[N, F]`` (what observations and the next reward read, derived values included),
        ``elapsed`` ``[N]`` int64, ``rng`` (N texts), ``seeds`` and ``episodes`` (what faults name).
        """
        if not self._generators:
            raise RuntimeError(f"{self.env_id}: call reset before state_dict")
        physics, fields = self._batch.save()
        return {
            "physics": torch.from_numpy(physics),
            "fields": torch.from_numpy(fields.copy()),
            "elapsed": torch.from_numpy(self._clock - self._start),
            "rng": [rng_to_text(generator.bit_generator.state) for generator in self._generators],
            "seeds": list(self._seeds),
            "episodes": torch.from_numpy(self._episodes.copy()),
        }

    def load_state_dict(self, state: State) -> Tensor:
        """Go on exactly where ``state`` was saved; returns the observations ``[N, D]``.

        Raises:
            InputError: where it was saved by another backend, for another model or number of environments.
        """
        for name, expected in self._batch.shapes.items():
            found = list(state[name].shape) if name in state else "nothing (another backend saved it)"
            if found != expected:
                raise InputError(f"{self.env_id}: the saved state holds {found} as {name!r}, expected {expected}")
        self._batch.load(state["physics"].cpu().numpy(), state["fields"].cpu().numpy().copy())
        self._clock = self._next_cut = 0
        self._start = -state["elapsed"].cpu().numpy()
        self._generators = [rng_from_text(text) for text in state["rng"]]
        if "seeds" in state:  # which states of before have not
            self._seeds = list(state["seeds"])
            self._episodes = state["episodes"].cpu().numpy().copy()
        return self._look()

    def render(self) -> list[np.ndarray]:
        """One RGB frame ``[H, W, 3]`` (uint8) per environment, drawn by Gymnasium's class.

        Raises:
            InputError: where ``render_mode="rgb_array"`` was not given.
        """
        if self.template.render_mode is None:
            raise InputError(f"{self.env_id}: was made without render_mode='rgb_array'")
        frames = []
        for data in self._batch.datas:
            mujoco.mj_copyData(self.template.data, self.template.model, data)
            frames.append(render_frame(self.template))
        return frames

    def close(self) -> None:
        """Close the renderer, where there is one."""
        self.template.close()
