"""A model of returns as a policy: what it sees of the past, its goal after rewards, and the return that it gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import Env, spaces

from gail.agents.policy import SeesRewards
from gail.cli.main import main
from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.envs import make_vec
from gail.generators import FitResult, evaluate_targets, fit
from gail.generators.generator import Minibatch
from gail.generators.return_policy import ReturnPolicy
from gail.generators.returns import ReturnCodec, return_data
from gail.generators.sample import sample
from gail.generators.token_model import TokenModel

STEPS = 8


class Paid(Env):
    """Action 1 pays 1, action 0 nothing; the observation is the time; 8 steps."""

    observation_space = spaces.Box(-100, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.t += 1
        return np.full(1, self.t, np.float32), float(action), self.t == STEPS, False, {}


def episodes() -> Demonstrations:
    """Of every return from 0 to 8, the ones at random times."""
    rng = np.random.default_rng(0)
    trajectories = []
    for index in range(90):
        actions = rng.permutation(np.arange(STEPS) < index % (STEPS + 1)).astype(np.int64)
        obs = np.arange(STEPS + 1, dtype=np.float32)[:, None]
        trajectories.append(Trajectory(obs, actions, actions.astype(float), True, False))
    return Demonstrations(tuple(trajectories))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FitResult, Path]]:
    out = tmp_path_factory.mktemp("model") / "run"
    result = fit(
        "transformer", episodes(), data_kind="returns", length=4, steps=200, batch_size=32, width=32, layers=1,
        warmup=10, learning_rate=1e-2, previews=0, progress=False, out=out,
    )  # fmt: skip
    yield result, out


def policy_for(model: FitResult, targets: Any) -> ReturnPolicy:
    return ReturnPolicy(model.generator, targets, Paid.observation_space, Paid.action_space)


def test_it_gets_the_return_that_it_is_asked_for(model: tuple[FitResult, Path]) -> None:
    result = evaluate_targets(model[0], [0, 2, 4, 6, 8], env_id=make_vec(Paid, 30, backend="sync"), episodes=6)
    achieved = [row["return_mean"] for row in result["rows"]]
    assert np.abs(np.asarray(achieved) - [0, 2, 4, 6, 8]).max() < 1.0
    assert result["spearman"] == pytest.approx(1.0)


def test_the_window_holds_the_last_states_and_the_return_to_go_falls(model: tuple[FitResult, Path]) -> None:
    policy, env = policy_for(model[0], [5.0, 3.0]), make_vec(Paid, 2)
    assert isinstance(policy, SeesRewards)
    codec = policy.codec
    obs, state = env.reset(0), policy.initial_state(2)
    total = torch.zeros(2, dtype=torch.float64)
    for t in range(6):
        output = policy.act(obs, state)
        step = env.step(output.action)
        total += step.reward
        state, obs = policy.see_rewards(output.state, step.reward), step.obs
        assert torch.equal(state[:, 0], torch.tensor([5.0, 3.0], dtype=torch.float64) - total)
        window = codec.values(state[:, 2:].long().view(2, codec.states, codec.width)[:, -min(t + 1, codec.states) :])
        times = torch.arange(max(t - codec.states + 1, 0), t + 1.0)
        assert torch.equal(window[..., 1], times.expand(2, -1))
        assert torch.equal(window[:, -1, -2].long(), output.action) and torch.equal(window[:, -1, -1], step.reward)


def test_a_row_whose_episode_has_just_begun_plays_as_if_alone(model: tuple[FitResult, Path]) -> None:
    policy, env = policy_for(model[0], 5.0), make_vec(Paid, 3)
    obs, state = env.reset(0), policy.initial_state(3)
    for _ in range(3):
        output = policy.act(obs, state, deterministic=True)
        step = env.step(output.action)
        state, obs = policy.see_rewards(output.state, step.reward), step.obs
    mixed_obs, mixed = obs.clone(), state.clone()
    mixed_obs[1], mixed[1] = 0.0, policy.initial_state(1)[0]
    together = policy.act(mixed_obs, mixed, deterministic=True)
    alone = policy.act(mixed_obs[1:2], mixed[1:2], deterministic=True)
    others = policy.act(obs, state, deterministic=True)
    assert torch.equal(together.state[1:2], alone.state)
    assert torch.equal(together.state[[0, 2]], others.state[[0, 2]])


def test_the_command_prints_a_table_and_draws_a_picture(
    model: tuple[FitResult, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "paid.py").write_text(Path(__file__).read_text())
    argv = ["evaluate", str(model[1]), "--target-return", "1,4,8", "--env", f"{tmp_path / 'paid.py'}:Paid"]
    assert main([*argv, "--episodes", "2", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "asked" in printed and "rank correlation" in printed
    assert (tmp_path / "asked-returns.png").stat().st_size > 5_000


def test_what_cannot_be_asked_is_refused(model: tuple[FitResult, Path]) -> None:
    with pytest.raises(InputError, match="observations have shape"):
        ReturnPolicy(model[0].generator, 1.0, spaces.Box(-1, 1, (3,)), Paid.action_space)
    with pytest.raises(InputError, match="does not say what its data was recorded in"):
        evaluate_targets(model[0], [1.0])
    vae = fit("vae", episodes(), steps=1, previews=0, progress=False, hidden=(4,))
    with pytest.raises(InputError, match="is for models of returns"):
        evaluate_targets(vae, [1.0], env_id=Paid, episodes=1)
    for wrong in ("", "4,x"):
        assert main(["evaluate", str(model[1]), "--target-return", wrong]) == 2
    assert main(["evaluate", str(model[1]), "--target-return", "1,2", "--temperature", "0.5"]) == 2
    with pytest.raises(InputError, match=r"sampling\.temperature"):
        evaluate_targets(model[0], [1.0], env_id=Paid, episodes=1, temperature=-1.0)


def test_drawn_actions_at_temperature_zero_are_the_most_probable_ones(model: tuple[FitResult, Path]) -> None:
    targets = [1.0, 4.0, 7.0]
    best = evaluate_targets(model[0], targets, env_id=Paid, episodes=4, deterministic=True)["rows"]
    assert evaluate_targets(model[0], targets, env_id=Paid, episodes=4, temperature=0.0)["rows"] == best
    assert evaluate_targets(model[0], targets, env_id=Paid, episodes=4, temperature=50.0)["rows"] != best


@pytest.mark.parametrize("kind", ["transformer", "recurrent"])
def test_a_model_of_actions_alone_plays_to_the_asked_return_and_draws_no_episode(kind: str, tmp_path: Path) -> None:
    result = fit(
        kind, episodes(), data_kind="returns", actions_only=True, length=4, steps=200, batch_size=32, width=32,
        layers=1, warmup=10, learning_rate=1e-2, previews=2, progress=False, out=tmp_path / "run",
    )  # fmt: skip
    assert evaluate_targets(tmp_path / "run", [1.0, 4.0, 7.0], env_id=Paid, episodes=8)["spearman"] == pytest.approx(1)
    with pytest.raises(InputError, match="it plays, and draws no episodes"):
        sample(tmp_path / "run", episodes=2)
    with pytest.raises(InputError, match="--actions-only: is for returns"):
        fit("mdrnn", episodes(), data_kind="segments", actions_only=True)
    codec, model = result.model.codec, result.model
    assert isinstance(codec, ReturnCodec) and isinstance(model, TokenModel)
    low, high = codec.action_tokens
    tokens = return_data(episodes(), states=4, bins=64, actions_only=True).encoded(torch.arange(6))[0]
    logits = model.logits(tokens)
    terms = [
        F.cross_entropy(logits[:, place, low:high], tokens[:, place] - low)
        for place in range(1 + codec.over_column + 1, tokens.shape[1], codec.width)
    ]
    assert model.loss(Minibatch(tokens, None))[0].item() == pytest.approx(torch.stack(terms).mean().item(), abs=1e-5)
