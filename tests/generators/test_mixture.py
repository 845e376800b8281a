"""The mixture-density recurrent network: densities in closed form, masks, a process whose entropy is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_data import make_demos

from gail.core.errors import InputError
from gail.demos.types import Demonstrations, Trajectory
from gail.generators.generator import Minibatch
from gail.generators.mixture import GaussianMixture, MixtureConfig, MixtureRNN
from gail.generators.transitions import segment_data, state_rows, transition_data

SMALL = MixtureConfig(width=16, components=2, warmup=5)


def test_one_component_is_the_normal_density() -> None:
    mixture = GaussianMixture(torch.zeros(1), torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 0.0]]))
    x = torch.tensor([2.0, 0.0])
    by_hand = -0.5 * ((1.0 / math.exp(0.5)) ** 2 + 4.0) - 0.5 - math.log(2 * math.pi)
    assert float(mixture.log_prob(x)) == pytest.approx(by_hand, rel=1e-6)


def test_two_components_are_torchs_mixture() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, means, log_std, x = (
        torch.randn(*shape, generator=generator) for shape in ((5, 2), (5, 2, 3), (5, 2, 3), (5, 3))
    )
    theirs = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=logits),
        torch.distributions.Independent(torch.distributions.Normal(means, log_std.exp()), 1),
    )
    assert torch.allclose(GaussianMixture(logits, means, log_std).log_prob(x), theirs.log_prob(x), rtol=1e-5)


def test_draws_of_a_mixture_have_its_moments() -> None:
    logits = torch.tensor([0.25, 0.75]).log().expand(40_000, 2)
    means = torch.tensor([[-2.0], [2.0]]).expand(40_000, 2, 1)
    log_std = torch.tensor([[0.1], [0.5]]).log().expand(40_000, 2, 1)
    drawn = GaussianMixture(logits, means, log_std).sample(torch.Generator().manual_seed(0))
    assert float(drawn.mean()) == pytest.approx(1.0, abs=0.03)
    # Variance within plus between: 0.25 * 0.01 + 0.75 * 0.25 + 4 - 1.
    assert float(drawn.var()) == pytest.approx(0.19 + 3.0, abs=0.05)
    assert float((drawn < 0).float().mean()) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("discrete", [False, True])
def test_what_follows_an_episodes_end_changes_no_loss(discrete: bool) -> None:
    torch.manual_seed(0)
    data = segment_data(make_demos(discrete=discrete), length=20)  # 13 states, then padding
    model = MixtureRNN(data.codec, 0, SMALL)
    x, _ = data.encoded(torch.arange(6))
    junk = x.clone()
    columns = x.shape[1] - 2  # the flags stay
    junk[:, :columns, 13:] += torch.randn(6, columns, 7)
    junk[:, model.sizes[0] : columns, 12] += 1.0  # nothing is done in the last state either
    known = float(model.loss(Minibatch(x))[0].detach())
    assert known == pytest.approx(float(model.loss(Minibatch(junk))[0].detach()), rel=1e-5)
    earlier = x.clone()
    earlier[:, 0, 5] += 1.0
    assert known != pytest.approx(float(model.loss(Minibatch(earlier))[0].detach()), rel=1e-5)


def test_the_density_of_a_step_looks_at_nothing_later() -> None:
    torch.manual_seed(0)
    data = segment_data(make_demos(), length=10)
    model = MixtureRNN(data.codec, 0, SMALL)
    items = data.items[data.index[:3]]
    changed = items.clone()
    changed[:, :, 6] += 1.0
    before, after = (model.step_likelihood(windows).model for windows in (items, changed))
    assert before.shape == (3, 9)
    assert torch.equal(after[:, :5], before[:, :5]) and not torch.allclose(after[:, 5:7], before[:, 5:7])


def process(episodes: int, seed: int) -> Demonstrations:
    """s' = 0.8 s + a + 0.1 noise, a = +-1 by coin, reward s + 0.1 noise, until s' > 2; entropy bounds every model."""
    rng = np.random.default_rng(seed)
    trajectories = []
    for _ in range(episodes):
        states, actions = [rng.normal()], rng.integers(0, 2, 15)
        for action in actions:
            states.append(0.8 * states[-1] + (2 * action - 1) + 0.1 * rng.normal())
            if states[-1] > 2:
                break
        obs = np.asarray(states)[:, None]
        over = bool(states[-1] > 2)
        rewards = obs[:-1, 0] + 0.1 * rng.normal(size=len(obs) - 1)
        trajectories.append(Trajectory(obs, actions[: len(obs) - 1], rewards, over, not over))
    return Demonstrations(tuple(trajectories))


def test_the_likelihood_of_a_known_process_comes_near_its_entropy() -> None:
    torch.manual_seed(0)
    data = segment_data(process(200, 0), length=16)
    config = MixtureConfig(width=24, components=2, warmup=10, learning_rate=1e-2, lowest_log_std=-3.0)
    model = MixtureRNN(data.codec, 0, config)
    players, generator = model.players(), torch.Generator().manual_seed(0)
    for step in range(200):
        players["mdrnn"].set_progress(step / 200)
        rows = torch.randint(len(data), (64,), generator=generator)
        for turn in model.turns(lambda rows=rows: Minibatch(*data.encoded(rows)), generator):
            players[turn.player].step(turn.batch, turn.rows)
    held = state_rows(process(50, 1), data.codec)
    with model.sampling():
        found = model.step_likelihood(torch.stack(held).transpose(1, 2))
        drawn = data.codec.decode(model.sample(200, generator=generator))
    # State and reward, each with noise of a tenth, in units of their spread; the steps after the end count nothing.
    obs_scale, reward_scale = float(data.codec.scaling.std[0]), float(data.codec.scaling.std[3])
    best = -math.log(2 * math.pi * math.e) - math.log(0.1 / obs_scale) - math.log(0.1 / reward_scale)
    likelihood, linear = (float(nats[found.played].mean()) for nats in (found.model, found.linear))
    assert int(found.played.sum()) == sum(len(t) for t in process(50, 1))
    assert linear == pytest.approx(best, abs=0.15)  # the process is linear: least squares finds it
    assert best - 0.4 < likelihood < best + 0.1

    steps = np.concatenate([np.stack([t.observations[:-1, 0], t.actions, t.observations[1:, 0]], 1) for t in drawn])
    residual = steps[:, 2] - (0.8 * steps[:, 0] + 2 * steps[:, 1] - 1)
    assert np.abs(residual.mean()) < 0.05 and residual.std() < 0.25
    assert np.mean(steps[:, 1]) == pytest.approx(0.5, abs=0.05)
    last = np.asarray([t.observations[-1, 0] for t in drawn if t.terminated])
    assert len(last) > 30 and np.mean(last > 1.7) > 0.85
    assert np.mean([(t.observations[1:-1] > 2.3).any() for t in drawn]) < 0.1


def test_only_segments_can_be_learned() -> None:
    with pytest.raises(InputError, match="--data-kind segments"):
        MixtureRNN(transition_data(make_demos()).codec, 0, SMALL)
    with pytest.raises(InputError, match=r"mixture\.components"):
        replace(SMALL, components=0)
