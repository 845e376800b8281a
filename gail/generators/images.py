"""Images: IDX files, folders of PNG files, scikit-learn's digits. Bytes stay bytes until they are in a minibatch."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from gail.core.errors import InputError
from gail.core.random import make_generator
from gail.demos.info import file_hash
from gail.generators.dataset import Dataset, held_out_count

DIGITS = "digits"
"""In the place of a path: scikit-learn's 1,797 digits of 8 x 8 pixels."""

_IDX_BYTES = 0x08
"""The type code of unsigned bytes, the only one that images and labels come in."""


@dataclass(frozen=True)
class ImageCodec:
    """Bytes ``[B, C, H, W]`` to numbers in ``[-1, 1]`` and back."""

    kind: ClassVar[str] = "images"
    shape: tuple[int, ...]
    """``(channels, height, width)``."""
    vocabulary: ClassVar[None] = None

    def encode(self, items: Tensor) -> Tensor:
        """uint8 ``[B, C, H, W]`` as float32 in ``[-1, 1]``."""
        return items.float() / 127.5 - 1.0

    def decode(self, samples: Tensor) -> Tensor:
        """Numbers ``[n, C, H, W]`` as uint8; what lies outside ``[-1, 1]`` is clipped."""
        return ((samples.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)

    def to_tree(self) -> dict[str, Any]:
        """The shape."""
        return {"kind": self.kind, "shape": list(self.shape)}

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> ImageCodec:
        """The inverse of :meth:`to_tree`."""
        return cls(tuple(tree["shape"]))


def load_images(source: str | Path, *, labels: Path | None = None, holdout: float = 0.0) -> Dataset:
    """Read images and, where there are any, their labels.

    Args:
        source: an IDX file (``.gz`` or not), a folder of PNG files (its subfolders are classes), or ``digits``.
        labels: the IDX file of labels; None looks for one beside the images (``...-images-idx3-ubyte`` to
            ``...-labels-idx1-ubyte``).
        holdout: the share of images that training does not see, chosen at random but always the same.

    Raises:
        InputError: one line naming the file: where it is missing, damaged or empty, holds images of differing
            shapes, or the labels do not fit.
    """
    path = Path(source)
    classes_of: Tensor | None
    if str(source) == DIGITS and not path.exists():
        images, classes_of, names = _read_digits()
        origin = {"path": DIGITS, "sha256": None}
    elif path.is_dir():
        images, classes_of, names = _read_folder(path)
        origin = {"path": str(path), "sha256": file_hash(path)}
    else:
        images = _read_idx(path)
        beside = labels or _labels_beside(path)
        classes_of, names = (None, ()) if beside is None else _read_labels(beside, len(images))
        origin = {"path": str(path), "sha256": file_hash(path)}
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"{source}: images have shape {tuple(images.shape[1:])}, expected height x width")
    count = held_out_count(source, "images", len(images), holdout)
    order = torch.randperm(len(images), generator=make_generator(0, "holdout"))

    def part(rows: Tensor, held: Dataset | None) -> Dataset:
        classes = None if classes_of is None else classes_of[rows]
        return Dataset(images[rows], codec, labels=classes, classes=names, held_out=held, origin=origin)

    codec = ImageCodec(tuple(images.shape[1:]))
    return part(order[count:].sort().values, part(order[:count], None) if count else None)


def _read_digits() -> tuple[Tensor, Tensor, tuple[str, ...]]:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise InputError(
            f"{DIGITS}: needs scikit-learn, which is not installed (pip install 'gail-toolkit[digits]')"
        ) from error
    images, classes = load_digits(return_X_y=True)
    # Its pixels are counts from 0 to 16.
    pixels = torch.from_numpy(np.asarray(images)).reshape(-1, 8, 8) * (255.0 / 16.0)
    return pixels.round().to(torch.uint8), torch.from_numpy(classes).long(), tuple("0123456789")


def _read_idx(path: Path) -> Tensor:
    """An array of unsigned bytes in the IDX format: type code, number of sizes, sizes, rows."""
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else open(path, "rb") as file:
            data = file.read()
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason})") from error
    dimensions = data[3] if len(data) > 3 else 0
    header = 4 + 4 * dimensions
    if data[:2] != b"\0\0" or not dimensions or len(data) < header or data[2] != _IDX_BYTES:
        raise InputError(
            f"{path}: expected an IDX file of unsigned bytes, found {data[:4].hex() or 'nothing'} at its start"
        )
    sizes = np.frombuffer(data, ">u4", dimensions, 4).astype(np.int64)
    if len(data) - header != int(sizes.prod()):
        raise InputError(
            f"{path}: expected {int(sizes.prod())} bytes for sizes {sizes.tolist()}, found {len(data) - header}"
        )
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=header).copy()).reshape(sizes.tolist())


def _labels_beside(path: Path) -> Path | None:
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = path.with_name(name)
    return beside if name != path.name and beside.exists() else None


def _read_labels(path: Path, images: int) -> tuple[Tensor, tuple[str, ...]]:
    labels = _read_idx(path)
    if labels.ndim != 1 or len(labels) != images:
        raise InputError(f"{path}: expected {images} labels, one per image, found shape {tuple(labels.shape)}")
    return labels.long(), tuple(str(number) for number in range(int(labels.max()) + 1))


def _read_folder(path: Path) -> tuple[Tensor, Tensor | None, tuple[str, ...]]:
    """Every PNG below ``path``, in order of name; the first folder below ``path`` is the class."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".png" and file.is_file())
    if not files:
        raise InputError(f"{path}: holds no .png file, expected images")
    pixels = [_read_png(file) for file in files]
    for file, image in zip(files, pixels, strict=True):
        if image.shape != pixels[0].shape:
            raise InputError(
                f"{file}: found {_words(image)}, expected {_words(pixels[0])} as in {files[0].name} (all of one shape)"
            )
    folders = [file.relative_to(path).parts[0] if file.parent != path else "" for file in files]
    names = tuple(sorted(set(folders)))
    if "" in names and len(names) > 1:
        raise InputError(f"{path}: holds images beside folders of images, expected one or the other")
    images = torch.from_numpy(np.stack(pixels))
    if names == ("",):
        return images, None, ()
    return images, torch.tensor([names.index(folder) for folder in folders]), names


def _read_png(file: Path) -> np.ndarray:
    """``[C, H, W]`` bytes: one channel where the picture is grey, else red, green and blue."""
    try:
        with Image.open(file, formats=("PNG",)) as picture:
            if picture.mode.startswith(("I", "F")):
                raise InputError(f"{file}: has more than 8 bits per channel, expected 8 (convert it first)")
            grey = picture.mode in ("L", "1", "LA")
            pixels = np.asarray(picture.convert("L" if grey else "RGB"), dtype=np.uint8)
    except InputError:
        raise
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(str(file), "the file").split())[:120]
        raise InputError(f"{file}: expected a PNG image, cannot be decoded ({reason})") from error
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def _words(image: np.ndarray) -> str:
    channels, height, width = image.shape
    return f"{height} x {width} {'grey' if channels == 1 else 'colour'}"
