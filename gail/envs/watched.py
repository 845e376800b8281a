"""A batch that somebody else wrote, with every step looked at: what it must not return is named with its moment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gail.core.errors import EnvironmentFault, InputError
from gail.core.leaves import Leaves, named_leaves
from gail.envs.deferred_faults import DeferredFaults
from gail.envs.finite import bad_value
from gail.envs.leaves import element_layout, leaf_spaces
from gail.envs.vec import State, Step, VecEnv
from gail.envs.wording import raised


def watched(env: VecEnv) -> VecEnv:
    """``env`` itself where this package wrote its class, which names its own faults; else watched."""
    return env if type(env).__module__.startswith("gail.") else WatchedVecEnv(env)


class WatchedVecEnv(VecEnv):
    """Plays ``env`` and passes on what it returns; see :class:`VecEnv`.

    Every method raises an EnvironmentFault where ``env`` raises, and :meth:`reset` and :meth:`step` also where a
    shape, dtype or device is not the contract's, or a value is NaN or infinite. On other devices than the processor
    such values are told up to 256 steps late, so that no step waits for the device.
    """

    def __init__(self, env: VecEnv) -> None:
        """Watch ``env``, which has all attributes of the contract."""
        self.env = env
        self.env_id, self.env_kwargs, self.num_envs, self.device = env.env_id, env.env_kwargs, env.num_envs, env.device
        self.rows_per_env, self.max_episode_steps = env.rows_per_env, env.max_episode_steps
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._follow()
        self._on_host = self.device.type == "cpu"
        self._later: DeferredFaults | None = None
        leaves = dict(named_leaves("", leaf_spaces(self.observation_space)))
        self._obs_layout = {name: _layout(self.num_envs, *element_layout(space)) for name, space in leaves.items()}
        self._seed: int | None = None
        self._clock = 0
        # Of each row: the episode since that seed, and the clock when it began.
        self._episode = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        self._start = torch.zeros_like(self._episode)

    def _follow(self) -> None:
        self.saves_state, self.worker_restarts = self.env.saves_state, self.env.worker_restarts

    def __getattr__(self, name: str) -> Any:
        """What else ``env`` has."""
        return getattr(self.__dict__["env"], name)

    def reset(self, seed: int | None = None) -> Tensor:
        """Start new episodes everywhere."""
        self._seed = self._seed if seed is None else int(seed)
        obs = self._call(lambda: self.env.reset(seed))
        self._episode = self._episode + 1 if seed is None else torch.zeros_like(self._episode)
        self._clock, self._start = 0, torch.zeros_like(self._start)
        self._look_at_first(obs)
        return obs

    def _look_at_first(self, obs: Leaves) -> None:
        if (wrong := self._misfit_of_obs(obs, "an observation from reset")) is not None:
            raise self._fault(wrong)
        if (bad := _bad_value("an observation from reset", obs)) is not None:
            raise self._fault(bad[1], row=bad[0])

    def step(self, actions: Tensor) -> Step:
        """Play one step."""
        self._check_actions(actions)
        self._clock += 1
        step = self._call(lambda: self.env.step(actions), actions)
        if (wrong := self._misfit(step)) is not None:
            raise self._fault(wrong, actions)
        if not self._on_host:
            if self._later is None:
                self._later = DeferredFaults(actions)
            seen = (step.next_obs, step.obs, step.reward)
            self._later.note(seen, self._clock - self._start, self._episode, actions)
            if self._later.due:
                self._raise_deferred()
        elif (bad := _bad_value("an observation", step.next_obs) or _bad_value("the reward", step.reward)) is not None:
            raise self._fault(bad[1], actions, bad[0])
        elif step.obs is not step.next_obs and (bad := _bad_value("an observation to go on from", step.obs)):
            raise self._fault(bad[1], actions, bad[0])
        ended = step.terminated | step.truncated
        self._episode = self._episode + ended
        self._start = torch.where(ended, self._clock, self._start)
        self.worker_restarts = self.env.worker_restarts
        return step

    def _call(self, play: Callable[[], Any], actions: Tensor | None = None) -> Any:
        try:
            return play()
        except (EnvironmentFault, InputError):
            raise
        except (Exception, SystemExit) as error:
            raise self._fault(f"raised {raised(error)}", actions) from error

    def _misfit(self, step: Any) -> str | None:
        """What is wrong with the layout of ``step``, in words; None where nothing is."""
        if not isinstance(step, Step):
            return f"returned {type(step).__name__} from step, expected a gail.envs.Step"
        for what, obs in (("obs", step.obs), ("next_obs", step.next_obs)):
            if (wrong := self._misfit_of_obs(obs, what)) is not None:
                return wrong
        rows = (self.num_envs,)
        for name, expected in _FLAGS.items():
            if (wrong := misfit(getattr(step, name), rows, expected, self.device)) is not None:
                return f"returned {name} of {wrong}, expected {expected} {list(rows)} on {self.device}"
        return None

    def _misfit_of_obs(self, obs: Any, what: str) -> str | None:
        parts = dict(named_leaves("", obs)) if isinstance(obs, Tensor | dict) else {"": obs}
        if parts.keys() != self._obs_layout.keys():
            found = _named(parts) if isinstance(obs, Tensor | dict) else type(obs).__name__
            return f"returned {what} of {found}, expected {_named(self._obs_layout)}"
        for name, (shape, dtype) in self._obs_layout.items():
            if (wrong := misfit(parts[name], shape, dtype, self.device)) is not None:
                expected = f"{dtype} {list(shape)} on {self.device}"
                return f"returned {what}{name and ' ' + name[1:]} of {wrong}, expected {expected}"
        return None

    def _raise_deferred(self) -> None:
        found = None if self._later is None else self._later.first()
        if found is not None:
            raise self._fault_at("returned NaN or infinity in an observation or the reward", *found)

    def _fault(self, problem: str, actions: Tensor | None = None, row: int | None = None) -> EnvironmentFault:
        """Of ``row``, or of all rows where it is not known which one it was."""
        if row is not None and actions is not None:
            step, episode = self._clock - int(self._start[row]), int(self._episode[row])
            return self._fault_at(problem, row, step, episode, actions[row].detach().cpu())
        return EnvironmentFault(
            self.env_id,
            problem,
            {i: self._seed_of(i) for i in (range(self.num_envs) if row is None else [row])},
            when="" if actions is None else f"in step {self._clock} since the last reset",
            action=None if actions is None else actions.detach().cpu().numpy(),
        )

    def _fault_at(self, problem: str, row: int, step: int, episode: int, action: Tensor) -> EnvironmentFault:
        when = f"in step {step} of episode {episode} since that seed"
        return EnvironmentFault(self.env_id, problem, {row: self._seed_of(row)}, when=when, action=action.numpy())

    def _seed_of(self, row: int) -> int | None:
        return None if self._seed is None else self._seed + row // self.rows_per_env

    def state_dict(self) -> State:
        """The state of ``env``, and what faults name."""
        self._raise_deferred()
        state = self._call(self.env.state_dict)
        self._follow()
        moment = {"seed": self._seed, "episode": self._episode.clone(), "elapsed": self._clock - self._start}
        return {"env": state, "moment": moment}

    def load_state_dict(self, state: State) -> Tensor:
        """Go on where ``state`` was saved."""
        obs = self._call(lambda: self.env.load_state_dict(state["env"]))
        self._follow()
        moment = state["moment"]
        self._seed, self._clock = moment["seed"], 0
        self._episode, self._start = moment["episode"].to(self.device), -moment["elapsed"].to(self.device)
        self._look_at_first(obs)
        return obs

    def restored(self) -> np.ndarray:
        """As of ``env``."""
        return self.env.restored()

    def render(self) -> list[np.ndarray]:
        """The frames of ``env``."""
        return self._call(self.env.render)

    def close(self) -> None:
        """Close ``env``."""
        self.env.close()


_FLAGS = {"reward": torch.float32, "terminated": torch.bool, "truncated": torch.bool, "valid": torch.bool}


def _bad_value(what: str, leaves: Leaves) -> tuple[int, str] | None:
    """As :func:`bad_value`, of each leaf."""
    for name, rows in named_leaves("", leaves):
        bad = bad_value(rows.detach().cpu().numpy(), f"{what}{name and ' ' + name[1:]}")
        if bad is not None:
            return bad
    return None


def _layout(rows: int, shape: tuple[int, ...], dtype: np.dtype) -> tuple[tuple[int, ...], torch.dtype]:
    return (rows, *shape), torch.from_numpy(np.empty(0, dtype)).dtype


def _named(parts: Any) -> str:
    names = [name[1:] for name in parts if name]
    return f"a dict with {', '.join(names)}" if names else "a tensor"


def misfit(value: Any, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> str | None:
    """What ``value`` is instead of, or None where it is, a tensor of that shape, dtype and kind of device."""
    if isinstance(value, Tensor):
        if value.shape == shape and value.dtype == dtype and value.device.type == device.type:
            return None
        return f"{value.dtype} {list(value.shape)} on {value.device}"
    return type(value).__name__
