"""An LSTM over characters."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from loop_minimize import minimize  # type: ignore[import-not-found]
from torch import Tensor, nn

WIDTH, LAYERS, LENGTH, VOCABULARY = 256, 2, 128, 65


class Model(nn.Module):
    """Tokens to the loss of each given those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.beginning = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(1, WIDTH)
        self.recurrence = nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        """Mean cross-entropy."""
        first = self.beginning.weight.expand(len(tokens), 1, -1)
        outputs, _ = self.recurrence(torch.cat([first, self.embedding(tokens[:, :-1])], 1))
        return F.cross_entropy(self.head(outputs).flatten(0, 1), tokens.flatten())


def build(variant: str, batch: int) -> tuple[list[nn.Module], Callable[[], None]]:
    """The model and one training step."""
    model, data = Model(), torch.randint(VOCABULARY, (100_000,)).unfold(0, LENGTH, 1)
    adam = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95), weight_decay=0.0)

    def step() -> None:
        minimize(adam, model(data[torch.randint(len(data), (batch,))]), clip=1.0)

    return [model], step
