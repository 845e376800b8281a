"""Configurations: frozen dataclasses, overridden by TOML files, written back as TOML."""

from __future__ import annotations

import dataclasses
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from gail.core.errors import InputError

T = TypeVar("T")


def to_plain(config: Any) -> Any:
    """A dataclass as nested dicts and lists that TOML and JSON can hold; None values are left out."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        pairs = ((f.name, to_plain(getattr(config, f.name))) for f in dataclasses.fields(config))
        return {name: value for name, value in pairs if value is not None}
    if isinstance(config, dict):
        return {str(key): to_plain(value) for key, value in config.items() if value is not None}
    if isinstance(config, list | tuple):
        return [to_plain(value) for value in config]
    return str(config) if isinstance(config, Path) else config


def parse_json_object(flag: str, text: str) -> dict[str, Any]:
    """Keyword arguments that a flag gives as JSON text.

    Raises:
        InputError: where it is not a JSON object.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{flag}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise InputError(f"{flag}: {text!r}, expected a JSON object such as '{{\"g\": 9.81}}'")
    return value


def read_toml(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: where it is missing or not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error


def override(config: T, values: dict[str, Any], source: str, prefix: str = "") -> T:
    """``config`` with fields replaced by ``values``, nested tables included.

    Args:
        config: a dataclass instance; it is not changed.
        values: field name to value, as read from TOML.
        source: where the values come from, for messages.
        prefix: the table's name, for messages.

    Raises:
        InputError: on a field that does not exist or a value of another type.
    """
    assert dataclasses.is_dataclass(config) and not isinstance(config, type)
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            near = difflib.get_close_matches(name, hints, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are: {', '.join(hints)}"
            raise InputError(f"{source}: unknown field {prefix}{name}{hint}")
        current = getattr(config, name)
        if dataclasses.is_dataclass(current) and isinstance(value, dict):
            changes[name] = override(current, value, source, f"{prefix}{name}.")
        else:
            changes[name] = _convert(hints[name], value, source, prefix + name)
    return dataclasses.replace(config, **changes)


def require(name: str, config: Any, *, at_least: Mapping[str, float], shares: Sequence[str] = ()) -> None:
    """Refuse numbers (each of a tuple's) below their bound, and shares that are none.

    Args:
        name: the table that ``config`` is, for messages.
        config: holds the fields.
        at_least: field to its lowest value.
        shares: fields that go from 0 to 1.

    Raises:
        InputError: naming the field, what was found and what was expected.
    """
    for field, low in at_least.items():
        value = getattr(config, field)
        if any(not item >= low for item in (value if isinstance(value, tuple) else (value,))):
            raise InputError(f"{name}.{field}: {value}, expected at least {low}")
    for field in shares:
        if not 0.0 <= getattr(config, field) <= 1.0:
            raise InputError(f"{name}.{field}: {getattr(config, field)}, expected a share from 0 to 1")


def _convert(hint: Any, value: Any, source: str, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _convert(next(a for a in arguments if a is not type(None)), value, source, name)
    if origin is typing.Literal:
        if value in arguments:
            return value
        raise InputError(f"{source}: {name} is {value!r}, expected one of {', '.join(map(repr, arguments))}")
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(arguments[0], item, source, name) for item in value)
    if origin is dict and isinstance(value, dict):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    expected = hint.__name__ if isinstance(hint, type) else str(hint)
    raise InputError(f"{source}: {name} is {value!r}, expected {expected}")
