"""How large and how fast videos are."""

from __future__ import annotations

import numpy as np
from PIL import Image

from gail.envs.rendering import Frame

MAX_FPS = 30
MAX_HEIGHT = 320


def video_rate(steps_per_second: float) -> tuple[float, int]:
    """Frames per second of the video, and how many environment steps lie between two frames."""
    stride = -(-int(steps_per_second) // MAX_FPS)
    return steps_per_second / stride, stride


def shrink(frame: Frame) -> Frame:
    """``frame`` ``[H, W, 3]``, at most ``MAX_HEIGHT`` pixels high."""
    height, width = frame.shape[:2]
    if height <= MAX_HEIGHT:
        return frame
    size = (round(width * MAX_HEIGHT / height), MAX_HEIGHT)
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS), dtype=np.uint8)
