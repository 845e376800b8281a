"""Adversarial losses: what GAIL's discriminator and a GAN's share.

A discriminator is any callable ``batch -> logits [B]``, **high where the batch looks real (expert)**.
A loss is a function ``(discriminator, expert, generated, mix) -> (loss, metrics)``; ``mix`` ``[B, 1]`` holds
uniform numbers drawn outside the step, for penalties that interpolate. Losses compose::

    loss = with_gradient_penalty(bce_loss, 10.0)
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Metrics = dict[str, Tensor]
Logits = Callable[[Tensor], Tensor]
"""Feature rows ``[B, D]`` to logits ``[B]``, high = expert."""
AdversarialLoss = Callable[[Logits, Tensor, Tensor, Tensor], tuple[Tensor, Metrics]]


def bce_loss(logits_of: Logits, expert: Tensor, generated: Tensor, mix: Tensor) -> tuple[Tensor, Metrics]:
    """Binary cross-entropy, labels expert = 1: ``-E[log D(expert)] - E[log(1 - D(generated))]``, halved.

    Source: Goodfellow et al. 2014; Ho & Ermon 2016, equation 17 with the labels' roles swapped.

    Args:
        logits_of: the discriminator.
        expert: ``[B, D]`` feature rows of the expert.
        generated: ``[B, D]`` feature rows of the generator (any B of its own).
        mix: unused here; penalties need it.

    Returns:
        The scalar loss, and its metrics, each a mean over its own rows.
    """
    both = logits_of(torch.cat([expert, generated]))
    logits_expert, logits_generated = both[: expert.shape[0]], both[expert.shape[0] :]
    loss = 0.5 * (F.softplus(-logits_expert).mean() + F.softplus(logits_generated).mean())
    metrics = {
        "cross_entropy": loss.detach(),
        "accuracy_expert": (logits_expert.detach() > 0).float().mean(),
        "accuracy_generated": (logits_generated.detach() < 0).float().mean(),
        "logit_expert": logits_expert.detach().mean(),
        "logit_generated": logits_generated.detach().mean(),
    }
    return loss, metrics


def with_gradient_penalty(loss: AdversarialLoss, weight: float, *, target: float = 1.0) -> AdversarialLoss:
    """Add ``weight * E[(|grad_x logits(x)| - target)^2]`` on random interpolates of expert and generated rows.

    Source: Gulrajani et al. 2017, equation 3 (there ``target`` is 1); Kostrikov et al. 2019 use it in DAC.

    Args:
        loss: what to add to.
        weight: the penalty's factor (lambda in the paper).
        target: the gradient norm that costs nothing.
    """

    def penalized(logits_of: Logits, expert: Tensor, generated: Tensor, mix: Tensor) -> tuple[Tensor, Metrics]:
        value, metrics = loss(logits_of, expert, generated, mix)
        x = (mix * expert + (1.0 - mix) * generated).detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(logits_of(x).sum(), x, create_graph=True)
        # The square root's own gradient is infinite at 0, hence the small constant.
        norm = (gradient.square().sum(dim=1) + 1e-12).sqrt()
        penalty = (norm - target).square().mean()
        return value + weight * penalty, {
            **metrics,
            "gradient_penalty": penalty.detach(),
            "gradient_norm": norm.detach().mean(),
        }

    return penalized
