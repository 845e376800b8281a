"""What every logged metric means: the one table."""

from __future__ import annotations

METRICS: dict[str, str] = {
    "step": "environment steps taken so far (gradient steps for behaviour cloning)",
    "seconds": "wall-clock seconds of training so far, over all resumed parts",
    "steps_per_second": "steps of this round divided by its seconds",
    "return_mean": "mean undiscounted true return of the last 100 finished training episodes (sampled actions)",
    "length_mean": "mean length of the same episodes",
    "episodes": "training episodes finished so far",
    "lost_episodes": "training episodes lost so far because a worker process broke; absent where none was",
    "reward_imitation": "mean reward that the discriminator gave in this round, before scaling",
    "absorbing_reward": "reward of the absorbing state that follows a termination",
    "*/loss": "what the optimizer minimizes, mean over every row of the round",
    "*/grad_norm": "global gradient norm before clipping",
    "discriminator/cross_entropy": "binary cross-entropy; log 2 = 0.693 means indistinguishable",
    "discriminator/accuracy_expert": "share of expert rows with logit > 0",
    "discriminator/accuracy_generated": "share of the policy's rows with logit < 0",
    "discriminator/logit_expert": "mean logit of expert rows (high = expert)",
    "discriminator/logit_generated": "mean logit of the policy's rows (high = expert)",
    "discriminator/gradient_penalty": "mean squared distance of the input gradient's norm from its target",
    "discriminator/gradient_norm": "mean norm of the input gradient at interpolates",
    "policy/surrogate": "clipped surrogate objective of PPO, negated",
    "policy/value_loss": "mean squared error of the value function, in scaled returns",
    "policy/entropy": "entropy of the action distribution, in nats",
    "policy/kl": "estimate of KL(old || new): mean of (ratio - 1) - log ratio",
    "policy/clip_fraction": "share of rows whose probability ratio left the clipping range",
    "policy/q_value": "mean value of the actions in the drawn transitions (DQN), in discounted rewards as learned from",
    "policy/td_error": "mean absolute difference of those values and their targets",
    "epsilon": "share of uniform actions while collecting (DQN)",
    "replay_transitions": "transitions that can be drawn from the replay",
    "synthetic/rows": "transitions of the generative player that can be drawn beside the replay's",
    "synthetic/terminated": "share of those that end an episode",
    "synthetic/share": "share of each minibatch of this round that is drawn from those",
    "pseudo/rows": "pseudo-demonstrations that can be drawn",
    "pseudo/plausible": "share of the last proposals that the audit let pass",
    "pseudo/kept": "share of the last proposals that audit and discriminator kept",
    "policy/log_likelihood": "mean log-likelihood of the expert's actions (behaviour cloning)",
    "generator/adversarial": "the generator's side of the adversarial loss (of a GAN, whose expert is the data)",
    "generator/feature_distance": "squared distance of the discriminator's mean activations, data against samples",
    "autoencoder/reconstruction": "negative log-likelihood of an item given its code, in nats",
    "autoencoder/divergence": "divergence of the code's posterior from the prior, in nats",
}
"""Metric name to meaning; ``*`` stands for any player."""


def meaning(name: str) -> str | None:
    """The meaning of metric ``name``, or None where the table lacks it."""
    return METRICS.get(name) or METRICS.get("*/" + name.rpartition("/")[2])
