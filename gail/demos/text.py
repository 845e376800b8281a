"""CSV and its kin: one file with columns, or a folder with one file of observations and one of actions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gail.demos.columns import Columns
from gail.demos.errors import DemosError
from gail.demos.fields import require_rows
from gail.demos.recorded import ReadOptions
from gail.demos.table import StepTable, columns_to_table, demonstrations_from_table
from gail.demos.types import Demonstrations

FORMAT = "csv"
SUFFIXES = (".csv", ".tsv", ".txt", ".dat")


def read_csv(path: Path, options: ReadOptions) -> Demonstrations:
    """Read a text table, or a folder of two.

    The separator (comma, semicolon, tab or blanks) and whether the first line names the columns are
    found in the first line. A folder holds ``obs*``/``state*`` and ``act*`` files of equally many rows,
    and possibly ``rew*``; their rows side by side are the table.

    Raises:
        DemosError: one line naming the file, the line where there is one, what was found and expected.
    """
    columns = options.columns or Columns()
    if path.is_dir():
        header, values = _read_folder(path)
    else:
        header, values = _read_table(path)
    columns = columns.resolve(header, str(path))
    table: StepTable = columns_to_table(path, values, columns)
    return demonstrations_from_table(path, table, options, by_jump=columns.episode_by_jump, format=FORMAT)


def is_csv_folder(path: Path) -> bool:
    """Whether ``path`` holds text files of observations and of actions."""
    return bool(_parts(path, ("obs", "state")) and _parts(path, ("act",)))


def _parts(path: Path, prefixes: tuple[str, ...]) -> list[Path]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    return [file for file in files if file.stem.lower().startswith(prefixes)]


def _read_folder(path: Path) -> tuple[list[str], np.ndarray]:
    header: list[str] = []
    parts: list[np.ndarray] = []
    for name, prefixes in (("observation", ("obs", "state")), ("action", ("act",)), ("reward", ("rew",))):
        files = _parts(path, prefixes)
        if not files:
            continue
        if len(files) > 1:
            found = ", ".join(file.name for file in files[:4])
            raise DemosError(
                f"{path}: expected one file of {name}s, found {len(files)} ({found}{', ...' * (len(files) > 4)})"
            )
        file = files[0]
        _, values = _read_table(file)
        if parts:
            require_rows(file, name, values, len(parts[0]), "as many as observations")
        if name == "reward" and values.shape[1] != 1:
            raise DemosError(f"{file}: expected one column of rewards, found {values.shape[1]}")
        header += [name] if name == "reward" else [f"{name}_{number}" for number in range(values.shape[1])]
        parts.append(values)
    return header, np.hstack(parts)


def _read_table(path: Path) -> tuple[list[str], np.ndarray]:
    """The columns' names (their numbers where the file has none) and the numbers ``[N, C]``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise DemosError(f"{path}: expected text in UTF-8, found {str(error)[:100]}") from error
    rows = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise DemosError(f"{path}: expected rows of numbers, found an empty file")
    separator = next((mark for mark in ",;\t" if mark in rows[0][1]), None)
    first = [cell.strip().strip('"') for cell in rows[0][1].split(separator)]
    # What pandas writes for an array; two such columns may as well be a step.
    numbered = len(first) > 2 and first == [str(column) for column in range(len(first))]
    has_header = numbered or not all(_is_number(cell) for cell in first)
    values = np.empty((len(rows) - has_header, len(first)), dtype=np.float64)
    for target, (number, line) in enumerate(rows[has_header:]):
        cells = line.split(separator)
        if len(cells) != len(first):
            raise DemosError(f"{path}: line {number}: expected {len(first)} columns, found {len(cells)}")
        try:
            values[target] = [_number(cell) for cell in cells]
        except ValueError:
            raise DemosError(f"{path}: line {number}: expected numbers, found {line[:60]!r}") from None
    return first if has_header else [str(column) for column in range(len(first))], values


def _number(cell: str) -> float:
    word = cell.strip().strip('"').lower()
    return {"true": 1.0, "false": 0.0}.get(word) if word in ("true", "false") else float(word)  # type: ignore[return-value]


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True
