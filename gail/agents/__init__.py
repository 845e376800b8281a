"""Floor 2: who plays. Policies, learners, rollouts, evaluation."""

from gail.agents.collect import collect_demos
from gail.agents.evaluate import Evaluation, evaluate_policy, random_return
from gail.agents.expert import ExpertConfig, train_expert
from gail.agents.find_policy import FoundPolicy, find_policy
from gail.agents.policy import (
    ActorCritic,
    MLPPolicy,
    PixelPolicy,
    Policy,
    PolicyOutput,
    RandomPolicy,
    load_policy,
    save_policy,
)
from gail.agents.scoring import evaluate, evaluate_runs

__all__ = [
    "ActorCritic",
    "Evaluation",
    "ExpertConfig",
    "FoundPolicy",
    "MLPPolicy",
    "PixelPolicy",
    "Policy",
    "PolicyOutput",
    "RandomPolicy",
    "collect_demos",
    "evaluate",
    "evaluate_policy",
    "evaluate_runs",
    "find_policy",
    "load_policy",
    "random_return",
    "save_policy",
    "train_expert",
]
