"""PettingZoo: from a module's path to one environment whose agents all move at once, with plain arrays.

The id is the path of a module that has ``parallel_env`` or ``env``, as PettingZoo's documentation writes it:
``mpe2.simple_spread_v3``, ``pettingzoo.butterfly.pistonball_v6``, ``my_package.my_env_v0``.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from gail.core.errors import InputError
from gail.envs.chunk import RowFault
from gail.envs.ids import is_module_path
from gail.envs.rendering import prepare_headless
from gail.envs.resolve import Agents, CustomSpec, UnknownEnvironment, callable_id, is_pettingzoo, resolve
from gail.envs.spaces import MaskedBox
from gail.envs.wording import described

Maker = Callable[..., Any]
"""Takes an environment's keywords and makes one PettingZoo environment, parallel or AEC."""


class PettingZooEnv(Protocol):
    """What a PettingZoo ``ParallelEnv`` or ``AECEnv`` has, of which this package needs no types."""

    possible_agents: list[Any]
    agents: list[Any]

    def close(self) -> Any:
        """Free what it holds."""


Source = str | Callable[..., Any] | PettingZooEnv | Agents
"""A name of a PettingZoo environment, what makes one from keywords, or one itself."""
_LEAKY = re.compile(r"pettingzoo\.butterfly\.knights_archers_zombies\w*")
"""Modules whose environments carry state from one episode into the next, so that a seed does not repeat an episode."""
_RESULT = "five dicts (observations, rewards, terminations, truncations, infos)"
_INSTALL = "install it with: pip install 'gail-toolkit[multiagent]'"


def find_maker(env_id: str) -> Maker:
    """The function behind an id.

    Raises:
        InputError: where ``env_id`` is no module's path, the module or a package that it needs is missing, or it makes
            no environment.
    """
    if not all(part.isidentifier() for part in env_id.split(".")):
        raise InputError(f"{env_id}: expected the path of a module (package.module) with parallel_env or env")
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    prepare_headless()  # some environments draw their observations
    try:
        with warnings.catch_warnings():
            # PettingZoo's modules ask for its own registry, which other packages' environments are not in.
            warnings.simplefilter("ignore", DeprecationWarning)
            module = importlib.import_module(env_id)
    except ImportError as error:
        raise InputError(f"{env_id}: {_import_advice(env_id, error)}") from error
    maker = getattr(module, "parallel_env", None) or getattr(module, "env", None)
    if not callable(maker):
        raise InputError(
            f"{env_id}: module has neither parallel_env nor env, expected a PettingZoo environment's module"
        )
    return lambda **kwargs: _make(env_id, module, maker, kwargs)


def plays_agents(env: object) -> bool:
    """Whether ``env`` names, is, or is the class of a PettingZoo environment; a function tells when it is called.

    Raises:
        InputError: where it names code that cannot be loaded.
    """
    if isinstance(env, str) and is_module_path(env):
        return True
    if not isinstance(env, str) and not callable(env):
        return is_pettingzoo(env)
    try:
        return isinstance(resolve(env), Agents)
    except UnknownEnvironment:
        return False


def agents_of(source: Source) -> Agents:
    """What makes the environment that ``source`` names, makes or is.

    Raises:
        InputError: where it names something else, or nothing.
    """
    if isinstance(source, Agents):
        return source
    if not isinstance(source, str):
        make = (lambda: source) if is_pettingzoo(source) else cast("Maker", source)
        return Agents(callable_id(source), make)
    if is_module_path(source):
        return Agents(source, find_maker(source))
    found = resolve(source)
    if isinstance(found, Agents):
        return found
    if isinstance(found, CustomSpec) and callable(found.entry_point):
        return Agents(source, inspect.unwrap(found.entry_point))
    raise InputError(f"{source}: makes no PettingZoo environment, expected a class or function that does")


def _import_advice(env_id: str, error: ImportError) -> str:
    missing = error.name or ""
    if not env_id.startswith(f"{missing.partition('.')[0]}."):
        return f"package {missing!r} is missing; {_INSTALL}" if missing else str(error).splitlines()[0]
    parent, _, name = env_id.rpartition(".")
    try:
        folder = importlib.import_module(parent)
    except ImportError:
        return f"module {missing!r} is missing; {_INSTALL}"
    known = [found.name for found in pkgutil.iter_modules(getattr(folder, "__path__", ()))]
    close = difflib.get_close_matches(name, [n for n in known if re.search(r"_v\d+$", n)] or known, n=3)
    advice = f"; did you mean {', '.join(f'{parent}.{n}' for n in close)}?" if close else ""
    return f"{parent} has no module {name!r}{advice}"


def _make(env_id: str, module: ModuleType, maker: Maker, kwargs: Mapping[str, Any]) -> Any:
    kwargs = dict(kwargs)
    if env_id.startswith("pettingzoo.atari.") and "auto_rom_install_path" not in kwargs:
        # The ROMs that ale-py ships; multi_agent_ale_py brings none.
        found = importlib.util.find_spec("ale_py")
        if found is not None and found.origin is not None:
            kwargs["auto_rom_install_path"] = str(Path(found.origin).parent / "roms")
    try:
        return maker(**kwargs)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        creator = getattr(module, "raw_env", maker)
        parameters = inspect.signature(creator).parameters.values()
        names = [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        unknown = str(error).partition("unexpected keyword argument ")[2]
        raise InputError(f"{env_id}: unknown keyword {unknown}, expected one of {', '.join(names)}") from error
    except ImportError as error:
        raise InputError(f"{env_id}: package {error.name or error!s} is missing; {_INSTALL}") from error


class ParallelGame:
    """One PettingZoo environment in which all living agents move at once, observed as plain arrays.

    AEC environments go through PettingZoo's converters. In a turn-based one (classic board games) an agent whose turn
    it is not stays in the game: it observes, is paid, and has one legal action, which does nothing. So rewards that
    arrive in the other's turn are its own, and a policy that respects the mask neither chooses nor learns there.

    Attributes:
        agents: the possible agents, in PettingZoo's order.
        observation_spaces: what each agent's observation looks like; with an action mask, a :class:`MaskedBox`.
        action_spaces: likewise.
    """

    def __init__(self, env_id: str, make: Callable[[], Any]) -> None:
        """Wrap what ``make`` makes, a PettingZoo ParallelEnv or AECEnv.

        Raises:
            InputError: where it is neither or does not say its possible agents.
        """
        self.env_id, self._make = env_id, make
        # Knights, archers, zombies (PettingZoo 1.27) never resets its spawn timer: there each episode gets a new one.
        made = make()
        self._remake = _LEAKY.match(type(made.unwrapped).__module__) is not None
        self.env, self._turn = self._parallel(made)
        self.agents: tuple[Any, ...] = tuple(self.env.possible_agents)
        self.action_spaces = {agent: self.env.action_space(agent) for agent in self.agents}
        self.observation_spaces = {
            agent: self._flat_space(self.env.observation_space(agent), self.action_spaces[agent])
            for agent in self.agents
        }

    def _parallel(self, env: Any) -> tuple[Any, Any]:
        """``env`` with all agents moving at once; and itself, where they really take turns."""
        from pettingzoo import AECEnv, ParallelEnv
        from pettingzoo.utils.conversions import aec_to_parallel, turn_based_aec_to_parallel

        turn = None
        if isinstance(env, AECEnv):
            if env.metadata.get("is_parallelizable", False):
                env = aec_to_parallel(env)
            else:
                turn, env = env, turn_based_aec_to_parallel(env)
        if not isinstance(env, ParallelEnv):
            raise InputError(f"{self.env_id}: is a {type(env).__name__}, expected a PettingZoo ParallelEnv or AECEnv")
        if not getattr(env, "possible_agents", None):
            raise InputError(f"{self.env_id}: has no possible_agents; list every agent that can ever take part")
        return env, turn

    def _flat_space(self, space: gym.Space, action_space: gym.Space) -> gym.Space:
        """``space`` itself, or with the action mask as its last columns."""
        masked = False
        if isinstance(space, spaces.Dict) and set(space.spaces) == {"observation", "action_mask"}:
            masked, space = True, space["observation"]
        if isinstance(action_space, spaces.Discrete):
            if isinstance(space, spaces.Box) and (masked or self._turn is not None):
                return MaskedBox.around(space, int(action_space.n))
        if masked:
            raise InputError(
                f"{self.env_id}: an action mask needs a Box observation and Discrete actions, found {space} and "
                f"{action_space}"
            )
        return space

    def living(self) -> tuple[Any, ...]:
        """The agents that act next."""
        return tuple(self.env.agents)

    def reset(self, seed: int) -> dict[Any, np.ndarray]:
        """Start an episode; the living agents' first observations.

        Raises:
            RowFault: where the environment breaks PettingZoo's interface, or no agent lives.
        """
        if self._remake:
            self.env.close()
            self.env, self._turn = self._parallel(self._make())
        result = self.env.reset(seed=seed)
        if not isinstance(result, tuple) or len(result) != 2:
            raise RowFault(None, f"returned {described(result)} from reset, expected a tuple (observations, infos)")
        observations, _ = result
        if not self.env.agents:
            raise RowFault(None, f"has no living agent after reset(seed={seed}), expected at least one")
        return self._flat(self.living(), observations)

    def step(self, actions: Mapping[Any, Any]) -> tuple[dict[Any, np.ndarray], dict[Any, tuple[float, bool, bool]]]:
        """Play ``actions``, one for each living agent.

        Returns:
            Observations of the agents that acted (their true successors) and of those that joined; and reward,
            terminated, truncated of those that acted.

        Raises:
            RowFault: where the environment breaks PettingZoo's interface.
        """
        result = self.env.step(dict(actions))
        try:
            observations, rewards, terminations, truncations, _ = result
        except (TypeError, ValueError):
            raise RowFault(None, f"returned {described(result)} from step, expected {_RESULT}") from None
        living = set(self.env.agents)
        if not living <= set(self.agents):
            raise RowFault(
                None, f"has agents {sorted(map(str, living - set(self.agents)))}, which are not possible_agents"
            )
        results: dict[Any, tuple[float, bool, bool]] = {}
        for agent in actions:
            terminated, truncated = bool(terminations.get(agent, False)), bool(truncations.get(agent, False))
            if (terminated or truncated) == (agent in living):
                raise RowFault(
                    None,
                    f"agent {agent!r} "
                    + ("ended and is still in env.agents" if agent in living else "left without an end")
                    + "; expected it to leave env.agents exactly when terminated or truncated",
                )
            try:
                reward = float(rewards.get(agent, 0.0))
            except (TypeError, ValueError):
                found = described(rewards[agent])
                raise RowFault(None, f"returned {found} as reward of agent {agent!r}, expected a number") from None
            results[agent] = reward, terminated, truncated
        return self._flat({**dict.fromkeys(actions), **dict.fromkeys(self.living())}, observations), results

    def _flat(self, agents: Any, observations: Mapping[Any, Any]) -> dict[Any, np.ndarray]:
        return {agent: self._flat_one(agent, observations) for agent in agents}

    def _flat_one(self, agent: Any, observations: Mapping[Any, Any]) -> Any:
        if agent not in observations:
            raise RowFault(None, f"returned no observation for agent {agent!r}, expected one for each that acts")
        found, space = observations[agent], self.observation_spaces[agent]
        if not isinstance(space, MaskedBox):
            return found
        waits = self._turn is not None and self._turn.agents and self._turn.agent_selection != agent
        values, mask = (found["observation"], found["action_mask"]) if isinstance(found, Mapping) else (found, None)
        row = np.ones(space.shape, space.dtype)
        row[: -space.mask_size] = np.asarray(values).reshape(-1)
        if mask is not None:
            row[-space.mask_size :] = mask
        if waits or not row[-space.mask_size :].any():
            row[-space.mask_size :] = np.arange(space.mask_size) == 0
        return row

    def render(self) -> np.ndarray:
        """An RGB frame ``[H, W, 3]``.

        Raises:
            InputError: where the environment draws none.
        """
        frame = self.env.render()
        if frame is None:
            raise InputError(
                f"{self.env_id}: render() returned nothing, expected a frame; make it with render_mode='rgb_array'"
            )
        return np.asarray(frame, dtype=np.uint8)

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
