"""Reading and writing npz archives without ever unpickling: the floor under the npz readers."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import numpy as np

from gail.core.errors import InputError
from gail.core.files import write_atomic
from gail.demos.errors import DemosError

# Everything that numpy and zipfile raise on damaged or hostile archives.
_DAMAGE = (
    ValueError, OSError, EOFError, KeyError, MemoryError, NotImplementedError, RuntimeError, SyntaxError,
    OverflowError, TypeError, zipfile.BadZipFile, zlib.error, tokenize.TokenError,
)  # fmt: skip


def npz_members(path: Path) -> list[str]:
    """The names of the arrays in the archive at ``path``.

    Raises:
        InputError: where the file is no readable zip archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except _DAMAGE as error:
        raise DemosError(f"{path}: expected an npz archive, found a damaged file ({_line(error)})") from error


def read_npz(path: Path, names: Collection[str], optional: Collection[str] = ()) -> dict[str, np.ndarray]:
    """The arrays ``names`` of an npz archive, and those of ``optional`` that it holds.

    Other members are not touched, so that an archive may hold pickled ones that nothing decodes.

    Args:
        path: the archive.
        names: members that must be present.
        optional: members read where present.

    Raises:
        InputError: naming the member: where it is missing, damaged, or an object array (which only
            unpickling, and so running code from the file, could decode).
    """
    present = set(npz_members(path))
    for name in names:
        if name not in present:
            found = ", ".join(sorted(present)) or "nothing"
            raise DemosError(f"{path}: field {name!r} is missing; found {found}")
    wanted = [*names, *(name for name in optional if name in present)]
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: _read_member(path, archive, name) for name in wanted}
    except DemosError:
        raise
    except _DAMAGE as error:
        raise DemosError(f"{path}: expected an npz archive, found a damaged file ({_line(error)})") from error


def _read_member(path: Path, archive: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    try:
        value = archive[name]
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise DemosError(
                f"{path}: field {name!r} is an array of pickled objects, which can run code; "
                "expected numbers or text (nothing was decoded)"
            ) from error
        raise DemosError(f"{path}: field {name!r} cannot be decoded ({_line(error)})") from error
    if not isinstance(value, np.ndarray):
        raise DemosError(f"{path}: field {name!r} is not an array; expected a numpy .npy member")
    return value


def write_npz(path: Path, arrays: dict[str, np.ndarray], *, overwrite: bool) -> None:
    """Write ``arrays`` as a compressed npz archive, atomically.

    Raises:
        InputError: where ``path`` exists and ``overwrite`` is False, or cannot be written.
    """
    refuse_existing(path, overwrite)

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    write_atomic(path, write)


def stream_npz(
    path: Path,
    name: str,
    shape: tuple[int, ...],
    rows: Iterable[np.ndarray],
    others: Callable[[], Mapping[str, np.ndarray]],
) -> None:
    """Write a compressed npz archive, atomically, one of whose arrays never is in memory as a whole.

    Args:
        path: the new file.
        name: of the large array, which is uint8.
        shape: of it; ``rows`` together must have as many bytes.
        rows: its parts, in order.
        others: the other arrays; called when the rows are written.

    Raises:
        InputError: where ``path`` exists or cannot be written.
    """
    refuse_existing(path, overwrite=False)

    def write(temporary: Path) -> None:
        # Level 1: frames of games compress well at any level, and most of the time goes into them.
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                for row in rows:
                    member.write(np.ascontiguousarray(row, dtype=np.uint8).data)
            for other, array in others().items():
                with archive.open(f"{other}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)

    write_atomic(path, write)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise InputError where ``path`` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; expected a new name, or overwrite to replace it")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
