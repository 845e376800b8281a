"""Checkpoints: a tree of tensors and JSON values in one safetensors file, written atomically."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gail.core.errors import InputError
from gail.core.files import write_atomic

_TENSOR = "__tensor__"
_postponed: list[Callable[[], None]] | None = None
"""Where :func:`save_tree` leaves its writing inside :meth:`BackgroundWrites.collect`; None: it writes at once."""


def save_tree(path: str | Path, tree: dict[str, Any]) -> None:
    """Write ``tree`` (dicts with string keys, lists, tensors, JSON values) to ``path``, atomically.

    Tensors are stored as they are; everything else stands as JSON in the file's metadata. No pickle.
    """
    tensors: dict[str, Tensor] = {}

    def strip(node: Any, place: str) -> Any:
        if isinstance(node, Tensor):
            # A copy, because safetensors refuses tensors that share memory.
            tensors[place] = node.detach().to("cpu", copy=True).contiguous()
            return {_TENSOR: place}
        if isinstance(node, dict):
            return {key: strip(value, f"{place}/{key}") for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [strip(value, f"{place}/{index}") for index, value in enumerate(node)]
        return node

    text = json.dumps(strip(tree, ""))

    def write(temporary: Path) -> None:
        try:
            save_file(tensors, temporary, metadata={"tree": text})
        except SafetensorError as error:
            raise OSError(f"{error}") from error

    write_now = partial(write_atomic, path, write)
    if _postponed is None:
        write_now()
    else:
        _postponed.append(write_now)


class BackgroundWrites:
    """Trees are copied at once and written by another thread: training does not wait for the disk.

    A group of trees is written in its order, and before the next group is copied, so that at any moment the files
    are those of the last group or of the one before it.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._running: Future[None] | None = None

    @contextmanager
    def collect(self) -> Iterator[None]:
        """What :func:`save_tree` is called with inside is one group.

        Raises:
            InputError: where the group before could not be written.
        """
        global _postponed
        self.wait()
        group: list[Callable[[], None]] = []
        _postponed = group
        try:
            yield
        finally:
            _postponed = None
        self._running = self._thread.submit(_write_all, group)

    def wait(self) -> None:
        """Return when everything is on the disk.

        Raises:
            InputError: where it could not be written.
        """
        if self._running is not None:
            running, self._running = self._running, None
            running.result()

    def __enter__(self) -> BackgroundWrites:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except InputError:
            if error is None:  # what went wrong first is what the user should read
                raise
        finally:
            self._thread.shutdown()


def _write_all(group: list[Callable[[], None]]) -> None:
    for write in group:
        write()


def load_tree(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`save_tree` wrote.

    Raises:
        InputError: where the file is missing, cut or no such tree.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            if "tree" not in metadata:
                raise InputError(f"{path}: not one of this toolkit's files (no 'tree' in its metadata)")
            tree = json.loads(metadata["tree"])

            def fill(node: Any) -> Any:
                if isinstance(node, dict):
                    if _TENSOR in node:
                        return file.get_tensor(node[_TENSOR])
                    return {key: fill(value) for key, value in node.items()}
                return [fill(value) for value in node] if isinstance(node, list) else node

            return fill(tree)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: cannot be read as safetensors ({error})") from error
