"""Settings of imitation runs, and the recipes that learn.

A recipe is what `gail train ENV` uses where neither a flag nor a TOML file says otherwise. Environments without one
of their own share the recipe of their kind of action space.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import gymnasium as gym

from gail.agents.bc import BCConfig
from gail.agents.expert import MPE_PPO
from gail.agents.ppo import PPOConfig
from gail.core.errors import InputError
from gail.envs.atari import is_atari
from gail.envs.spaces import Categorical
from gail.imitation.gail import DiscriminatorConfig, GAILConfig

AlgoName = Literal["gail", "bc"]


@dataclass(frozen=True)
class ImitationConfig:
    """What determines an imitation run, beside environment, demonstrations and seed."""

    algo: AlgoName = "gail"
    """The method: adversarial imitation (gail) or behaviour cloning (bc)."""
    demo_episodes: int | None = None
    """Learn from the first so many episodes of the demonstrations; all where not given."""
    subsample: int = 1
    """Learn from one step in so many of each episode."""
    steps: int = 1_000_000
    """Environment steps (gail)."""
    num_envs: int = 16
    """Environments stepped together (gail)."""
    backend: str = "auto"
    """How environments are vectorized: auto, native, mujoco, sync, async or vector_entry_point."""
    device: str = "cpu"
    """Where networks and tensors live: cpu, cuda, cuda:1, ..."""
    threads: int = 1
    """Threads of each tensor operation on the processor."""
    evaluation_episodes: int = 50
    """Episodes with deterministic actions after training."""
    gail: GAILConfig = field(default_factory=GAILConfig)
    """Hyperparameters of adversarial imitation."""
    bc: BCConfig = field(default_factory=BCConfig)
    """Hyperparameters of behaviour cloning."""

    def __post_init__(self) -> None:
        for name in ("demo_episodes", "subsample", "steps", "num_envs", "threads", "evaluation_episodes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')}: {value}, expected at least 1")


_CONTROL = GAILConfig(
    ppo=PPOConfig(horizon=128, learning_rate=5e-4, epochs=8, minibatch_size=128),
    discriminator=DiscriminatorConfig(learning_rate=5e-4, updates_per_round=16),
)
# Batched MuJoCo wants wide batches, and they want few, large minibatches. Half the passes and one trunk make rounds so
# much shorter that the steps they need more cost no time.
_HOPPER = GAILConfig(
    ppo=PPOConfig(horizon=32, learning_rate=1.5e-3, epochs=4, minibatch_size=512, shared=True),
    discriminator=DiscriminatorConfig(learning_rate=1e-3, updates_per_round=8, batch_size=512),
)
_DISCRETE = GAILConfig(
    ppo=PPOConfig(horizon=32, learning_rate=2e-3, epochs=6, minibatch_size=256),
    discriminator=DiscriminatorConfig(learning_rate=1e-3),
)
# Torch-native environments step faster than networks learn: wide batches, few passes, high learning rates. Short
# rollouts with large minibatches want long traces: with a gae_lambda of 0.95 one seed in six stays short.
_CARTPOLE = GAILConfig(
    ppo=PPOConfig(
        horizon=32,
        learning_rate=1.2e-2,
        gae_lambda=0.98,
        epochs=2,
        minibatch_size=2048,
        activation="relu",
        shared=True,
    ),
    discriminator=DiscriminatorConfig(learning_rate=1e-2, updates_per_round=4, activation="relu"),
)
# Ending sooner is all that Acrobot's expert is better at, and that shows late: a longer view, more passes.
_ACROBOT = replace(
    _CARTPOLE,
    ppo=replace(_CARTPOLE.ppo, learning_rate=6e-3, gae_lambda=0.95, epochs=4, minibatch_size=512, gamma=0.995),
)
_PENDULUM = GAILConfig(
    ppo=PPOConfig(horizon=200, learning_rate=1e-3, gamma=0.95, epochs=10, minibatch_size=320),
    discriminator=DiscriminatorConfig(learning_rate=1e-3, updates_per_round=16),
)

# A discriminator that lags behind a fast policy makes both go in circles: a slower policy, a faster judge.
_MPE = GAILConfig(
    ppo=replace(MPE_PPO, learning_rate=5e-4, epochs=4),
    discriminator=DiscriminatorConfig(learning_rate=1e-3, updates_per_round=24, batch_size=512),
)

_RECIPES: dict[str, ImitationConfig] = {
    "CartPole-v1": ImitationConfig(steps=196_608, num_envs=128, gail=_CARTPOLE),
    # Episodes there always last 500 steps, so the same number of steps holds far fewer starts.
    "CartPoleFixedHorizon-v0": ImitationConfig(steps=600_000, num_envs=32, gail=_DISCRETE),
    "Acrobot-v1": ImitationConfig(steps=196_608, num_envs=128, gail=_ACROBOT),
    "Pendulum-v1": ImitationConfig(steps=297_600, num_envs=16, gail=_PENDULUM),
    "Hopper-v5": ImitationConfig(steps=1_300_000, num_envs=128, gail=_HOPPER),
}


def recipe(env_id: str, action_space: gym.Space | None = None) -> ImitationConfig:
    """The settings for an environment: its own recipe, else that of its kind of action space."""
    if env_id in _RECIPES:
        return _RECIPES[env_id]
    if is_atari(env_id):
        # A convolutional policy: every gradient step costs what a hundred of the others cost.
        return ImitationConfig(gail=_DISCRETE, num_envs=8, evaluation_episodes=30, bc=BCConfig(steps=2_000))
    if env_id.startswith("mpe2."):
        return ImitationConfig(gail=_MPE, steps=180_000, num_envs=32)
    if isinstance(action_space, Categorical):
        return ImitationConfig(gail=_DISCRETE, num_envs=32)
    return ImitationConfig(gail=_CONTROL)
