"""What every verb that reads demonstrations asks about files that do not describe themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from gail.cli.options import parse_kwargs
from gail.core.errors import InputError
from gail.demos import Columns, Demonstrations, load_demos
from gail.demos.load import is_table


@dataclass(frozen=True)
class FileLayout:
    """How the rows of a demonstration file are read; the defaults for one that says it itself."""

    action_shift: int = 0
    """1 mends a file whose row t holds the action that led to row t."""
    columns: Columns = field(default_factory=Columns)
    """Which columns of a table hold what."""

    def load(
        self, path: Path | str, *, env_id: str | None = None, env_kwargs: dict[str, Any] | None = None
    ) -> Demonstrations:
        """Demonstrations of the file ``path``; arguments and errors as of :func:`gail.load_demos`."""
        return load_demos(
            path,
            env_id=env_id,
            env_kwargs=env_kwargs,
            columns=self.columns if self.columns != Columns() else None,
            action_shift=self.action_shift,
        )

    def among(self, path: Path) -> FileLayout:
        """The layout of one of several files, whose columns are those of the tables among them."""
        return self if is_table(path) else replace(self, columns=Columns())


@dataclass(frozen=True)
class Reading:
    """Which environment a file that does not name it is of, and how its rows are read."""

    env: str | None = None
    """The environment of a file that names none."""
    env_kwargs: str | None = None
    """What that environment was made with, as JSON."""
    layout: Annotated[FileLayout, tyro.conf.arg(name="")] = field(default_factory=FileLayout)

    def __post_init__(self) -> None:
        if self.env_kwargs is not None and self.env is None:
            raise InputError("--env-kwargs: needs --env, the environment that was made with them")

    def load(self, path: Path | str) -> Demonstrations:
        """Demonstrations of the file ``path``; errors as of :func:`gail.load_demos`."""
        return self.layout.load(path, env_id=self.env, env_kwargs=parse_kwargs(self.env_kwargs))
