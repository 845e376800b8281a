"""Published scores of human and random play on Atari 2600 games, and scores normalized by them.

Human and random: Wang et al. 2016, "Dueling Network Architectures for Deep Reinforcement Learning" (arXiv:1511.06581),
table of raw scores with up to 30 no-op actions at the start, 57 games; the same 114 numbers stand in DQN Zoo
(``atari_data.py``). Two traps in the literature:

- Mnih et al. 2015 ("Human-level control through deep reinforcement learning", 49 games) measured other human scores: on
  34 games they differ from these (Pong 9.3 for 14.6). Nobody should mix the two tables.
- For random play on VideoPinball later papers print 0.0 instead of 16256.9; that moves a policy's normalized score far.

All of them were measured without sticky actions and with episodes of at most 108,000 frames (30 minutes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from gail.core.statistics import normalized


@dataclass(frozen=True)
class PublishedScores:
    """Mean undiscounted returns of one game."""

    random: float
    """Uniform random actions."""
    human: float
    """A professional games tester."""

    def human_normalized(self, score: float) -> float:
        """``(score - random) / (human - random)``: 0 plays like random, 1 like the human tester."""
        return normalized(score, self.random, self.human)


SOURCE: Final = "Wang et al. 2016 (arXiv:1511.06581), no-op starts"
"""Where :data:`PUBLISHED` comes from, for tables and result files."""

PUBLISHED: Final[dict[str, PublishedScores]] = {
    "Alien": PublishedScores(227.8, 7127.7),
    "Amidar": PublishedScores(5.8, 1719.5),
    "Assault": PublishedScores(222.4, 742.0),
    "Asterix": PublishedScores(210.0, 8503.3),
    "Asteroids": PublishedScores(719.1, 47388.7),
    "Atlantis": PublishedScores(12850.0, 29028.1),
    "BankHeist": PublishedScores(14.2, 753.1),
    "BattleZone": PublishedScores(2360.0, 37187.5),
    "BeamRider": PublishedScores(363.9, 16926.5),
    "Berzerk": PublishedScores(123.7, 2630.4),
    "Bowling": PublishedScores(23.1, 160.7),
    "Boxing": PublishedScores(0.1, 12.1),
    "Breakout": PublishedScores(1.7, 30.5),
    "Centipede": PublishedScores(2090.9, 12017.0),
    "ChopperCommand": PublishedScores(811.0, 7387.8),
    "CrazyClimber": PublishedScores(10780.5, 35829.4),
    "Defender": PublishedScores(2874.5, 18688.9),
    "DemonAttack": PublishedScores(152.1, 1971.0),
    "DoubleDunk": PublishedScores(-18.6, -16.4),
    "Enduro": PublishedScores(0.0, 860.5),
    "FishingDerby": PublishedScores(-91.7, -38.7),
    "Freeway": PublishedScores(0.0, 29.6),
    "Frostbite": PublishedScores(65.2, 4334.7),
    "Gopher": PublishedScores(257.6, 2412.5),
    "Gravitar": PublishedScores(173.0, 3351.4),
    "Hero": PublishedScores(1027.0, 30826.4),
    "IceHockey": PublishedScores(-11.2, 0.9),
    "Jamesbond": PublishedScores(29.0, 302.8),
    "Kangaroo": PublishedScores(52.0, 3035.0),
    "Krull": PublishedScores(1598.0, 2665.5),
    "KungFuMaster": PublishedScores(258.5, 22736.3),
    "MontezumaRevenge": PublishedScores(0.0, 4753.3),
    "MsPacman": PublishedScores(307.3, 6951.6),
    "NameThisGame": PublishedScores(2292.3, 8049.0),
    "Phoenix": PublishedScores(761.4, 7242.6),
    "Pitfall": PublishedScores(-229.4, 6463.7),
    "Pong": PublishedScores(-20.7, 14.6),
    "PrivateEye": PublishedScores(24.9, 69571.3),
    "Qbert": PublishedScores(163.9, 13455.0),
    "Riverraid": PublishedScores(1338.5, 17118.0),
    "RoadRunner": PublishedScores(11.5, 7845.0),
    "Robotank": PublishedScores(2.2, 11.9),
    "Seaquest": PublishedScores(68.4, 42054.7),
    "Skiing": PublishedScores(-17098.1, -4336.9),
    "Solaris": PublishedScores(1236.3, 12326.7),
    "SpaceInvaders": PublishedScores(148.0, 1668.7),
    "StarGunner": PublishedScores(664.0, 10250.0),
    "Surround": PublishedScores(-10.0, 6.5),
    "Tennis": PublishedScores(-23.8, -8.3),
    "TimePilot": PublishedScores(3568.0, 5229.2),
    "Tutankham": PublishedScores(11.4, 167.6),
    "UpNDown": PublishedScores(533.4, 11693.2),
    "Venture": PublishedScores(0.0, 1187.5),
    "VideoPinball": PublishedScores(16256.9, 17667.9),
    "WizardOfWor": PublishedScores(563.5, 4756.5),
    "YarsRevenge": PublishedScores(3092.9, 54576.9),
    "Zaxxon": PublishedScores(32.5, 9173.3),
}
"""Game, as in ``ALE/<game>-v5``, to its published scores."""

ATARI57: Final = tuple(PUBLISHED)
"""The 57 games that human scores are published for (Wang et al. 2016)."""

ATARI26: Final = (
    "Alien",
    "Amidar",
    "Assault",
    "Asterix",
    "BankHeist",
    "BattleZone",
    "Boxing",
    "Breakout",
    "ChopperCommand",
    "CrazyClimber",
    "DemonAttack",
    "Freeway",
    "Frostbite",
    "Gopher",
    "Hero",
    "Jamesbond",
    "Kangaroo",
    "Krull",
    "KungFuMaster",
    "MsPacman",
    "Pong",
    "PrivateEye",
    "Qbert",
    "RoadRunner",
    "Seaquest",
    "UpNDown",
)
"""The 26 games of Atari-100k (Kaiser et al. 2020, "Model-Based Reinforcement Learning for Atari", arXiv:1903.00374).

Normalized with the same table by Schwarzer et al. 2021 (SPR) and Agarwal et al. 2021 (rliable).
"""

_ENV_ID = re.compile(r"ALE/(\w+)-v5")


def game_of(env_id: str) -> str | None:
    """The game that an ``ALE/<game>-v5`` id plays; None for any other environment."""
    match = _ENV_ID.fullmatch(env_id)
    return match[1] if match else None


def published_scores(env_id: str) -> PublishedScores | None:
    """The published scores of an ``ALE/<game>-v5`` id, or None where there are none."""
    return PUBLISHED.get(game_of(env_id) or "")
