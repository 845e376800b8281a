"""Transformer and recurrent models: causality, the cache, choosing tokens, long texts."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from toy_data import make_demos

from gail.core.errors import InputError
from gail.generators.generator import Minibatch
from gail.generators.recurrent import Recurrent, RecurrentConfig
from gail.generators.returns import ReturnCodec, return_data
from gail.generators.text import TextCodec, TokenCodec
from gail.generators.token_model import TokenModel, TokenSampling, choose, filter_logits
from gail.generators.transformer import Transformer, TransformerConfig, _attend, rotate

CODEC = TokenCodec(12, 7)
SMALL = TransformerConfig(width=16, layers=2, heads=2)
MODELS = {
    "transformer": lambda codec=CODEC, classes=0: Transformer(codec, classes, SMALL),
    "lstm": lambda codec=CODEC, classes=0: Recurrent(codec, classes, RecurrentConfig(width=8)),
    "gru": lambda codec=CODEC, classes=0: Recurrent(codec, classes, RecurrentConfig(width=8, cell="gru")),
}


@pytest.fixture(params=MODELS.values(), ids=MODELS.keys())
def model(request: pytest.FixtureRequest) -> TokenModel:
    torch.manual_seed(0)
    built = request.param()
    with torch.no_grad():
        for parameter in built.parameters():  # far from the near-zero start, where any two logits are alike
            parameter.mul_(6.0 if parameter.ndim == 2 else 1.0)
    return built.eval()


def tokens(rows: int = 3, length: int = 12, vocabulary: int = 7) -> torch.Tensor:
    return torch.randint(vocabulary, (rows, length), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_later_token_changes_no_earlier_logit(model: TokenModel) -> None:
    sequence = tokens()
    before = model.logits(sequence)
    for place in range(12):
        changed = sequence.clone()
        changed[:, place] = (changed[:, place] + 1) % 7
        after = model.logits(changed)
        # Position i predicts token i from those before it.
        assert torch.equal(after[:, : place + 1], before[:, : place + 1])
        if place < 11:
            assert not torch.allclose(after[:, place + 1 :], before[:, place + 1 :], atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[1] * 11, [5, 1, 1, 4], [11]])
def test_cached_logits_equal_those_of_the_whole_sequence(model: TokenModel, pieces: list[int]) -> None:
    sequence = tokens()
    whole = model.logits(sequence)
    state, logits = model.start(3)
    assert torch.allclose(logits, whole[:, 0], atol=1e-5)
    fed = 0
    for size in pieces:
        logits = model.feed(sequence[:, fed : fed + size], state)
        fed += size
        assert torch.allclose(logits, whole[:, fed], atol=1e-5)


@torch.no_grad()
def test_the_class_begins_the_sequence() -> None:
    for build in MODELS.values():
        model = build(classes=2)
        first, second = (model.start(1, torch.tensor([label]))[1] for label in (0, 1))
        assert not torch.equal(first, second)
        batch = tokens()
        same = model.logits(batch, torch.tensor([1, 1, 1]))[:, 0]
        assert torch.allclose(same[:1], second, atol=1e-6)


def test_the_loss_of_a_uniform_model_is_log_of_the_vocabulary() -> None:
    model = Transformer(CODEC, 0, SMALL)
    torch.nn.init.zeros_(model.head.weight)
    loss, _ = model.loss(Minibatch(tokens()))
    assert float(loss.detach()) == pytest.approx(math.log(7), rel=1e-5)


def test_rotary_scores_depend_on_the_distance_only() -> None:
    model = Transformer(CODEC, 0, SMALL)
    query, key = torch.randn(8), torch.randn(8)

    def score(at: int, of: int) -> float:
        turned = [rotate(x, model.rotations[i]) for x, i in ((query, at), (key, of))]
        return float((turned[0] * turned[1]).sum())

    assert score(7, 4) == pytest.approx(score(3, 0), rel=1e-4)
    assert score(7, 4) != pytest.approx(score(7, 5), rel=1e-2)
    assert score(5, 5) == pytest.approx(float(query @ key), rel=1e-4)


LOGITS = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (TokenSampling(), [0.5, 0.3, 0.15, 0.05]),
        (TokenSampling(temperature=0.5), [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        (TokenSampling(temperature=0.0), [1.0, 0.0, 0.0, 0.0]),
        (TokenSampling(top_k=2), [0.625, 0.375, 0.0, 0.0]),
        (TokenSampling(top_k=9), [0.5, 0.3, 0.15, 0.05]),
        # 0.5 is less than 0.6, so the token that crosses 0.6 is kept too.
        (TokenSampling(top_p=0.6), [0.625, 0.375, 0.0, 0.0]),
        (TokenSampling(top_p=0.4), [1.0, 0.0, 0.0, 0.0]),
        (TokenSampling(top_p=1.0), [0.5, 0.3, 0.15, 0.05]),
        # Top-k first: of 0.5 / 0.8 and 0.3 / 0.8 the first alone crosses 0.6.
        (TokenSampling(top_k=2, top_p=0.6), [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_probabilities_after_filtering_by_hand(sampling: TokenSampling, expected: list[float]) -> None:
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        found = filter_logits(LOGITS[:, order], sampling).softmax(-1)[0]
        assert found.tolist() == pytest.approx([expected[i] for i in order], abs=1e-6)


def test_ties_do_not_let_more_than_k_tokens_through() -> None:
    assert int((filter_logits(torch.zeros(1, 6), TokenSampling(top_k=2)) > -torch.inf).sum()) == 2


def test_tokens_are_drawn_with_their_probabilities() -> None:
    drawn = choose(LOGITS.expand(20_000, -1), TokenSampling(), torch.Generator().manual_seed(0))
    shares = torch.bincount(drawn, minlength=4) / 20_000
    assert shares.tolist() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.015)


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"length": 0}])
def test_impossible_sampling_settings_are_refused(bad: dict) -> None:
    with pytest.raises(InputError, match=r"sampling\."):
        TokenSampling(**bad)


class Counting(TokenModel):
    """Knows that each token is one more than the last, and nothing after `length - 1` tokens have been fed."""

    kind = "counting"

    def __init__(self) -> None:
        super().__init__(TokenCodec(6, 10), 0, TransformerConfig())
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.starts: list[int] = []

    def features(self, tokens: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        raise NotImplementedError

    def start(self, n: int, labels: torch.Tensor | None = None) -> tuple[list[int], torch.Tensor]:
        return [0], self._after(torch.full((n,), -1))

    def feed(self, tokens: torch.Tensor, state: list[int]) -> torch.Tensor:
        state[0] += tokens.shape[1]
        assert state[0] <= 5, "fed beyond the window"
        return self._after(tokens[:, -1])

    @staticmethod
    def _after(last: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.one_hot((last + 1) % 10, 10).float() * 100


def test_texts_longer_than_the_window_go_on_where_they_were() -> None:
    model = Counting()
    made = model.continue_tokens(
        torch.empty(2, 0, dtype=torch.int64), 23, sampling=TokenSampling(), generator=torch.Generator()
    )
    assert made.tolist() == [[i % 10 for i in range(23)]] * 2
    for length in (1, 4, 5, 6, 9):  # prompts that fill less, exactly and more than the window
        prompt = (torch.arange(length) + 3)[None] % 10
        made = model.continue_tokens(prompt, 12, sampling=TokenSampling(), generator=torch.Generator())
        assert made[0].tolist() == [(3 + i) % 10 for i in range(12)]


@torch.no_grad()
def test_a_prompt_is_gone_on_from_and_other_datas_settings_are_refused() -> None:
    text = TextCodec(8, "abc")
    settings = TokenSampling(prompt="cab", length=20)
    model = Transformer(text, 0, TransformerConfig(width=16, layers=1, heads=2, sampling=settings))
    made = model.codec.decode(model.sample(3, generator=torch.Generator().manual_seed(0)))
    assert all(row.startswith("cab") and len(row) == 20 for row in made)
    with pytest.raises(InputError, match="--prompt: is for models of text"):
        Transformer(CODEC, 0, TransformerConfig(sampling=settings)).sample(1, generator=torch.Generator())
    asked = TransformerConfig(sampling=TokenSampling(target_return=3.0))
    with pytest.raises(InputError, match="--target-return: is for models of returns"):
        Transformer(text, 0, asked).sample(1, generator=torch.Generator())


def test_a_transformer_learns_a_repeating_sequence() -> None:
    torch.manual_seed(0)
    model = Transformer(CODEC, 0, TransformerConfig(width=16, layers=1, heads=2, warmup=5, learning_rate=1e-2))
    player = model.players()["transformer"]
    cycle = torch.stack([(torch.arange(12) + shift) % 7 for shift in range(7)])
    for _ in range(60):
        player.step(Minibatch(cycle), 7.0)
    with model.sampling():
        made = model.sample(5, generator=torch.Generator().manual_seed(0))
        loss, _ = model.loss(Minibatch(cycle))
    # Only the first token of twelve is unknown: log 7 / 12 nats per token at best.
    assert float(loss) < math.log(7) / 12 + 0.05
    assert bool(((made[:, 1:] - made[:, :-1]) % 7 == 1).float().mean() > 0.95)


def test_attention_in_bfloat16_is_causal_attention() -> None:
    draw = torch.Generator().manual_seed(0)
    parts = [torch.randn(2, 3, 12, 8, generator=draw).bfloat16().requires_grad_() for _ in range(3)]
    later = torch.full((12, 12), -torch.inf).triu(1)
    found = _attend(*parts, later.bfloat16())
    weight = torch.randn(found.shape, generator=draw)
    exact = [part.detach().double().requires_grad_() for part in parts]
    expected = F.scaled_dot_product_attention(*exact, is_causal=True)
    assert torch.allclose(found.double(), expected, atol=0.03)
    for mine, theirs in zip(
        torch.autograd.grad((found * weight).sum(), parts),
        torch.autograd.grad((expected * weight).sum(), exact),
        strict=True,
    ):
        assert torch.allclose(mine.double(), theirs, atol=0.1)


def test_neighbouring_values_begin_with_similar_tokens_and_columns_with_different_ones() -> None:
    codec = return_data(make_demos(), states=4, bins=64).codec
    assert isinstance(codec, ReturnCodec)
    torch.manual_seed(0)
    model = Transformer(codec, 0, TransformerConfig(width=32, layers=1))
    for weight in (model.embedding.weight, model.head.weight):
        vectors = F.normalize(weight.detach(), dim=1)
        column, next_column = vectors[codec.offsets[1] : codec.offsets[2]], vectors[codec.offsets[2] : codec.offsets[3]]
        alike = column @ column.T
        assert alike.diagonal(1).min() > 0.9
        assert alike.min() < 0.3
        assert (column @ next_column.T).abs().max() < 0.8
