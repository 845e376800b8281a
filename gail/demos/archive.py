"""Reading and writing npz archives without ever unpickling: the floor under the npz readers."""

from __future__ import annotations

import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

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
            _write_members(archive, others())

    write_atomic(path, write)


def stream_npz_blocks(
    path: Path, blocks: Iterable[Mapping[str, np.ndarray]], others: Callable[[], Mapping[str, np.ndarray]]
) -> None:
    """Write a compressed npz archive, atomically, whose arrays come in blocks of rows and never are in memory whole.

    Until the last block the rows lie uncompressed in files beside ``path`` that vanish by themselves, even on a kill.

    Args:
        path: the new file.
        blocks: the next rows of every array, by name; dtype and shape of a row must stay as they are in the first.
        others: the other arrays; called when the blocks are written.

    Raises:
        InputError: where ``path`` exists or cannot be written, or a block differs from the first.
    """
    refuse_existing(path, overwrite=False)

    def write(temporary: Path) -> None:
        with ExitStack() as stack:
            spools: dict[str, _Spool] = {}
            for number, block in enumerate(blocks):
                if number == 0:
                    for name, rows in block.items():
                        file = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                        spools[name] = _Spool(file, rows.dtype, rows.shape[1:])
                found = {name: (rows.dtype, rows.shape[1:]) for name, rows in block.items()}
                if found != {name: (spool.dtype, spool.shape) for name, spool in spools.items()}:
                    raise InputError(f"{path}: block {number}: expected arrays like those of the first, found {found}")
                for name, rows in block.items():
                    spools[name].add(rows)
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, spool in spools.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                        spool.copy(member)
                _write_members(archive, others())

    write_atomic(path, write)


def _write_members(archive: zipfile.ZipFile, arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        with archive.open(f"{name}.npy", "w") as member:
            np.lib.format.write_array(member, array, allow_pickle=False)


class _Spool:
    """The rows of one array so far, in a file: its header says how many they are, which only the last block tells."""

    def __init__(self, file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self.file, self.dtype, self.shape, self.rows = file, dtype, shape, 0

    def add(self, rows: np.ndarray) -> None:
        self.file.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def copy(self, member: IO[bytes]) -> None:
        descr = np.lib.format.dtype_to_descr(self.dtype)
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(member, header)
        self.file.seek(0)
        shutil.copyfileobj(self.file, member, 1 << 20)


class NpzRows:
    """Arrays of an npz archive, read a few rows at a time; use it in a ``with`` statement.

    Args:
        path: the archive.
        names: of the arrays.

    Raises:
        DemosError: naming the member: where it is missing, damaged or no plain array of rows.
    """

    def __init__(self, path: Path, names: Collection[str]) -> None:
        self.path = path
        self._members: dict[str, IO[bytes]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """Of the whole arrays."""
        self.dtypes: dict[str, np.dtype[Any]] = {}
        with ExitStack() as stack:
            try:
                archive = stack.enter_context(zipfile.ZipFile(path))
                for name in names:
                    member = stack.enter_context(archive.open(f"{name}.npy"))
                    self.shapes[name], self.dtypes[name] = self._header(name, member)
                    self._members[name] = member
            except DemosError:
                raise
            except _DAMAGE as error:
                raise DemosError(f"{path}: expected an npz archive, found a damaged file ({_line(error)})") from error
            self._stack = stack.pop_all()

    def __enter__(self) -> NpzRows:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _header(self, name: str, member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = read(member)
        if dtype.hasobject or not shape or (by_columns and len(shape) > 1):
            raise DemosError(
                f"{self.path}: field {name!r}: expected rows of numbers in order, found {dtype} {list(shape)}"
            )
        return shape, dtype

    def read(self, name: str, rows: int) -> np.ndarray:
        """The next ``rows`` of an array.

        Raises:
            DemosError: where the file ends before them, or is damaged.
        """
        shape, dtype = (rows, *self.shapes[name][1:]), self.dtypes[name]
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        try:
            data = self._members[name].read(size)
        except _DAMAGE as error:
            raise DemosError(f"{self.path}: field {name!r} cannot be decoded ({_line(error)})") from error
        if len(data) < size:
            raise DemosError(f"{self.path}: field {name!r} ends {size - len(data)} bytes too early")
        return np.frombuffer(data, dtype).reshape(shape)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise InputError where ``path`` exists and may not be replaced."""
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already; expected a new name, or overwrite to replace it")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
