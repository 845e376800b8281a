"""What the user's word for an environment means; imports no torch.

============================  ==================================================================================
``Hopper-v5``                 registered in Gymnasium
``Pong``                      the Atari game ``ALE/Pong-v5``
``maze``                      an installed package's entry point in the group ``gail.envs``
``my_package:MyEnv-v0``       ``my_package`` is imported; then a registered id, or an attribute of the module
``./my_env.py:MyEnv``         the file is run as a module; then likewise
``mpe2.simple_spread_v3``     the module of a PettingZoo environment (:mod:`gail.envs.pettingzoo`)
a callable (in Python)        makes one environment from keywords, or a batch where it takes ``num_envs``
============================  ==================================================================================

A class or function whose signature has ``num_envs`` makes a whole batch (:class:`Batch`), a class of PettingZoo's one
environment of several agents (:class:`Agents`), any other one a single Gymnasium environment; what a function makes
shows when it is called (:class:`MakesAgents`). The first three kinds of names, and PettingZoo's and MPE2's own modules,
may come from a data file; the others say what code to run, so they are taken from the user only
(:func:`gail.envs.ids.require_registered`).
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from gail.core.errors import InputError
from gail.envs.atari import find_game
from gail.envs.ids import CALLABLE_PREFIX
from gail.envs.wording import described, raised

ENTRY_POINT_GROUP = "gail.envs"
"""Where an installed package names its environments: ``name = "module:callable"``."""

_REGISTERING_MODULES = {"ALE": "ale_py"}
_ATARI_PACKAGES = "'gail-toolkit[atari]'"
_EXTRAS = {
    "Box2D": "'gymnasium[box2d]'",
    "ale_py": _ATARI_PACKAGES,
    "cv2": _ATARI_PACKAGES,
    "mujoco": "'gymnasium[mujoco]'",
    "pygame": "'gymnasium[classic-control]'",
}


@dataclass
class CustomSpec(EnvSpec):
    """A spec that was not found in the registry under the name that the user gave."""

    text: str = ""
    """The user's name for it: what files say."""
    portable: str | None = None
    """The name by which another process finds it; None where none can."""


@dataclass(frozen=True)
class Batch:
    """A callable ``(num_envs, device, **keywords)`` or ``(num_envs, **keywords)`` that makes a batch."""

    text: str
    """The user's name for it: what files say."""
    make: Callable[..., Any]
    takes_device: bool


@dataclass(frozen=True)
class Agents:
    """A callable that makes one PettingZoo environment, parallel or AEC, from keywords."""

    text: str
    """The user's name for it: what files say."""
    make: Callable[..., Any]


Resolved = EnvSpec | Batch | Agents


class MakesAgents(InputError):
    """A function was asked for a Gymnasium environment and made one of PettingZoo's."""

    def __init__(self, text: str, made: Any, make: Callable[..., Any]) -> None:
        """``make`` made ``made``, which is the first that :attr:`agents` makes: none is made only to be looked at."""
        super().__init__(f"{text}: makes a PettingZoo environment, expected a gymnasium.Env")
        ready = [made]
        self.agents = Agents(text, lambda **kwargs: ready.pop() if ready else make(**kwargs))


def is_pettingzoo(made: object) -> bool:
    """Whether ``made`` is a PettingZoo environment; imports nothing, because whoever made one has."""
    return isinstance(made, _agents_classes())


def _agents_classes() -> tuple[type, ...]:
    if "pettingzoo" not in sys.modules:
        return ()
    from pettingzoo import AECEnv, ParallelEnv

    return AECEnv, ParallelEnv


class UnknownEnvironment(InputError):
    """No environment goes by a name."""

    def __init__(self, env_id: str, known: Iterable[str]) -> None:
        """Name ``env_id`` and the closest of the ``known`` ids."""
        close = difflib.get_close_matches(env_id, list(known), n=3, cutoff=0.5)
        advice = f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""
        super().__init__(f"environment {env_id!r} is unknown{advice}")


def spec_id(spec: EnvSpec) -> str:
    """The id that files say for ``spec``: what the user wrote."""
    return spec.text if isinstance(spec, CustomSpec) else spec.id


def callable_id(env: object) -> str:
    """The id of what a Python callable makes, or of an object; no file can make it from that."""
    return f"{CALLABLE_PREFIX}{_name_of(env)}"


def find_spec(env_id: str) -> EnvSpec:
    """As :func:`resolve`, for uses that need single environments.

    Raises:
        InputError: also where ``env_id`` makes batches or environments of PettingZoo.
    """
    found = resolve(env_id)
    if not isinstance(found, EnvSpec):
        what = "batches of environments" if isinstance(found, Batch) else "a PettingZoo environment"
        raise InputError(f"{found.text}: makes {what}; expected one that makes a single Gymnasium environment")
    return found


def resolve(env: str | Callable[..., Any]) -> Resolved:
    """The registered or custom environment that ``env`` means (see the module's docstring).

    Raises:
        InputError: where there is none, with the closest names.
    """
    if not isinstance(env, str) and not callable(env):
        raise InputError(f"an environment is a name, a class or a function, found {described(env)}")
    if not isinstance(env, str):
        name = _name_of(env)
        module = sys.modules.get(env.__module__) if env.__module__ != "__main__" else None
        importable = getattr(module, name, None) is env
        return _from_object(env, callable_id(env), f"{env.__module__}:{name}" if importable else None)
    place, _, name = env.rpartition(":")
    if place.endswith(".py"):
        return _from_module(_load_file(env, place), env, name, f"{Path(place).absolute()}:{name}")
    if env.endswith(".py"):
        names = ", ".join(_candidates(_load_file(env, env))) or "no class or function"
        raise InputError(f"{env}: expected FILE.py:NAME; the file has {names}")
    if place:
        return _from_module(_import_module(env, place), env, name, env)
    registering = _REGISTERING_MODULES.get(name.partition("/")[0])
    if registering:
        _import_module(env, registering)
    if name in gym.registry:
        return gym.registry[name]
    installed = installed_entry_points()
    if name in installed:
        return _from_object(_load_entry_point(installed[name]), name, name)
    try:
        # Looking a game up registers ALE's ids, also those of other protocols (Pong-v4).
        game = find_game(name) or name
    except ImportError:
        if re.fullmatch(r"\w+", name):
            advice = f"if it is an Atari game, install them with: pip install {_ATARI_PACKAGES}"
            raise InputError(f"environment {env!r} is unknown; {advice}") from None
    else:
        if game in gym.registry:
            return gym.registry[game]
    raise UnknownEnvironment(env, [*gym.registry, *installed])


@functools.cache
def installed_entry_points() -> dict[str, EntryPoint]:
    """The environments that installed packages name, by name; nothing is imported."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def _load_entry_point(point: EntryPoint) -> Any:
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        package = point.dist.name if point.dist is not None else "?"
        raise InputError(
            f"{point.name}: the entry point {point.value!r} of package {package!r} cannot be loaded ({error})"
        ) from error


def _import_module(env_id: str, module: str) -> ModuleType:
    _search_first(Path.cwd())
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"{env_id}: {dependency_advice(error)}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{env_id}: importing {module} raised {raised(error)}") from error


def _load_file(env_id: str, file: str) -> ModuleType:
    """The module that ``file`` is; run once per process, under a name that clashes with nothing."""
    path = Path(file).absolute()
    if not path.is_file():
        raise InputError(f"{env_id}: there is no file {file}")
    name = f"_gail_file_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    _search_first(path.parent)  # as where Python runs the file as a script
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, ImportError):
            raise InputError(f"{env_id}: {dependency_advice(error)}") from error
        if isinstance(error, SyntaxError):
            raise InputError(f"{file}, line {error.lineno}: {error.msg}") from error
        if isinstance(error, Exception | SystemExit):
            raise InputError(f"{file}: running it raised {raised(error)}") from error
        raise
    return module


def _search_first(folder: Path) -> None:
    """Let modules of ``folder`` be imported, here and in worker processes, which get the same search path."""
    if str(folder) not in (path or os.getcwd() for path in sys.path):
        sys.path.insert(0, str(folder))


def load_named(text: str) -> Callable[..., Any]:
    """The class or function that ``FILE.py:NAME`` or ``MODULE:NAME`` names; runs that file or module.

    Raises:
        InputError: where there is none, with the closest names.
    """
    place, _, name = text.rpartition(":")
    if not place:
        raise InputError(f"{text}: expected FILE.py:NAME or MODULE:NAME")
    module = _load_file(text, place) if place.endswith(".py") else _import_module(text, place)
    found = getattr(module, name, None)
    if callable(found):
        return found
    raise InputError(f"{text}: {_file_of(module)} has no class or function {name!r}; {_what_it_has(module, name)}")


def _from_module(module: ModuleType, env_id: str, name: str, portable: str) -> Resolved:
    if name in gym.registry:
        registered = gym.registry[name]
        fields = {field: getattr(registered, field) for field in _SPEC_FIELDS}
        return CustomSpec(**fields, text=env_id, portable=portable)
    found = getattr(module, name, None)
    if callable(found):
        return _from_object(found, env_id, portable)
    has = _what_it_has(module, name)
    raise InputError(f"{env_id}: {_file_of(module)} neither registers {name!r} nor has such a class or function; {has}")


def _file_of(module: ModuleType) -> str | None:
    return getattr(module, "__file__", None)


def _what_it_has(module: ModuleType, name: str) -> str:
    candidates = _candidates(module)
    close = difflib.get_close_matches(name, candidates, n=3) or candidates[:8]
    return f"it has {', '.join(close)}" if close else "it has no class or function"


_SPEC_FIELDS = (
    "id", "entry_point", "reward_threshold", "nondeterministic", "max_episode_steps", "order_enforce",
    "disable_env_checker", "kwargs", "additional_wrappers", "vector_entry_point",
)  # fmt: skip


def _candidates(module: ModuleType) -> list[str]:
    """Public classes and functions that ``module`` defines itself."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.isroutine(value) | inspect.isclass(value)
        if getattr(value, "__module__", None) == module.__name__
    ]


def _from_object(found: Any, text: str, portable: str | None) -> Resolved:
    if not callable(found):
        raise InputError(f"{text}: is a {type(found).__name__}, expected a class or function that makes an environment")
    parameters = _parameters(found)
    if "num_envs" in parameters:
        return Batch(text, found, takes_device="device" in parameters)
    if inspect.isclass(found) and issubclass(found, _agents_classes()):
        return Agents(text, found)
    # Gymnasium wants a name of its own form; people see `text`.
    plain = re.sub(r"[^\w.-]+", "-", _name_of(found)).strip("-") or "Custom"
    return CustomSpec(f"{plain}-v0", _single_only(found, text), text=text, portable=portable)


def _single_only(make: Callable[..., Any], text: str) -> Callable[..., Any]:
    """``make``, but for PettingZoo's environments, which it says instead of returning them."""
    if inspect.isclass(make):
        return make

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        env = make(*args, **kwargs)
        if is_pettingzoo(env):
            raise MakesAgents(text, env, make)
        return env

    return made


def _parameters(found: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(found).parameters)
    except (TypeError, ValueError):  # some builtins have none
        return []


def _name_of(found: Any) -> str:
    return str(getattr(found, "__qualname__", type(found).__qualname__))


def dependency_advice(error: BaseException) -> str:
    """What is missing and the command that installs it, from an import error."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        name = getattr(cause, "name", None)
        if isinstance(cause, ModuleNotFoundError) and name:
            extra = _EXTRAS.get(name.partition(".")[0])
            package = extra or name.partition(".")[0]
            return f"package {name!r} is missing; install it with: pip install {package}"
        cause = cause.__cause__ or cause.__context__
    return text
