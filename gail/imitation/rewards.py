"""Rewards from logits (high = expert): what the policy is paid for looking like the expert.

With D = sigmoid(logits) the probability of "expert":

=========  =====================  ============  ==========================================================
name       formula                sign          what it rewards by itself
=========  =====================  ============  ==========================================================
airl       log D - log(1 - D)     both          nothing, where expert and policy are alike (logit 0)
gail       -log(1 - D)            positive      living on, whatever the demonstrations
negative   log D                  negative      ending the episode, whatever the demonstrations
=========  =====================  ============  ==========================================================

The one-signed rewards are safe only where episodes have a fixed length. The default is ``airl`` together with
absorbing states (``gail.imitation.absorbing``), which is right for either kind.
Source: Ho & Ermon 2016; Fu et al. 2018; Kostrikov et al. 2019; Orsini et al. 2021 (the comparison).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

RewardName = Literal["airl", "gail", "negative"]


def airl_reward(logits: Tensor) -> Tensor:
    """``log D - log(1 - D)``, which is the logit itself."""
    return logits


def gail_reward(logits: Tensor) -> Tensor:
    """``-log(1 - D)``."""
    return F.softplus(logits)


def negative_reward(logits: Tensor) -> Tensor:
    """``log D``."""
    return -F.softplus(-logits)


REWARDS: dict[RewardName, Callable[[Tensor], Tensor]] = {
    "airl": airl_reward,
    "gail": gail_reward,
    "negative": negative_reward,
}
