"""Floor 3: who invents. Generative models on the engine that trains GAIL, their data, and their samples."""

from __future__ import annotations

from gail.generators.asked_returns import evaluate_targets
from gail.generators.audit import Audit, audit
from gail.generators.audit_filter import FilterConfig, Filtered, filter_synthetic
from gail.generators.audit_view import AuditConfig
from gail.generators.fit import FitConfig, FitResult, fit, fit_recipe
from gail.generators.kinds import KINDS, FittedGenerator, TrainingConfig, load_generator
from gail.generators.load import DataConfig, load_data
from gail.generators.proposals import Proposals
from gail.generators.replay_model import ReplayModel
from gail.generators.sample import sample, sample_transitions
from gail.generators.world import World

__all__ = [
    "KINDS",
    "Audit",
    "AuditConfig",
    "DataConfig",
    "FilterConfig",
    "Filtered",
    "FitConfig",
    "FitResult",
    "FittedGenerator",
    "Proposals",
    "ReplayModel",
    "TrainingConfig",
    "World",
    "audit",
    "evaluate_targets",
    "filter_synthetic",
    "fit",
    "fit_recipe",
    "load_data",
    "load_generator",
    "sample",
    "sample_transitions",
]
