"""Recurrent language models: LSTM (Hochreiter & Schmidhuber 1997) and GRU (Cho et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from gail.core.config import require
from gail.core.precision import Precision
from gail.generators.dataset import Codec
from gail.generators.token_model import TokenModel, TokenSampling


@dataclass(frozen=True)
class RecurrentConfig:
    """Hyperparameters of a recurrent model of tokens."""

    cell: Literal["lstm", "gru"] = "lstm"
    """The recurrence."""
    width: int = 256
    """Size of the state and of a token's vector."""
    layers: int = 2
    """Recurrences on top of each other."""
    learning_rate: float = 2e-3
    """Adam's, after warm-up; falls linearly to zero."""
    warmup: int = 100
    """Steps over which the learning rate rises."""
    weight_decay: float = 0.0
    """Decoupled."""
    sampling: TokenSampling = field(default_factory=TokenSampling)
    """How samples are drawn."""

    def __post_init__(self) -> None:
        require("recurrent", self, at_least={"width": 1, "layers": 1, "warmup": 0})
        require("recurrent", self, at_least={"learning_rate": 0.0, "weight_decay": 0.0})


@dataclass
class _Memory:
    """What the recurrence carries."""

    hidden: Any


class Recurrent(TokenModel):
    """Token vectors, a recurrence that starts from zeros, logits; the sequence begins with a vector of its class."""

    kind: ClassVar[str] = "recurrent"

    def __init__(self, codec: Codec, classes: int, config: RecurrentConfig, precision: Precision = "fp32") -> None:
        super().__init__(codec, classes, config, precision)
        self.config: RecurrentConfig = config
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        self.recurrence = cell(config.width, config.width, config.layers, batch_first=True)
        self.head = nn.Linear(config.width, self.vocabulary)

    def features(self, tokens: Tensor, labels: Tensor | None = None) -> Tensor:
        """All positions in order; see :meth:`TokenModel.features`."""
        with self.arithmetic():
            return self.recurrence(self.inputs(tokens, labels))[0]

    def start(self, n: int, labels: Tensor | None = None) -> tuple[_Memory, Tensor]:
        """See :meth:`TokenModel.start`."""
        memory = _Memory(None)
        return memory, self._advance(self.first(n, labels), memory)

    def feed(self, tokens: Tensor, state: Any) -> Tensor:
        """See :meth:`TokenModel.feed`."""
        return self._advance(self.embedding(tokens), state)

    def _advance(self, x: Tensor, memory: _Memory) -> Tensor:
        with self.arithmetic():
            outputs, memory.hidden = self.recurrence(x, memory.hidden)
        return self.predict(outputs[:, -1])
