"""Small data sets whose items say where they are from."""

from __future__ import annotations

import numpy as np
import torch

from gail.demos.types import Demonstrations, Trajectory
from gail.generators.dataset import Dataset
from gail.generators.images import ImageCodec


def make_demos(episodes: int = 6, length: int = 12, *, discrete: bool = False) -> Demonstrations:
    """Episodes whose numbers say where they stand: observation (10 e + t, -t), reward t; odd episodes terminate."""
    trajectories = []
    for episode in range(episodes):
        t = np.arange(length + 1, dtype=np.float32)
        obs = np.stack([10.0 * episode + t, -t], axis=1).astype(np.float32)
        steps = np.arange(length)
        actions = steps % 3 + 1 if discrete else (np.sin(steps)[:, None] * 2).astype(np.float32)
        trajectories.append(
            Trajectory(obs, actions, steps.astype(np.float64), terminated=episode % 2 == 1, truncated=episode % 2 == 0)
        )
    return Demonstrations(tuple(trajectories), env_id="Toy-v0", env_kwargs={"g": 1})


def make_images() -> Dataset:
    """Sixty-four 8 x 8 images of two classes: bright above or bright below."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(64) % 2
    images = torch.randint(0, 60, (64, 1, 8, 8), generator=generator, dtype=torch.uint8)
    images[labels == 0, :, :4] += 180
    images[labels == 1, :, 4:] += 180
    return Dataset(images, ImageCodec((1, 8, 8)), labels=labels, classes=("above", "below"))
