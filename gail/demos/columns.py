"""Which columns of a table hold what: the mapping for ``.npy``, CSV and JSONL files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gail.core.errors import InputError

_PREFIXES = {
    "observations": ("obs", "state"),
    "next_observations": ("next_obs", "next_state"),
    "actions": ("act",),
}
_SINGLE = {
    "rewards": ("reward", "rewards", "rew"),
    "episode": ("episode", "episode_id", "traj", "trajectory"),
    "terminated": ("terminated", "terminal", "terminations"),
    "truncated": ("truncated", "timeout", "truncations"),
    "done": ("done", "dones"),
}


@dataclass(frozen=True)
class Columns:
    """Names of columns, or their numbers counted from 0, as text.

    Fields left empty are filled from the header (see :meth:`resolve`).
    """

    observations: tuple[str, ...] = ()
    """The observation's columns, in the order of the observation vector."""
    actions: tuple[str, ...] = ()
    """The action's columns, in the order of the action vector."""
    next_observations: tuple[str, ...] = ()
    """The successor's columns, where the table holds them; else the next row is the successor."""
    rewards: str | None = None
    """The reward's column."""
    episode: str | None = None
    """A column whose value changes where the next episode begins."""
    terminated: str | None = None
    """A column that is 1 at a step after which the task is over."""
    truncated: str | None = None
    """A column that is 1 at a step after which the recording was cut."""
    done: str | None = None
    """A column that is 1 at an episode's last step, for either reason (the flags stay unknown)."""
    episode_by_jump: bool = False
    """Begin an episode wherever a row does not follow from the one before (for tables without marks)."""
    discrete_actions: bool | None = None
    """Whether the action is an index; None: it is where one action column holds only whole numbers >= 0."""

    def resolve(self, header: Sequence[str], where: str) -> Columns:
        """Every column as its number (as text) in a table with ``header``.

        Unset fields are found by name: ``obs*``/``state*`` are observations, ``next_obs*``/``next_state*``
        successors, ``act*`` actions; ``reward``, ``episode``, ``terminated``, ``truncated`` and ``done``
        (and usual spellings of them) are what they say. Where nothing is named an action, the last
        column that is nothing else is the action and all others are the observation.

        Args:
            header: the columns' names; for a table without names, their numbers as text.
            where: the file, for error messages.

        Raises:
            InputError: where a column does not exist, is there or taken twice, or none is left.
        """
        numbers = {name: number for number, name in enumerate(header)}
        if len(numbers) < len(header):
            twice = next(name for name in header if header.count(name) > 1)
            raise InputError(f"{where}: two columns are called {twice!r}, expected a name of its own for each")

        def number(column: str) -> str:
            if column in numbers:
                return str(numbers[column])
            if column.isdecimal() and int(column) < len(header):
                return column
            raise InputError(f"{where}: no column {column!r}; found {', '.join(header)[:200]}")

        def by_prefix(field: str) -> tuple[str, ...]:
            given: tuple[str, ...] = getattr(self, field)
            names = given or tuple(name for name in header if name.lower().startswith(_PREFIXES[field]))
            return tuple(number(name) for name in names)

        def by_name(field: str) -> str | None:
            given: str | None = getattr(self, field)
            found = given or next((name for name in header if name.lower() in _SINGLE[field]), None)
            return None if found is None else number(found)

        resolved = replace(
            self,
            observations=by_prefix("observations"),
            next_observations=by_prefix("next_observations"),
            actions=by_prefix("actions"),
            rewards=by_name("rewards"),
            episode=by_name("episode"),
            terminated=by_name("terminated"),
            truncated=by_name("truncated"),
            done=by_name("done"),
        )
        single = {column for field in _SINGLE if (column := getattr(resolved, field)) is not None}
        free = [str(n) for n in range(len(header)) if str(n) not in single.union(resolved.next_observations)]
        if not resolved.actions and not resolved.observations:
            resolved = replace(resolved, actions=tuple(free[-1:]))
        if not resolved.actions:
            raise InputError(f"{where}: no action column; found {', '.join(header)[:200]}")
        if not resolved.observations:
            rest = tuple(column for column in free if column not in resolved.actions)
            if not rest:
                raise InputError(f"{where}: no observation column; found {', '.join(header)[:200]}")
            resolved = replace(resolved, observations=rest)
        inputs = (*resolved.observations, *resolved.actions)
        again = next((column for column in inputs if inputs.count(column) > 1), None)
        if again is not None:
            raise InputError(f"{where}: column {header[int(again)]!r} is taken twice for observations and actions")
        return resolved
