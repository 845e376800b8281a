"""Images from IDX files, folders and scikit-learn, and what is refused."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gail.core.errors import InputError
from gail.generators.images import ImageCodec, load_images


def write_idx(path: Path, array: np.ndarray, *, zipped: bool = False) -> Path:
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if zipped else data)
    return path


def write_png(path: Path, size: tuple[int, int] = (6, 5), value: int = 7, mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode == "L" else (value, 0, 255)).save(path)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_file_gives_its_bytes_with_the_labels_that_lie_beside(tmp_path: Path, zipped: bool) -> None:
    images = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    file = write_idx(tmp_path / "t-images-idx3-ubyte", images, zipped=zipped)
    write_idx(tmp_path / "t-labels-idx1-ubyte", np.array([2, 0, 1]))
    data = load_images(file)
    assert data.items.dtype == torch.uint8
    assert torch.equal(data.items[:, 0], torch.from_numpy(images).to(torch.uint8))
    assert data.labels is not None and data.labels.tolist() == [2, 0, 1]
    assert data.classes == ("0", "1", "2")


def test_bytes_become_minus_one_to_one_in_the_minibatch_and_come_back() -> None:
    codec = ImageCodec((1, 16, 16))
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    encoded = codec.encode(every)
    assert encoded.min() == -1.0 and encoded.max() == 1.0
    assert torch.equal(codec.decode(encoded), every)
    assert codec.decode(torch.full((1, 1, 16, 16), 7.0)).unique().tolist() == [255]


def test_a_folder_of_folders_has_their_names_as_classes(tmp_path: Path) -> None:
    write_png(tmp_path / "cat" / "1.png", value=1)
    write_png(tmp_path / "ant" / "1.png", value=2)
    write_png(tmp_path / "ant" / "2.png", value=3)
    data = load_images(tmp_path)
    assert data.classes == ("ant", "cat")
    assert data.labels is not None and data.labels.tolist() == [0, 0, 1]
    assert data.items[:, 0, 0, 0].tolist() == [2, 3, 1]
    assert data.codec.shape == (1, 5, 6)


def test_colour_images_have_three_channels(tmp_path: Path) -> None:
    for name in "ab":
        write_png(tmp_path / f"{name}.png", mode="RGB")
    data = load_images(tmp_path)
    assert data.items.shape == (2, 3, 5, 6) and data.labels is None
    assert data.items[0, :, 0, 0].tolist() == [7, 0, 255]


def test_held_out_images_are_none_of_the_others_and_always_the_same(tmp_path: Path) -> None:
    file = write_idx(tmp_path / "x-images-idx3-ubyte", np.arange(40).reshape(40, 1, 1).repeat(2, 2))
    write_idx(tmp_path / "x-labels-idx1-ubyte", np.arange(40))
    first, second = load_images(file, holdout=0.25), load_images(file, holdout=0.25)
    assert first.held_out is not None and second.held_out is not None
    assert len(first) == 30 and len(first.held_out) == 10
    assert torch.equal(first.held_out.items, second.held_out.items)
    seen = [first.items[:, 0, 0, 0], first.held_out.items[:, 0, 0, 0]]
    assert torch.cat(seen).sort().values.tolist() == list(range(40))
    # Labels stay with their images.
    assert torch.equal(first.held_out.items[:, 0, 0, 0].long(), first.held_out.labels)


def test_scikit_learns_digits_are_bytes_with_ten_classes() -> None:
    pytest.importorskip("sklearn", reason="the extra 'digits' is not installed")
    data = load_images("digits")
    assert data.items.shape == (1797, 1, 8, 8) and data.items.dtype == torch.uint8
    assert int(data.items.max()) == 255 and data.classes == tuple("0123456789")


def test_the_mnist_test_set_is_read(third_party_data: Path) -> None:
    data = load_images(third_party_data / "media" / "t10k-images-idx3-ubyte.gz")
    assert data.items.shape == (10_000, 1, 28, 28)
    assert data.labels is not None and data.labels[:3].tolist() == [7, 2, 1]


def empty_folder(path: Path) -> Path:
    return path


def one_image(path: Path) -> Path:
    write_png(path / "only.png")
    return path


def mixed_shapes(path: Path) -> Path:
    write_png(path / "a.png")
    write_png(path / "odd.png", size=(9, 5))
    return path


def broken_file(path: Path) -> Path:
    data = write_png(path / "a.png", size=(60, 60)).read_bytes()
    (path / "broken.png").write_bytes(data[: len(data) // 2])
    return path


def not_an_image(path: Path) -> Path:
    write_png(path / "a.png")
    (path / "text.png").write_text("hello")
    return path


def deep(path: Path) -> Path:
    write_png(path / "a.png")
    Image.fromarray(np.full((5, 6), 40_000, np.uint16)).save(path / "deep.png")
    return path


def cut_idx(path: Path) -> Path:
    file = write_idx(path / "cut-images-idx3-ubyte", np.zeros((4, 3, 3)))
    file.write_bytes(file.read_bytes()[:-1])
    return file


def cut_gzip(path: Path) -> Path:
    file = write_idx(path / "cutzip.gz", np.random.default_rng(0).integers(0, 255, (40, 9, 9)), zipped=True)
    file.write_bytes(file.read_bytes()[:-30])
    return file


def too_few_labels(path: Path) -> Path:
    write_idx(path / "few-labels-idx1-ubyte", np.zeros(3))
    return write_idx(path / "few-images-idx3-ubyte", np.zeros((4, 3, 3)))


def beside_folders(path: Path) -> Path:
    write_png(path / "a.png")
    write_png(path / "class" / "b.png")
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty_folder, ["holds no .png"]),
        (one_image, ["holds 1 images", "at least 2"]),
        (mixed_shapes, ["odd.png", "5 x 9 grey", "5 x 6 grey"]),
        (broken_file, ["broken.png", "cannot be decoded"]),
        (not_an_image, ["text.png", "cannot be decoded"]),
        (deep, ["deep.png", "more than 8 bits"]),
        (cut_idx, ["cut-images-idx3-ubyte", "expected 36 bytes", "found 35"]),
        (cut_gzip, ["cutzip.gz", "cannot be read"]),
        (too_few_labels, ["few-labels-idx1-ubyte", "expected 4 labels"]),
        (beside_folders, ["images beside folders"]),
    ],
)
def test_bad_images_get_one_line_that_names_the_file(make, words: list[str], tmp_path: Path) -> None:
    with pytest.raises(InputError) as refusal:
        load_images(make(tmp_path))
    message = str(refusal.value)
    assert "\n" not in message and str(tmp_path) in message
    for word in words:
        assert word in message
