"""Synthetic experience replay: what a minibatch is made of, when the player learns, resume."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from gail.agents.dqn import DQN, DQNBatch, DQNConfig
from gail.agents.expert import ExpertConfig, train_expert
from gail.agents.off_policy import OffPolicy
from gail.agents.q_policy import QPolicy
from gail.agents.sac import SAC, SACBatch, SACConfig
from gail.agents.squashed_policy import SquashedGaussianPolicy
from gail.agents.synthetic import MakeSynthesizer, SyntheticConfig, require_vectors
from gail.cli.main import main
from gail.core.engine import Turn, train
from gail.core.errors import InputError
from gail.core.player import Player
from gail.core.random import seeded_initialization
from gail.demos.types import Transitions
from gail.envs import make_vec
from gail.generators.replay_model import ReplayModel

CONFIG = SyntheticConfig(share=0.5, generator="gan", refit_every=1_000, updates=3, rows=20)
FAR = 99.0
"""What every number of a scripted row is; no environment here comes near."""


class Scripted:
    """Draws rows that nobody could mistake for real ones, every second an end, and remembers what it learned from."""

    def __init__(self, config: SyntheticConfig, observations: gym.Space, samples: gym.Space, *_: Any) -> None:
        self.observations, self.samples = observations, samples
        self.players: Mapping[str, Player] = {}
        self.learned: list[Transitions] = []
        self.asked: list[tuple[Tensor, Tensor]] = []

    def turns(self, rows: Transitions) -> Iterator[Turn]:
        self.learned.append(rows)
        return iter(())

    def sample(self, n: int) -> Transitions:
        obs = torch.full((n, *(self.observations.shape or ())), FAR)
        samples = torch.from_numpy(np.zeros((n, *(self.samples.shape or ())), self.samples.dtype))
        ends = torch.arange(n) % 2 == 1
        return Transitions(obs, samples, obs, ends, torch.full((n,), FAR))

    def outcomes(self, obs: Tensor, actions: Tensor) -> Transitions:
        self.asked.append((obs, actions))
        return replace(self.sample(len(obs)), actions=actions)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


def remembered() -> tuple[list[Scripted], MakeSynthesizer]:
    """What will have been made, and what makes it."""
    made: list[Scripted] = []

    def make(*arguments: Any) -> Scripted:
        made.append(Scripted(*arguments))
        return made[0]

    return made, make


def streams() -> dict[str, torch.Generator]:
    return {name: torch.Generator().manual_seed(0) for name in ("actions", "noise", "replay", "synthetic")}


def dqn(make: MakeSynthesizer | None, synthetic: SyntheticConfig = CONFIG, **options: Any) -> DQN:
    env = make_vec("CartPole-v1", 4)
    config = DQNConfig(hidden=(8,), batch_size=32, learning_starts=200, synthetic=synthetic, **options)
    with seeded_initialization(0, "policy"):
        policy = QPolicy(env.observation_space, env.action_space, **config.network)
    samples = gym.spaces.MultiDiscrete([2])
    player = None if make is None else make(synthetic, env.observation_space, samples, 0, env.device)
    return DQN(env, config, policy=policy, total_steps=10_000, seed=0, generators=streams(), synthesizer=player)


def sac(
    make: MakeSynthesizer | None,
    synthetic: SyntheticConfig = CONFIG,
    *,
    steps_per_update: float = 8,
    learning_starts: int = 200,
) -> SAC:
    env = make_vec("Pendulum-v1", 4)
    config = SACConfig(
        hidden=(8,),
        batch_size=32,
        learning_starts=learning_starts,
        steps_per_update=steps_per_update,
        synthetic=synthetic,
    )
    with seeded_initialization(0, "policy"):
        policy = SquashedGaussianPolicy(env.observation_space, env.action_space, **config.network)
        samples = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)
        player = None if make is None else make(synthetic, env.observation_space, samples, 0, env.device)
        return SAC(env, config, policy=policy, total_steps=10_000, seed=0, generators=streams(), synthesizer=player)


def play(game: OffPolicy, rounds: int) -> list[Turn]:
    """All turns of so many rounds, taken."""
    turns = []
    for _ in range(rounds):
        for turn in game.round():
            game.players[turn.player].step(turn.batch, turn.rows)
            turns.append(turn)
    return turns


@pytest.mark.parametrize(("share", "expected"), [(0.25, 8), (0.5, 16), (1.0, 32)])
def test_the_share_of_each_minibatch_that_is_synthetic(share: float, expected: int) -> None:
    game = dqn(Scripted, replace(CONFIG, share=share))
    first, later = play(game, 1), play(game, 1)
    assert first and not any(bool((turn.batch.features == FAR).any()) for turn in first), "nothing was drawn yet"
    discounts: set[float] = set()
    for turn in later:
        batch: DQNBatch = turn.batch
        synthetic = batch.features[:, 0] == FAR
        assert synthetic.tolist() == [False] * (32 - expected) + [True] * expected
        assert bool((batch.returns[synthetic] == FAR).all())
        assert bool((batch.weight[synthetic] == 1.0).all())
        discounts |= set(batch.discount[synthetic].tolist())
    # One step, whatever the real rows sum: gamma where the episode goes on, 0 where it ends.
    assert sorted(discounts) == pytest.approx([0.0, 0.99])
    assert game.round_metrics()["synthetic/share"] == share
    assert game.round_metrics()["synthetic/terminated"] == 0.5


def test_sac_draws_them_too_and_as_many_rows_as_ever() -> None:
    game = sac(Scripted)
    play(game, 1)
    for turn in play(game, 1):
        if isinstance(turn.batch, SACBatch):
            assert (turn.batch.features[:, 0] == FAR).tolist() == [False] * 16 + [True] * 16
            assert turn.batch.noise.shape == (32, 1)


def test_the_player_learns_the_replay_whenever_so_many_steps_have_passed() -> None:
    made, make = remembered()
    game = dqn(make, replace(CONFIG, refit_every=2_000), steps_per_update=100)
    counts = []
    for _ in range(6):
        play(game, 1)
        counts.append(len(made[0].learned))
    assert counts == [0, 0, 1, 1, 2, 2]
    rows = made[0].learned[0]
    # Of 2,000 steps those that wait for their third successor are missing.
    assert 1_980 <= len(rows) < 2_000 and rows.actions.shape == (len(rows), 1)


@pytest.mark.parametrize(
    ("make_game", "options", "output"),
    [(dqn, {"dueling": False}, [0.0, 9.0]), (sac, {}, [9.0, -9.0])],  # values; mean and logarithm of the spread
)
def test_actions_of_the_policy_are_asked_about_anew_every_round_in_states_of_the_replay(
    make_game: Any, options: dict[str, Any], output: list[float]
) -> None:
    made, make = remembered()
    settings = replace(CONFIG, generator="diffusion", actions="policy", refit_every=2_000, rows=400)
    game = make_game(make, settings, steps_per_update=100, **options)
    play(game, 2)
    assert not made[0].asked, "nothing was learned yet"
    play(game, 1)
    # A policy whose actions cannot be mistaken: the next round has to ask about those, of the same model.
    with torch.no_grad():
        for parameter in game.policy.parameters():
            parameter.zero_()
        list(game.policy.parameters())[-1].copy_(torch.tensor(output))
    play(game, 1)
    assert [len(made[0].learned), len(made[0].asked)] == [1, 2]
    for obs, actions in made[0].asked:
        assert len(obs) == len(actions) == 400
        seen = {tuple(row) for row in game.replay.transitions().obs.tolist()}
        assert {tuple(row) for row in obs.tolist()} <= seen and len(torch.unique(obs, dim=0)) > 200
    before, after = (float((actions > 0.9).float().mean()) for _, actions in made[0].asked)
    assert before < 0.8 and after > 0.9
    assert game.synthetic is not None and torch.equal(game.synthetic.rows.actions, made[0].asked[1][1])


def test_the_first_actions_asked_about_are_those_of_the_policy_not_the_uniform_ones_before_it_learns() -> None:
    made, make = remembered()
    game = sac(make, replace(CONFIG, generator="diffusion", actions="policy", rows=400), learning_starts=1_000)
    with torch.no_grad():
        list(game.policy.parameters())[-1].copy_(torch.tensor([9.0, -9.0]))
    play(game, 2)
    assert float((made[0].asked[0][1] > 0.9).float().mean()) > 0.9


def test_priorities_are_of_real_rows_only() -> None:
    game = dqn(Scripted)
    play(game, 2)
    before = game.replay.priorities.values.copy()
    drawn = game.draw(beta=1.0)
    assert len(drawn.rows) == 16 and len(drawn.obs) == 32
    for turn in (turns := game.update()):
        game.players[turn.player].step(turn.batch, turn.rows)
        errors = game.learner.errors
    assert errors is not None and errors[16:].min() > errors[:16].max(), "synthetic rows are far off"
    turns.close()
    assert np.count_nonzero(game.replay.priorities.values != before) <= 16
    assert game.replay.highest < float(errors[16:].min()) ** 0.5


@pytest.mark.parametrize("make_game", [dqn, sac])
def test_until_rows_are_there_a_run_is_the_plain_one_bit_for_bit(make_game: Any) -> None:
    plain, other = make_game(None), make_game(ReplayModel)
    play(plain, 1)
    play(other, 1)
    for name, player in plain.players.items():
        assert torch.equal(player.weights, other.players[name].weights), name
    play(plain, 1)
    play(other, 1)
    assert not torch.equal(plain.players["policy"].weights, other.players["policy"].weights)
    assert plain.players["policy"].steps == other.players["policy"].steps


@pytest.mark.parametrize(
    ("make_game", "changes", "networks"),
    [
        (dqn, {"rare": 0.5}, {"synthetic_generator", "synthetic_discriminator"}),
        (sac, {}, {"synthetic_generator", "synthetic_discriminator"}),
        (sac, {"generator": "diffusion", "actions": "policy"}, {"synthetic_denoiser"}),
        (dqn, {"generator": "diffusion", "actions": "policy", "rows": 400}, {"synthetic_denoiser", "synthetic_ends"}),
    ],
)
def test_a_game_with_synthetic_replay_resumes_exactly(
    make_game: Any, changes: dict[str, Any], networks: set[str], tmp_path: Path
) -> None:
    def weights(folder: str, *stops: int) -> dict[str, Tensor]:
        for stop in stops:
            game = make_game(ReplayModel, replace(CONFIG, refit_every=2_000, **changes), steps_per_update=20)
            train(game, total_steps=stop, title="", directory=tmp_path / folder, resume=True, progress=False)
        return {
            **{name: player.weights.detach() for name, player in game.players.items()},
            "rows": game.synthetic.rows.next_obs,
            "ends": game.synthetic.rows.terminated,
        }

    # The player learns after 2,000 and 4,000 steps: after the cut minibatches first draw rows from before it.
    whole, cut = weights("whole", 5_000), weights("cut", 3_000, 5_000)
    assert {*networks, "policy"} <= set(whole)
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.parametrize(("algo", "env_id"), [("dqn", "CartPole-v1"), ("sac", "Pendulum-v1")])
def test_the_command_trains_experts_with_it(algo: str, env_id: str, tmp_path: Path) -> None:
    out = tmp_path / "run"
    own = {"learning-starts": 50, "steps-per-update": 8, "batch-size": 8, "synthetic.share": 0.5}
    own |= {"synthetic.generator": "gan", "synthetic.refit-every": 200, "synthetic.updates": 2, "synthetic.rows": 20}
    flags = {"steps": 1_200, "num-envs": 4, "evaluation-episodes": 2}
    flags |= {f"{algo}.{name}": value for name, value in own.items()}
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    assert main(["expert", env_id, "--algo", algo, "--out", str(out), *words]) == 0
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["synthetic/rows"] == 20 and last["synthetic/share"] == 0.5 and "synthetic_generator/loss" in last


def test_a_share_needs_a_synthesizer() -> None:
    config = ExpertConfig("dqn", dqn=DQNConfig(synthetic=CONFIG))
    with pytest.raises(InputError, match=r"synthetic\.share: is above 0, expected a synthesizer"):
        train_expert("CartPole-v1", config=config, progress=False)


def test_a_run_that_ends_before_the_first_training_of_the_player_is_refused() -> None:
    config = ExpertConfig("dqn", steps=1_000, dqn=DQNConfig(synthetic=CONFIG))
    with pytest.raises(InputError, match=r"synthetic\.refit_every: 1000, expected less than the 1000 steps"):
        train_expert("CartPole-v1", config=config, synthesizer=ReplayModel, progress=False)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"synthetic\.share: 1\.5, expected a share"):
        SyntheticConfig(share=1.5)
    with pytest.raises(InputError, match=r"synthetic\.rare: -0\.1, expected a share"):
        SyntheticConfig(rare=-0.1)
    with pytest.raises(InputError, match=r"synthetic\.generator: 'gan', expected diffusion with policy actions"):
        SyntheticConfig(generator="gan", actions="policy")
    with pytest.raises(InputError, match=r"synthetic\.rare: 0\.5, expected 0 where the policy's actions decide"):
        SyntheticConfig(rare=0.5, actions="policy")
    with pytest.raises(InputError, match=r"synthetic\.share: 0\.01 of 32 rows is none"):
        dqn(Scripted, replace(CONFIG, share=0.01))
    with pytest.raises(InputError, match=r"shows images \(4x84x84 bytes\), expected vectors"):
        require_vectors(gym.spaces.Box(0, 255, (4, 84, 84), np.uint8), "ALE/Pong-v5")
