"""What somebody's code raises while it makes an environment, as one line that says how to mend it; imports no torch."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from gail.core.errors import EnvironmentFault, InputError
from gail.envs.resolve import dependency_advice
from gail.envs.wording import is_own, raised

_BATCH = ("num_envs", "device")
"""Parameters that are no keywords of the environment."""


@contextmanager
def making(
    text: str, creator: Callable[..., Any] | str, kwargs: Mapping[str, Any], also: tuple[str, ...] = ()
) -> Iterator[None]:
    """Turn what is raised inside into an InputError; an error of this package's own code stays as it is.

    Args:
        text: the user's name of the environment.
        creator: what makes it, or where to import that from; its signature tells which keywords there are.
        kwargs: the keywords that it is made with.
        also: keywords that are taken on the way to ``creator``.
    """
    try:
        yield
    except (InputError, EnvironmentFault):
        raise
    except (ImportError, gym.error.DependencyNotInstalled) as error:
        raise InputError(f"{text}: {dependency_advice(error)}") from error
    except gym.error.Error as error:
        raise InputError(f"{text}: {error}") from error
    except (Exception, SystemExit) as error:
        advice = _keyword_advice(creator, kwargs, also, str(error)) if isinstance(error, TypeError) else None
        if advice is None and is_own(error):
            raise
        raise InputError(f"{text}: {advice or f'making it raised {raised(error)}'}") from error


def _keyword_advice(
    creator: Callable[..., Any] | str, kwargs: Mapping[str, Any], also: tuple[str, ...], message: str
) -> str | None:
    """Which keyword the environment does not take, or lacks; None where that is not what is wrong."""
    make = load_env_creator(creator) if isinstance(creator, str) else creator
    try:
        parameters = inspect.signature(make).parameters.values()
    except (TypeError, ValueError):  # some builtins have none
        return None
    named = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in _BATCH]
    found = re.search(r"unexpected keyword argument '(\w+)'", message)
    if found is not None and found[1] in kwargs:
        expected = ", ".join(dict.fromkeys([*(p.name for p in named), *also]))
        return f"unknown keyword {found[1]!r}, expected {expected and 'one of '}{expected or 'none at all'}"
    lacking = [p.name for p in named if p.default is p.empty and p.name not in kwargs]
    if lacking and " required " in message:
        example = json.dumps(dict.fromkeys(lacking, "..."))
        return f"needs the keyword {', '.join(lacking)}, as in --env-kwargs '{example}'"
    return None
