"""Frames to mp4 files, and several runs side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gail.core.errors import InputError
from gail.core.files import write_atomic
from gail.envs.rendering import Frame

_LABEL_HEIGHT = 28
_GAP = 4


def record_video(frames: Iterable[Frame], path: str | Path, fps: float) -> Path:
    """Write frames as an mp4 (H.264, yuv420p: what browsers play); odd sizes are padded by one pixel.

    Args:
        frames: RGB frames ``[H, W, 3]`` uint8, all of one size; consumed one by one.
        path: the file, ending in ``.mp4``; written atomically.
        fps: frames per second.

    Returns:
        ``path``.

    Raises:
        InputError: where there is no frame, a frame has another size or type, ``fps`` is not positive, or the
            file does not end in ``.mp4``.
    """
    path = Path(path)
    if path.suffix != ".mp4":
        raise InputError(f"{path}: videos are written as .mp4, found suffix {path.suffix!r}")
    if fps <= 0:
        raise InputError(f"{path}: fps is {fps}, expected a positive number")
    stream = iter(frames)
    try:
        first = next(stream)
    except StopIteration:
        raise InputError(f"{path}: there are no frames to write") from None
    _check_frame(path, 0, first, first.shape)
    height, width = first.shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))

    def write(temporary: Path) -> None:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            (width + width % 2, height + height % 2),
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=1,
            quality=7,
            # The index at the front: a page can play the file before it is loaded.
            output_params=["-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
        writer.send(None)
        try:
            for index, frame in enumerate(itertools.chain([first], stream)):
                _check_frame(path, index, frame, first.shape)
                writer.send(np.ascontiguousarray(np.pad(frame, pad, mode="edge")))
        finally:
            writer.close()

    write_atomic(path, write)
    return path


def _check_frame(path: Path, index: int, frame: Frame, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise InputError(
            f"{path}: frame {index} is {frame.dtype} {list(frame.shape)}, expected uint8 "
            f"{list(shape) if len(shape) == 3 else '[H, W, 3]'}"
        )


def side_by_side(sequences: Sequence[Iterable[Frame]], labels: Sequence[str]) -> Iterator[Frame]:
    """Frames of several runs next to each other, a label above each; a run that ended keeps its last frame.

    Args:
        sequences: for each run its RGB frames ``[H, W, 3]`` uint8.
        labels: for each run its name.

    Yields:
        RGB frames, as many as the longest run has.

    Raises:
        InputError: where the numbers differ, or a run has no frames.
    """
    if len(sequences) != len(labels) or not labels:
        raise InputError(f"{len(sequences)} frame sequences and {len(labels)} labels, expected one label each")
    last: list[Frame | None] = [None] * len(labels)
    for frames in itertools.zip_longest(*sequences):
        for index, frame in enumerate(frames):
            if frame is not None:
                last[index] = frame
            elif last[index] is None:
                raise InputError(f"the run {labels[index]!r} has no frames")
        yield _join([frame for frame in last if frame is not None], labels)


def _join(frames: Sequence[Frame], labels: Sequence[str]) -> Frame:
    height = max(frame.shape[0] for frame in frames)
    width = sum(frame.shape[1] for frame in frames) + _GAP * (len(frames) - 1)
    image = Image.new("RGB", (width, height + _LABEL_HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=16)
    left = 0
    for frame, label in zip(frames, labels, strict=True):
        middle = (left + frame.shape[1] / 2, _LABEL_HEIGHT / 2)
        draw.text(middle, label, fill=(20, 24, 31), font=font, anchor="mm")
        image.paste(Image.fromarray(frame), (left, _LABEL_HEIGHT))
        left += frame.shape[1] + _GAP
    return np.asarray(image, dtype=np.uint8)
