"""Observations that stack the last frames: each frame is kept once, in files and in memory."""

from __future__ import annotations

import numpy as np

DEEPEST = 64
"""Frames in a stack at most: an image that is black throughout is no stack of its rows."""


def stack_frames(frames: np.ndarray, depth: int) -> np.ndarray:
    """Observations of the last ``depth`` frames, the newest last, black before the first.

    Args:
        frames: ``[T + 1, ...]``, one per observation.
        depth: frames per observation.

    Returns:
        ``[T + 1, depth, ...]``, a read-only view that holds each frame once.
    """
    padded = np.concatenate([np.zeros((depth - 1, *frames.shape[1:]), frames.dtype), frames])
    windows = np.lib.stride_tricks.sliding_window_view(padded, depth, axis=0)
    return np.moveaxis(windows, -1, 1)


def single_frames(observations: np.ndarray) -> np.ndarray | None:
    """The frames ``[T + 1, ...]`` that ``stack_frames`` makes ``observations`` ``[T + 1, depth, ...]`` of.

    Returns:
        None where they are no such stack of images.
    """
    if observations.dtype != np.uint8 or observations.ndim < 4 or not 2 <= observations.shape[1] <= DEEPEST:
        return None
    if observations[0, :-1].any() or not np.array_equal(observations[1:, :-1], observations[:-1, 1:]):
        return None
    return observations[:, -1]


def keep_once(observations: np.ndarray) -> np.ndarray:
    """``observations`` themselves, held in memory once per frame where they are stacks."""
    frames = single_frames(observations)
    return observations if frames is None else stack_frames(frames, observations.shape[1])
