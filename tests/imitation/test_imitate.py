"""The one call that does it all: what it logs, refuses and keeps apart."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gail.agents.evaluate import evaluate_policy
from gail.agents.policy import RandomPolicy, load_policy
from gail.core.errors import InputError
from gail.core.metrics import meaning
from gail.demos import Demonstrations, Trajectory, bundled_demos, join_demos, load_demos
from gail.demos.join import unrelated_transitions
from gail.envs import make_vec
from gail.imitation import ImitationConfig, imitate, recipe
from gail.imitation.discriminator import Discriminator
from gail.imitation.gail import GAIL, DiscriminatorConfig

SMALL: dict[str, Any] = {"steps": 4096, "evaluation_episodes": 2, "progress": False}


@pytest.fixture(scope="module")
def demos() -> Demonstrations:
    return load_demos(bundled_demos("CartPole-v1"))


@pytest.mark.parametrize("algo", ["gail", "bc"])
def test_every_logged_metric_has_a_meaning(algo: str, demos: Demonstrations, tmp_path: Path) -> None:
    bc = replace(ImitationConfig().bc, steps=200)
    imitate("CartPole-v1", demos, algo=algo, bc=bc, out=tmp_path / "run", **SMALL)
    names = {n for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() for n in json.loads(line)}
    assert len(names) >= 5
    assert {name for name in names if meaning(name) is None} == set()


def test_the_same_seed_gives_the_same_policy_and_another_seed_another(demos: Demonstrations) -> None:
    first, again, other = (imitate("CartPole-v1", demos, seed=seed, **SMALL).policy for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_seeds_share_no_start_with_each_other_nor_with_evaluation_and_demonstrations(
    demos: Demonstrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[torch.Tensor] = []
    real = GAIL.__init__

    def spy(self: GAIL, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        starts.append(self.collector.obs.clone())

    monkeypatch.setattr(GAIL, "__init__", spy)
    for seed in (0, 1, 1000, 10_000):
        imitate("CartPole-v1", demos, seed=seed, **SMALL)
    starts.append(torch.from_numpy(np.stack([t.observations[0] for t in demos])))
    starts.append(make_vec("CartPole-v1", 50).reset(10_000))
    rows = torch.cat(starts)
    assert len(rows.unique(dim=0)) == len(rows)


def test_several_seeds_get_directories_of_their_own_and_an_aggregate(demos: Demonstrations, tmp_path: Path) -> None:
    result = imitate("CartPole-v1", demos, seed=(0, 2), out=tmp_path / "o", nonsense_check=True, **SMALL)
    total = json.loads((tmp_path / "o" / "summary.json").read_text())
    parts = [json.loads((tmp_path / "o" / f"seed-{s}" / "summary.json").read_text()) for s in (0, 2)]
    assert total["seed"] == [0, 2]
    assert total["return_mean"] == pytest.approx(np.mean([p["return_mean"] for p in parts]))
    checks = [p["nonsense_check"]["normalized_return"] for p in parts]
    assert total["nonsense_check"]["normalized_return"] == pytest.approx(np.mean(checks))
    inner = json.loads((tmp_path / "o" / "seed-0" / "nonsense" / "summary.json").read_text())
    # The nonsense run is scored on the real expert's scale.
    assert inner["expert_return"] == parts[0]["expert_return"] == 500.0
    assert load_policy(tmp_path / "o" / "seed-2").policy.hidden == result.seeds[1].policy.hidden


def test_unknown_ends_switch_absorbing_states_off(demos: Demonstrations, monkeypatch: pytest.MonkeyPatch) -> None:
    games: list[GAIL] = []
    real = GAIL.__init__

    def spy(self: GAIL, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        games.append(self)

    monkeypatch.setattr(GAIL, "__init__", spy)
    unknown = replace(demos, trajectories=tuple(replace(t, terminated=None, truncated=None) for t in demos))
    for data in (demos, unknown):
        imitate("CartPole-v1", data, **SMALL)
    assert [game.absorbing_states for game in games] == [True, False]
    assert "absorbing_reward" in games[0].round_metrics() and "absorbing_reward" not in games[1].round_metrics()


def test_ends_cannot_be_told_by_their_missing_successor_where_the_experts_are_unknown(
    demos: Demonstrations, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    real = Discriminator.features

    def spy(self: Discriminator, transitions: Any) -> torch.Tensor:
        seen.append(transitions.terminated)
        return real(self, transitions)

    monkeypatch.setattr(Discriminator, "features", spy)
    judge = DiscriminatorConfig(use_next_obs=True, updates_per_round=1)
    config = replace(recipe("CartPole-v1").gail, discriminator=judge)
    unknown = replace(demos, trajectories=tuple(replace(t, terminated=None, truncated=None) for t in demos))
    for data, ends in ((demos, True), (unknown, False)):
        seen.clear()
        imitate("CartPole-v1", data, gail=config, **SMALL)
        assert any(bool(flags.any()) for flags in seen) is ends


def test_a_discriminator_of_vectors_refuses_images_before_it_starts() -> None:
    frames = np.zeros((3, 4, 84, 84), np.uint8)
    pong = Demonstrations((Trajectory(frames, np.zeros(2, np.int64), np.zeros(2, np.float32), True, False),))
    with pytest.raises(InputError, match=r"--algo: 'gail' judges vectors, ALE/Pong-v5 shows images \(4x84x84 bytes\)"):
        imitate("Pong", pong, **SMALL)


@pytest.mark.parametrize("value", [7, -1])
def test_actions_outside_the_space_are_refused(value: int, demos: Demonstrations) -> None:
    actions = demos.trajectories[1].actions.copy()
    actions[3] = value
    changed = (demos.trajectories[0], replace(demos.trajectories[1], actions=actions))
    with pytest.raises(InputError, match=f"actions of episode 1 hold {value}"):
        imitate("CartPole-v1", replace(demos, trajectories=changed), **SMALL)


def test_expert_actions_beyond_the_bounds_are_judged_as_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    wild = load_demos(bundled_demos("Hopper-v5")).first(1)
    first = wild.trajectories[0]
    wild = replace(wild, trajectories=(replace(first, actions=first.actions * 100),))
    seen: list[torch.Tensor] = []
    real = GAIL.__init__

    def spy(self: GAIL, env: Any, demos: Any, expert: Any, *arguments: Any, **options: Any) -> None:
        seen.append(expert.actions)
        real(self, env, demos, expert, *arguments, **options)

    monkeypatch.setattr(GAIL, "__init__", spy)
    imitate("Hopper-v5", wild, num_envs=2, backend="sync", steps=256, evaluation_episodes=1, progress=False)
    assert float(seen[0].abs().max()) == 1.0


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("ppo", "gamma", 1.0),
        ("ppo", "horizon", 0),
        ("ppo", "minibatch_size", 0),
        ("ppo", "epochs", 0),
        ("discriminator", "batch_size", 0),
        ("discriminator", "updates_per_round", -1),
        ("discriminator", "hidden", (64, 0)),
    ],
)
def test_impossible_hyperparameters_are_named(table: str, field: str, value: object) -> None:
    config = recipe("CartPole-v1").gail
    with pytest.raises(InputError, match=f"{table}.{field}"):
        replace(getattr(config, table), **{field: value})


def test_a_frozen_discriminator_does_not_move_at_all(demos: Demonstrations, monkeypatch: pytest.MonkeyPatch) -> None:
    states: list[dict[str, torch.Tensor]] = []
    real = GAIL.round

    def spy(self: GAIL) -> Any:
        states.append({k: v.clone() for k, v in self.discriminator.state_dict().items()})
        yield from real(self)
        states.append({k: v.clone() for k, v in self.discriminator.state_dict().items()})

    monkeypatch.setattr(GAIL, "round", spy)
    frozen = replace(recipe("CartPole-v1").gail, discriminator=DiscriminatorConfig(updates_per_round=0))
    imitate("CartPole-v1", demos, gail=frozen, **SMALL)
    assert all(torch.equal(states[0][k], states[-1][k]) for k in states[0])


def test_episodes_without_an_end_are_an_error_and_not_a_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    # The package exports a function of the module's name.
    monkeypatch.setattr(sys.modules["gail.agents.evaluate"], "MAX_EPISODE_STEPS", 300)
    env = make_vec("Pendulum-v1", 2, max_episode_steps=-1)
    with pytest.raises(InputError, match="no episode ended in 300 steps"):
        evaluate_policy(RandomPolicy(env.observation_space, env.action_space), env, episodes=2)


def steps_with(demos: Demonstrations, made: int) -> Demonstrations:
    """The steps of one recorded episode with as many as ``made`` others that claim to be a generator's."""
    one = demos.first(1)
    generated = replace(unrelated_transitions(one), generator={"kind": "vae"})
    return join_demos([one, replace(generated, trajectories=generated.trajectories[:made])])


@pytest.mark.parametrize("algo", ["gail", "bc"])
def test_recorded_and_synthetic_steps_train_together_on_the_recorded_scale(algo: str, demos: Demonstrations) -> None:
    mixed = steps_with(demos, 50)
    bc = replace(ImitationConfig().bc, steps=200)
    summary = imitate("CartPole-v1", mixed, algo=algo, bc=bc, **SMALL).summary
    recorded = len(demos.trajectories[0])
    assert summary["expert_return"] == demos.trajectories[0].total_reward
    assert summary["synthetic_share"] == pytest.approx(50 / (recorded + 50))
    assert summary["demo_episodes"] is None
    alone = imitate("CartPole-v1", demos.first(1), algo=algo, bc=bc, **SMALL).summary
    assert (alone["synthetic_share"], alone["demo_episodes"]) == (0.0, 1)


def test_an_episode_and_its_unrelated_steps_clone_to_the_same_policy(demos: Demonstrations) -> None:
    bc = replace(ImitationConfig().bc, steps=100)
    one = demos.first(1)
    policies = [imitate("CartPole-v1", d, algo="bc", bc=bc, **SMALL).policy for d in (one, unrelated_transitions(one))]
    assert all(torch.equal(a, b) for a, b in zip(*(policy.parameters() for policy in policies), strict=True))


@pytest.mark.parametrize("choice", [{"demo_episodes": 1}, {"subsample": 20}])
def test_unrelated_steps_have_no_episodes_to_choose(choice: dict[str, int], demos: Demonstrations) -> None:
    flag = next(iter(choice)).replace("_", "-")
    with pytest.raises(InputError, match=f"--{flag}: .* holds unrelated transitions"):
        imitate("CartPole-v1", steps_with(demos, 5), **choice, **SMALL)
