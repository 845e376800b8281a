"""Checkpoints: a tree of tensors and JSON values in one safetensors file, written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gail.core.errors import InputError
from gail.core.files import write_atomic

_TENSOR = "__tensor__"


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

    write_atomic(path, write)


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
