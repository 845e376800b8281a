"""What the verbs share: options every verb has, parsing, and printing."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import tyro
from rich.console import Console, RenderableType
from rich.table import Table

from gail.core.config import override, parse_json_object, read_toml
from gail.core.errors import InputError
from gail.core.rundir import strict_json
from gail.envs.atari import is_atari, read_protocol

T = TypeVar("T")


@dataclass(frozen=True)
class Common:
    """Options of every verb."""

    json: bool = False
    """Print one JSON object on the last line of standard output."""
    debug: bool = False
    """Show the traceback of an error."""


def parse(kind: type[T], argv: list[str], *, prog: str, description: str, default: Any = None) -> T:
    """Parse ``argv`` into the dataclass ``kind``; wrong flags exit with status 2."""
    return tyro.cli(
        kind,
        args=argv,
        prog=prog,
        description=description,
        default=default,
    )


def parse_kwargs(text: str | None) -> dict[str, Any] | None:
    """Environment keyword arguments from JSON text.

    Raises:
        InputError: where it is not a JSON object.
    """
    return None if text is None else parse_json_object("--env-kwargs", text)


def flag_value(argv: list[str], name: str) -> str | None:
    """The value of a flag, looked up before the real parsing because defaults depend on it."""
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if flag.replace("_", "-") == name:
            return value if equals else next(iter(argv[position + 1 :]), None)
    return None


def refuse_unread_flags(argv: list[str], algo: str, learners: Sequence[str]) -> None:
    """Every learner has flags of its own, ``--LEARNER.FIELD``; those of another one than ``algo`` would do nothing.

    Raises:
        InputError: naming the first of them.
    """
    for word in argv:
        flag = word.partition("=")[0]
        owner = flag.removeprefix("--").partition(".")[0]
        if flag.startswith(f"--{owner}.") and owner in learners and owner != algo:
            raise InputError(f"{flag}: is for --algo {owner}, this one is --algo {algo}, which does not read it")


def subcommand(argv: list[str], verb: str, known: Mapping[str, Callable[[list[str]], int]]) -> int:
    """Run the function that the first word of ``argv`` names; the rest are its arguments.

    Raises:
        InputError: where the word is none of ``known``.
    """
    usage = f"gail {verb} {{{', '.join(known)}}} ...   (each has --help)"
    if argv and argv[0] in ("-h", "--help"):
        print(f"usage: {usage}")
        return 0
    if not argv or argv[0] not in known:
        raise InputError(f"expected: {usage}")
    return known[argv[0]](argv[1:])


def settings_from_file(settings: T, file: str) -> T:
    """``settings`` overridden by a TOML file: a table of fields, or a run's own ``config.toml``."""
    values = read_toml(file)
    return override(settings, values["config"] if isinstance(values.get("config"), dict) else values, file)


def default_out(verb: str, env_id: str, algo: str) -> Path:
    """A run directory that nobody has used yet."""
    moment = datetime.now().strftime("%Y%m%d-%H%M%S")
    # A file's folders are no part of the name.
    short = re.sub(r"[^\w.-]+", "-", env_id.rpartition("/")[2] if ".py" in env_id else env_id)
    return Path("runs") / f"{verb}-{short}-{algo}-{moment}"


def show(rows: list[dict[str, Any]], *, title: str = "") -> None:
    """Print ``rows`` as a table; the keys of the first are the columns."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for name in rows[0]:
        numeric = isinstance(rows[0][name], int | float)
        table.add_column(name.replace("_", " "), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(format_value(value) for value in row.values()))
    print_wide(table)


def show_groups(groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the scores of groups of agents, each played by a policy of its own."""
    rows = [
        {
            "group": name,
            "agents'_episodes": scores["episodes"],
            "return": scores["return_mean"],
            "95%_interval": scores["return_interval"],
            "against_random": scores["against_random"],
            "all_random": scores["random_return"],
        }
        for name, scores in groups.items()
    ]
    show(rows, title="by group: all trained; trained against random others; all random")


def print_wide(renderable: RenderableType) -> None:
    """Print a rich table (or anything else that rich draws) as wide as the terminal."""
    console = Console()
    # Files and pipes have no width of their own; eighty columns would cut the numbers.
    console.width = console.width if console.is_terminal else 140
    console.print(renderable)


def format_value(value: Any) -> str:
    """A value for people: thousands separated, four significant digits, a dash for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return str(value)


def print_protocol(env_id: str, env_kwargs: Mapping[str, Any]) -> None:
    """Say by which rules an Atari game is played; says nothing for other environments."""
    if is_atari(env_id):
        print(f"{env_id}: {read_protocol(env_id, env_kwargs)}")


def print_json(data: Mapping[str, Any]) -> None:
    """One JSON object on one line of standard output; NaN becomes null."""
    sys.stdout.write(json.dumps(strict_json(data), default=str) + "\n")
    sys.stdout.flush()
