"""One step of an optimizer down a loss, as every plain loop takes it."""

import torch
from torch import Tensor, nn


def minimize(optimizer: torch.optim.Optimizer, loss: Tensor, clip: float | None = None) -> None:
    """Gradients, clipped to the norm ``clip``, and the optimizer's step."""
    optimizer.zero_grad()
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], clip)
    optimizer.step()
