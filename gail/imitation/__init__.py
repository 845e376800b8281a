"""Floor 3: who judges. Discriminators, rewards, the imitation games and their recipes."""

from gail.imitation.imitate import ImitationResult, imitate
from gail.imitation.recipes import ImitationConfig, recipe

__all__ = ["ImitationConfig", "ImitationResult", "imitate", "recipe"]
