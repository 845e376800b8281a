"""Which diagnostics the page draws, and how a reader should take each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["discriminator", "policy", "cloning"]


@dataclass(frozen=True)
class Panel:
    """One small figure."""

    title: str
    group: Group
    metrics: tuple[str, ...]
    """One or two names of ``metrics.jsonl``; the second is dashed."""
    reading: str
    """One sentence: how to read it."""
    lines: tuple[str, ...] = ()
    """What the solid and the dashed line show, where there are two."""
    reference: float | None = None
    """Where to draw a dotted line."""
    limits: tuple[float, float] | None = None
    """Of the vertical axis, where the metric has natural ones."""
    unit: str = "environment steps"
    """Of the horizontal axis."""


_SIDES = ("expert rows", "generated rows")

PANELS = (
    Panel(
        "Discriminator accuracy",
        "discriminator",
        ("discriminator/accuracy_expert", "discriminator/accuracy_generated"),
        "Near 0.5 (dotted) the discriminator can no longer tell policy from expert; stuck at 1.0 it has won, and the "
        "policy gets little to learn from.",
        _SIDES,
        reference=0.5,
        limits=(-0.03, 1.03),
    ),
    Panel(
        "Discriminator logits",
        "discriminator",
        ("discriminator/logit_expert", "discriminator/logit_generated"),
        "High means expert: the two lines should start apart and close in on each other and on 0 (dotted).",
        _SIDES,
        reference=0.0,
    ),
    Panel(
        "Input gradient",
        "discriminator",
        ("discriminator/gradient_norm", "discriminator/gradient_penalty"),
        "The norm should stay near its target, 1 (dotted), with a penalty near 0; a growing norm is a discriminator "
        "too steep to learn from.",
        ("norm", "penalty"),
        reference=1.0,
    ),
    Panel(
        "Imitation reward",
        "discriminator",
        ("reward_imitation", "absorbing_reward"),
        "What the policy is paid: when every step earns more than the state after a termination, survival alone pays.",
        ("mean per step", "absorbing state"),
        reference=0.0,
    ),
    Panel(
        "Entropy",
        "policy",
        ("policy/entropy",),
        "In nats: it should fall slowly; a sudden drop means that the policy stopped exploring early.",
    ),
    Panel(
        "KL divergence",
        "policy",
        ("policy/kl",),
        "How far one update moves the policy: a few hundredths is usual, repeated spikes ask for a smaller "
        "learning rate or fewer epochs.",
    ),
    Panel(
        "Clip fraction",
        "policy",
        ("policy/clip_fraction",),
        "Share of rows that PPO's clipping held back: 0 is a timid update, well above 0.3 an aggressive one.",
    ),
    Panel(
        "Value loss",
        "policy",
        ("policy/value_loss",),
        "The reward changes with the discriminator, so the loss need not vanish; it should not grow without end.",
    ),
    Panel(
        "Log-likelihood",
        "cloning",
        ("policy/log_likelihood",),
        "Behaviour cloning's fit to the expert's actions it has seen: it rises and levels off, and says nothing about "
        "states that the expert never visited.",
        unit="gradient steps",
    ),
)
"""Every diagnostic, in the order of the page."""
