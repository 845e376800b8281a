"""Pseudo-demonstrations on hand-made proposals: what is kept, what is replayed, what the discriminator sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gail
from gail.agents.policy import RandomPolicy, new_policy
from gail.agents.ppo import PPOConfig
from gail.core.engine import Turn, train
from gail.core.errors import InputError
from gail.core.player import Player
from gail.core.random import make_generator
from gail.demos.types import Demonstrations, Transitions, to_transitions
from gail.envs import make_vec
from gail.generators.proposals import Proposals
from gail.imitation.discriminator import Discriminator
from gail.imitation.gail import GAIL, DiscriminatorConfig, GAILConfig
from gail.imitation.pseudo import PseudoConfig, PseudoDemonstrations

CONFIG = PseudoConfig(share=0.5, generator="gan", warmup=3, updates_per_round=2, proposals=4, capacity=3)


def rows_at(*places: float) -> Transitions:
    """CartPole rows whose every number is the place."""
    obs = torch.tensor(places)[:, None].repeat(1, 4)
    return Transitions(
        obs, torch.zeros(len(places), dtype=torch.int64), obs, torch.zeros(len(places), dtype=torch.bool)
    )


class Scripted:
    """Proposes the same rows every time and counts how often it was trained."""

    def __init__(self, places: tuple[float, ...], plausible: tuple[bool, ...]) -> None:
        self.places, self.plausible = places, plausible
        self.players: Mapping[str, Player] = {}
        self.trained = 0

    def turns(self) -> Iterator[Turn]:
        self.trained += 1
        return iter(())

    def propose(self, n: int) -> tuple[Transitions, Tensor]:
        assert n == CONFIG.proposals
        return rows_at(*self.places), torch.tensor(self.plausible)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def judge_by_place(slope: float = 1.0) -> Discriminator:
    """A discriminator whose logit is ``slope`` times the place."""
    env = make_vec("CartPole-v1", 1)
    judge = Discriminator(env.observation_space, env.action_space, hidden=())
    (layer,) = judge.network
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, 0] = slope
        layer.bias.zero_()
    return judge


def test_kept_is_what_is_plausible_and_as_expert_like_as_the_median_of_real_rows() -> None:
    pseudo = PseudoDemonstrations(
        CONFIG, Scripted((-2.0, 0.4, 0.6, 2.0), (True, True, True, False)), rows_at(0, 0.5, 1)
    )
    pseudo.refill(judge_by_place())
    torch.testing.assert_close(pseudo.rows.obs[:, 0], torch.tensor([0.6]))
    assert pseudo.metrics() == {"pseudo/rows": 1.0, "pseudo/plausible": 0.75, "pseudo/kept": 0.25}


def test_the_newest_rows_stay() -> None:
    proposer = Scripted((1.0, 2.0, 3.0, 4.0), (True,) * 4)
    pseudo = PseudoDemonstrations(CONFIG, proposer, rows_at(0, 0, 0))
    pseudo.refill(judge_by_place())
    assert pseudo.rows.obs[:, 0].tolist() == [2.0, 3.0, 4.0]
    proposer.places = (5.0, -1.0, -1.0, -1.0)
    pseudo.refill(judge_by_place())
    assert pseudo.rows.obs[:, 0].tolist() == [3.0, 4.0, 5.0]


def test_rows_are_replayed_as_often_as_the_discriminator_believes_in_them_now() -> None:
    pseudo = PseudoDemonstrations(CONFIG, Scripted((0.0, 3.0, 0.0, 0.0), (True, True, False, False)), rows_at(-1, -1))
    pseudo.refill(judge_by_place())
    drawn = pseudo.draw(judge_by_place(), 20_000, torch.Generator().manual_seed(0))
    believed = torch.sigmoid(torch.tensor([0.0, 3.0]))
    expected = float(believed[1] / believed.sum())
    assert float((drawn[:, 0] > 1.0).float().mean()) == pytest.approx(expected, abs=0.01)
    turned = pseudo.draw(judge_by_place(-1.0), 20_000, torch.Generator().manual_seed(0))
    assert float((turned[:, 0] > 1.0).float().mean()) == pytest.approx(0.0474 / (0.5 + 0.0474), abs=0.01)


def expert() -> Demonstrations:
    env = make_vec("CartPole-v1", 1)
    player = RandomPolicy(env.observation_space, env.action_space)
    return gail.collect_demos(player, "CartPole-v1", episodes=4, seed=0)


def new_game(proposer: Any, demos: Demonstrations, pseudo: PseudoConfig = CONFIG) -> GAIL:
    env = make_vec("CartPole-v1", 4)
    config = GAILConfig(
        ppo=PPOConfig(horizon=8, epochs=1, minibatch_size=16, hidden=(8,), anneal=False),
        discriminator=DiscriminatorConfig(hidden=(8,), batch_size=32, updates_per_round=2, gradient_penalty=0.0),
        pseudo=pseudo,
    )
    policy = new_policy(env, 0, hidden=(8,))
    generators = {name: make_generator(0, name, env.device) for name in ("actions", "shuffle", "judge")}
    return GAIL(
        env, demos, to_transitions(demos), config, policy=policy, seed=0, generators=generators, proposer=proposer
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_the_discriminators_expert_rows_that_are_pseudo(share: float) -> None:
    demos = expert()
    game = new_game(Scripted((50.0,) * 4, (True,) * 4), demos, replace(CONFIG, share=share, threshold=0.0))
    game.absorbing_states = False
    seen = []
    for _ in range(30):
        for turn in game.round():
            if turn.player == "discriminator":
                seen.append(turn.batch.expert[:, 0])
        assert game.pseudo is not None
        game.pseudo.rows = rows_at(50.0, 50.0)
    assert not bool((seen[0] > 9).any()), "nothing had been proposed in the first round"
    later = torch.cat(seen[2:])
    assert float((later > 9).float().mean()) == pytest.approx(share, abs=0.04)


def test_the_generative_player_warms_up_and_then_trains_a_little_each_round() -> None:
    proposer = Scripted((0.0,) * 4, (True,) * 4)
    game = new_game(proposer, expert())
    trained = []
    for _ in range(3):
        for turn in game.round():
            game.players[turn.player].step(turn.batch, turn.rows)
        trained.append(proposer.trained)
    assert trained == [3, 5, 7]


def test_a_game_with_a_generative_player_resumes_exactly(tmp_path: Path) -> None:
    demos = expert()

    def play(folder: str, *stops: int) -> GAIL:
        for stop in stops:
            game = new_game(Proposals("gan", demos, to_transitions(demos), 0), demos, replace(CONFIG, threshold=0.0))
            train(game, total_steps=stop, title="", directory=tmp_path / folder, resume=True, progress=False)
        return game

    whole, cut = play("whole", 320), play("cut", 160, 320)
    assert whole.pseudo is not None and cut.pseudo is not None
    assert torch.equal(whole.pseudo.rows.obs, cut.pseudo.rows.obs)
    for name, player in whole.players.items():
        assert torch.equal(player.weights, cut.players[name].weights), name


def test_pseudo_demonstrations_without_a_proposer_are_refused() -> None:
    config = gail.ImitationConfig(gail=GAILConfig(pseudo=PseudoConfig(share=0.5)))
    with pytest.raises(InputError, match="expected a proposer"):
        gail.imitate("CartPole-v1", expert(), config=config)


def test_a_share_beyond_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"pseudo\.share: 1\.5"):
        PseudoConfig(share=1.5)
