"""The ids of environments as texts: which of them a data file may choose, and which mean the same."""

from __future__ import annotations

import re

from gail.core.errors import InputError

CALLABLE_PREFIX = "callable:"
"""How the id of an environment begins that was made by a Python callable, which no file can name."""


_MODULE_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_BY_KEYWORD = re.compile(r"GymV\d+Environment-v\d+")
"""Gymnasium's ids for environments of the old gym: what is made, ``module:Id`` included, is one of their keywords."""
_PETTINGZOO = re.compile(r"(pettingzoo\.(atari|butterfly|classic|sisl)|mpe2)\.\w+")


def is_module_path(env_id: str) -> bool:
    """Whether ``env_id`` is the dotted path of a module with a PettingZoo environment, and no registered id."""
    import gymnasium as gym

    return bool(_MODULE_PATH.fullmatch(env_id)) and not env_id.endswith(".py") and env_id not in gym.registry


def names_code(env_id: str) -> bool:
    """Whether ``env_id`` says which code to run, instead of a name to look up."""
    own_module = is_module_path(env_id) and not _PETTINGZOO.fullmatch(env_id)
    return ":" in env_id or env_id.endswith(".py") or own_module or _BY_KEYWORD.fullmatch(env_id) is not None


def require_registered(env_id: str, where: object) -> str:
    """``env_id`` itself, which stands in the file ``where``, if it is a name to look up.

    Raises:
        InputError: where it names code: a file may not choose what is run.
    """
    if names_code(env_id):
        own = env_id.startswith(CALLABLE_PREFIX)
        advice = "pass the environment itself in Python" if own else f"if you trust it: --env {env_id}"
        raise InputError(
            f"{where}: env_id is {env_id[:120]!r}, which names code to run: a file may not choose that, so say it "
            f"yourself ({advice})"
        )
    return env_id


def same_environment(a: str, b: str) -> bool:
    """Whether two ids may name the same environment: files are compared by their names, callables not at all."""
    if a.startswith(CALLABLE_PREFIX) or b.startswith(CALLABLE_PREFIX):
        return True
    return _without_folder(a) == _without_folder(b)


def _without_folder(env_id: str) -> str:
    return env_id.rpartition("/")[2] if ".py:" in env_id else env_id
