"""What models of token sequences share: the loss, and sampling with temperature, top-k and top-p."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gail.core.config import require
from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.losses import Metrics
from gail.core.player import Player
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.generator import Draw, Generator, Minibatch, require_shape
from gail.generators.innovations import InnovationCodec, sample_steps
from gail.generators.linear import StepLikelihood
from gail.generators.returns import ReturnCodec, sample_episodes
from gail.generators.text import TextCodec


@dataclass(frozen=True)
class TokenSampling:
    """How the next token is chosen, and from what on."""

    temperature: float = 1.0
    """Divides the logits; 0 takes the most probable token."""
    top_k: int | None = None
    """Choose among the so many most probable tokens only."""
    top_p: float | None = None
    """Choose among the most probable tokens that together hold this probability (Holtzman et al. 2020)."""
    prompt: str | None = None
    """What a text goes on from."""
    length: int | None = None
    """Tokens per text, the prompt included; the window's length where not given."""
    target_return: float | None = None
    """The return that an episode should reach (models of returns); where not given, one is drawn."""

    def __post_init__(self) -> None:
        require("sampling", self, at_least={"temperature": 0.0})
        for name, low in (("top_k", 1), ("length", 1)):
            if getattr(self, name) is not None:
                require("sampling", self, at_least={name: low})
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            raise InputError(f"sampling.top_p: {self.top_p}, expected a probability above 0")


def filter_logits(logits: Tensor, sampling: TokenSampling) -> Tensor:
    """Logits ``[n, V]`` over ``temperature``, minus infinity where top-k or top-p exclude a token."""
    if sampling.temperature == 0:
        best = logits.argmax(-1, keepdim=True)
        return torch.full_like(logits, -torch.inf).scatter(-1, best, 0.0)
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        # By rank and not by value: ties must not let more than k through.
        kept = logits.topk(sampling.top_k, dim=-1).indices
        logits = torch.full_like(logits, -torch.inf).scatter(-1, kept, logits.gather(-1, kept))
    if sampling.top_p is not None:
        ordered, order = logits.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        # The token that crosses the threshold is kept: at least one always is.
        ordered = ordered.masked_fill(before >= sampling.top_p, -torch.inf)
        logits = torch.full_like(logits, -torch.inf).scatter(-1, order, ordered)
    return logits


def choose(logits: Tensor, sampling: TokenSampling, generator: torch.Generator | None) -> Tensor:
    """Tokens ``[n]`` drawn from logits ``[n, V]``."""
    probabilities = filter_logits(logits.float(), sampling).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


def require_fit(sampling: TokenSampling, codec: Codec) -> None:
    """Refuse settings of sampling that mean nothing for a model of ``codec``'s data.

    Raises:
        InputError: naming the flag.
    """
    for name, fits in (("prompt", TextCodec), ("length", TextCodec), ("target_return", ReturnCodec)):
        if getattr(sampling, name) is not None and not isinstance(codec, fits):
            flag = name.replace("_", "-")
            raise InputError(f"--{flag}: is for models of {fits.kind}, this one learned from {codec.kind}")


class TokenModel(Generator):
    """A model of the next token given those before it, trained by maximum likelihood.

    A sequence begins with a learned vector of its class. ``config`` has ``width`` (of a token's vector),
    ``learning_rate``, ``warmup``, ``weight_decay`` and, where the model is sampled on its own, ``sampling``.
    """

    head: nn.Linear
    """From features to logits."""

    def __init__(self, codec: Codec, classes: int, config: Any, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        require_shape(codec, self.kind, tokens=True)
        assert codec.vocabulary is not None
        self.vocabulary: int = codec.vocabulary
        self.length = codec.shape[0]
        self.embedding = nn.Embedding(self.vocabulary, config.width)
        self.beginning = nn.Embedding(max(classes, 1), config.width)

    def first(self, n: int, labels: Tensor | None) -> Tensor:
        """The vectors ``[n, 1, width]`` that sequences of the classes ``labels`` ``[n]`` begin with."""
        if labels is None:
            return self.beginning.weight[:1].expand(n, -1)[:, None]
        return self.beginning(labels)[:, None]

    def inputs(self, tokens: Tensor, labels: Tensor | None) -> Tensor:
        """What comes before each of the tokens ``[B, L]``: vectors ``[B, L, width]``."""
        return torch.cat([self.first(tokens.shape[0], labels), self.embedding(tokens[:, :-1])], dim=1)

    @abstractmethod
    def features(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """What :attr:`head` sees ``[B, L, width]`` of each of the tokens ``[B, L]``, those before it and the class."""

    def logits(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits ``[B, L, V]`` of each of the tokens ``[B, L]`` given those before it and the class ``[B]``."""
        return self.predict(self.features(tokens, labels))

    def predict(self, features: Tensor) -> Tensor:
        """Logits ``[..., V]`` of features ``[..., width]``."""
        with self.arithmetic():
            return self.head(features).float()

    @property
    def draws_items(self) -> bool:
        """See :attr:`Generator.draws_items`."""
        return not (isinstance(self.codec, ReturnCodec) and self.codec.actions_only)

    @abstractmethod
    def start(self, n: int, labels: Tensor | None = None) -> tuple[Any, Tensor]:
        """The state of ``n`` empty sequences, and the logits ``[n, V]`` of their first tokens."""

    @abstractmethod
    def feed(self, tokens: Tensor, state: Any) -> Tensor:
        """Append tokens ``[n, l]`` to the sequences of ``state``; the logits ``[n, V]`` of what comes next.

        A sequence may have ``length - 1`` tokens fed, no more.
        """

    def players(self) -> Mapping[str, Player]:
        """The model."""
        return {
            self.kind: Player(
                self.kind,
                self,
                self.loss,
                learning_rate=self.config.learning_rate,
                anneal=True,
                max_grad_norm=1.0,
                weight_decay=self.config.weight_decay,
                betas=(0.9, 0.95),
                eps=1e-8,
                warmup=self.config.warmup,
            )
        }

    def loss(self, batch: Minibatch) -> tuple[Tensor, Metrics]:
        """Negative log-likelihood in nats per token; of the actions' tokens where the data asks for them alone."""
        codec, head, tokens = self.codec, self.head, batch.x
        if isinstance(codec, ReturnCodec) and codec.actions_only:
            low, high = codec.action_tokens
            features = codec.of_actions(self.features(tokens, batch.labels))
            with self.arithmetic():
                logits = F.linear(features, head.weight[low:high], None if head.bias is None else head.bias[low:high])
            tokens = codec.of_actions(tokens) - low
        else:
            logits = self.logits(tokens, batch.labels)
        return F.cross_entropy(logits.flatten(0, -2).float(), tokens.flatten()), {}

    @torch.no_grad()
    def step_likelihood(self, items: Tensor) -> StepLikelihood | None:
        """See :meth:`Generator.step_likelihood`; of a model of innovations."""
        if not isinstance(self.codec, InnovationCodec) or not self.codec.segments.dynamics.scored:
            return None
        tokens = self.codec.encode(items).to(self.device)
        return self.codec.step_likelihood(self.logits(tokens), items)

    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """One turn."""
        batch = draw()
        yield Turn(self.kind, batch, float(batch.x.shape[0]))

    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Draw sequences token by token; see :meth:`Generator.sample`.

        Raises:
            InputError: where the sampling settings do not fit the data that the model learned from, or it only plays.
        """
        if not self.draws_items:
            raise InputError("this model learned actions alone (data.actions_only): it plays, and draws no episodes")
        labels = self.labels(n, condition, generator)
        sampling: TokenSampling = self.config.sampling
        codec = self.codec
        require_fit(sampling, codec)

        def pick(logits: Tensor) -> Tensor:
            return choose(logits, sampling, generator)

        if isinstance(codec, InnovationCodec):
            return sample_steps(self, codec, n, pick)
        if isinstance(codec, ReturnCodec):
            return sample_episodes(self, codec, n, pick, target_return=sampling.target_return)
        prompt = torch.empty(0, dtype=torch.int64)
        if sampling.prompt is not None and isinstance(codec, TextCodec):
            prompt = codec.tokens(sampling.prompt)
        prompts, length = prompt.to(self.device).expand(n, -1), sampling.length or self.length
        return self.continue_tokens(prompts, length, labels, sampling=sampling, generator=generator)

    def continue_tokens(
        self,
        prompt: Tensor,
        length: int,
        labels: Tensor | None = None,
        *,
        sampling: TokenSampling,
        generator: torch.Generator,
    ) -> Tensor:
        """Go on from ``prompt`` ``[n, l]`` (``l`` may be 0) to ``length`` tokens ``[n, length]``.

        Where the model's window is full, it is read again from the last half of it on.
        """
        n, sequence = prompt.shape[0], prompt[:, :length]
        state, logits = self.start(n, labels)
        inside = sequence[:, -(self.length - 1) :]
        if inside.shape[1]:
            logits = self.feed(inside, state)
        fed = inside.shape[1]
        while sequence.shape[1] < length:
            token = choose(logits, sampling, generator)[:, None]
            sequence = torch.cat([sequence, token], dim=1)
            if sequence.shape[1] == length:
                break
            if fed == self.length - 1:
                state, logits = self.start(n, labels)
                token = sequence[:, -max(self.length // 2, 1) :]
                fed = 0
            logits = self.feed(token, state)
            fed += token.shape[1]
        return sequence
