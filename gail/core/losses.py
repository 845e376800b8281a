"""Adversarial losses: what GAIL's discriminator and a GAN's share, and the generator's side of a GAN.

A discriminator is any callable ``batch -> logits [B]``, **high where the batch looks real (expert)**.
A loss is a function ``(discriminator, expert, generated, mix) -> (loss, metrics)``; ``mix`` ``[B, 1]`` holds
uniform numbers drawn outside the step, for penalties that interpolate. Losses compose::

    loss = with_gradient_penalty(bce_loss, 10.0)

A GAN's generator has its own loss of the logits of what it made; :data:`ADVERSARIAL` pairs the two sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

Metrics = dict[str, Tensor]
Logits = Callable[[Tensor], Tensor]
"""Feature rows ``[B, D]`` to logits ``[B]``, high = expert."""
AdversarialLoss = Callable[[Logits, Tensor, Tensor, Tensor], tuple[Tensor, Metrics]]
GeneratorLoss = Callable[[Tensor], Tensor]
"""Logits ``[B]`` of generated rows to the scalar that their generator minimizes."""


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


def least_squares_loss(logits_of: Logits, expert: Tensor, generated: Tensor, mix: Tensor) -> tuple[Tensor, Metrics]:
    """Least squares towards 1 (expert) and 0 (generated), halved; a logit above 1/2 means expert.

    Source: Mao et al. 2017 (LSGAN), equation 9. Arguments and result as of :func:`bce_loss`.
    """
    real, fake = _both(logits_of, expert, generated)
    loss = 0.5 * ((real - 1.0).square().mean() + fake.square().mean())
    return loss, _metrics(real, fake, threshold=0.5)


def wasserstein_loss(logits_of: Logits, expert: Tensor, generated: Tensor, mix: Tensor) -> tuple[Tensor, Metrics]:
    """The critic's estimate of the Wasserstein-1 distance, negated: ``E[D(generated)] - E[D(expert)]``.

    It needs a Lipschitz constraint: :func:`with_gradient_penalty`, or spectral normalization. Its logits have no
    threshold. Source: Arjovsky et al. 2017, equation 3. Arguments and result as of :func:`bce_loss`.
    """
    real, fake = _both(logits_of, expert, generated)
    return fake.mean() - real.mean(), _metrics(real, fake, threshold=None)


def hinge_loss(logits_of: Logits, expert: Tensor, generated: Tensor, mix: Tensor) -> tuple[Tensor, Metrics]:
    """``E[max(0, 1 - D(expert))] + E[max(0, 1 + D(generated))]``.

    Source: Miyato et al. 2018 (spectral normalization), equation 16. Arguments and result as of :func:`bce_loss`.
    """
    real, fake = _both(logits_of, expert, generated)
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean(), _metrics(real, fake, threshold=0.0)


def _both(logits_of: Logits, expert: Tensor, generated: Tensor) -> tuple[Tensor, Tensor]:
    both = logits_of(torch.cat([expert, generated]))
    return both[: expert.shape[0]], both[expert.shape[0] :]


def _metrics(real: Tensor, fake: Tensor, *, threshold: float | None) -> Metrics:
    real, fake = real.detach(), fake.detach()
    means = {"logit_expert": real.mean(), "logit_generated": fake.mean()}
    if threshold is None:
        return means
    return {
        "accuracy_expert": (real > threshold).float().mean(),
        "accuracy_generated": (fake < threshold).float().mean(),
        **means,
    }


def non_saturating(logits: Tensor) -> Tensor:
    """``-E[log D(generated)]`` (Goodfellow et al. 2014, section 3): strong where the discriminator is sure."""
    return F.softplus(-logits).mean()


def least_squares(logits: Tensor) -> Tensor:
    """``E[(D(generated) - 1)^2] / 2`` (Mao et al. 2017, equation 9)."""
    return 0.5 * (logits - 1.0).square().mean()


def raise_logits(logits: Tensor) -> Tensor:
    """``-E[D(generated)]``: the generator's side of the Wasserstein and of the hinge loss."""
    return -logits.mean()


@dataclass(frozen=True)
class Adversarial:
    """The two sides of one adversarial game."""

    discriminator: AdversarialLoss
    generator: GeneratorLoss


ADVERSARIAL: dict[str, Adversarial] = {
    "non-saturating": Adversarial(bce_loss, non_saturating),
    "least-squares": Adversarial(least_squares_loss, least_squares),
    "wasserstein": Adversarial(wasserstein_loss, raise_logits),
    "hinge": Adversarial(hinge_loss, raise_logits),
}
"""Adversarial losses by name."""


def feature_matching(expert: Sequence[Tensor], generated: Sequence[Tensor]) -> Tensor:
    """Squared distance between mean features, averaged over units and layers.

    Source: Salimans et al. 2016, section 3.1.

    Args:
        expert: a discriminator's hidden activations ``[B, ...]`` on real rows, one per layer.
        generated: the same on generated rows.
    """
    distances = [(a.detach().mean(0) - b.mean(0)).square().mean() for a, b in zip(expert, generated, strict=True)]
    return torch.stack(distances).mean()
