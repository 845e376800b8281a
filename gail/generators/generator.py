"""The generator contract: a network that is trained by players of the engine and can be sampled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gail.core.engine import Turn
from gail.core.errors import InputError
from gail.core.player import Player
from gail.core.precision import Precision, autocast
from gail.generators.dataset import Codec
from gail.generators.linear import StepLikelihood


@dataclass(frozen=True)
class Minibatch:
    """Encoded items with their classes."""

    x: Tensor
    """``[B, *shape]``: see :class:`Codec`."""
    labels: Tensor | None = None
    """``[B]`` int64, or None where the data has no classes."""
    given: Tensor | None = None
    """``[*shape]`` bool: the part of every item that will be known when one is drawn; None: nothing."""


Draw = Callable[[], Minibatch]
"""Gives the next minibatch of the data."""


class Generator(nn.Module, ABC):
    """A model that learns what data looks like and draws more of it.

    Args:
        codec: between the data and the network; its shape is the network's.
        classes: how many classes the data has; 0 for none.
        config: hyperparameters.
        precision: arithmetic of the networks while training.
    """

    kind: ClassVar[str]
    """Its name on the command line and in files."""
    judged_by_loss: ClassVar[bool] = True
    """Whether its loss on held-out items says how good it is; an adversarial one does not."""

    def __init__(self, codec: Codec, classes: int, config: Any, precision: Precision = "fp32") -> None:
        super().__init__()
        self.codec, self.classes, self.config, self.precision = codec, classes, config, precision

    @abstractmethod
    def players(self) -> Mapping[str, Player]:
        """New players, one for each network that is trained on its own."""

    @abstractmethod
    def turns(self, draw: Draw, generator: torch.Generator) -> Iterator[Turn]:
        """One step of training: the players' turns on minibatches. All randomness is drawn here, none in a loss."""

    @abstractmethod
    def sample(self, n: int, condition: Tensor | None = None, *, generator: torch.Generator) -> Tensor:
        """Draw ``n`` encoded items.

        Args:
            n: how many.
            condition: ``[n]`` int64 classes where the model knows classes; None draws them uniformly.
            generator: on the model's device; the same one gives the same samples on CPU.

        Returns:
            ``[n, *shape]``, for ``codec.decode``.

        Raises:
            InputError: where the model knows no classes but ``condition`` is given, or a class does not exist.
        """

    def step_likelihood(self, items: Tensor) -> StepLikelihood | None:
        """How probable each recorded step of windows ``items`` ``[B, ...]`` of episodes is; None: not a model of steps.

        Densities are of the next state and the reward given all before, of the columns that have a density, in units of
        the data's spread.
        """
        return None

    @property
    def draws_items(self) -> bool:
        """Whether it can be sampled; a model that only plays cannot."""
        return True

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def arithmetic(self) -> AbstractContextManager[object]:
        """A context in which the networks run in the model's precision while training, else in float32.

        Weights are float32 either way; what is drawn and measured should not carry bfloat16's three digits.
        """
        return autocast(self.precision if self.training else "fp32", self.device)

    def labels(self, n: int, condition: Tensor | None, generator: torch.Generator) -> Tensor | None:
        """The classes ``[n]`` to sample: ``condition`` checked, or drawn; None where the model knows none.

        Raises:
            InputError: as :meth:`sample`.
        """
        if condition is None:
            if not self.classes:
                return None
            return torch.randint(self.classes, (n,), generator=generator, device=self.device)
        if not self.classes:
            raise InputError("--label: this model learned from data without classes, expected no label")
        if condition.shape != (n,) or int(condition.min()) < 0 or int(condition.max()) >= self.classes:
            raise InputError(
                f"--label: expected {n} classes from 0 to {self.classes - 1}, found {condition.tolist()[:8]}"
            )
        return condition.to(self.device)

    def partly_hidden(self, labels: Tensor | None, share: float, generator: torch.Generator) -> Tensor | None:
        """``labels`` ``[B]`` with about ``share`` of them replaced by the number of classes, which stands for none.

        A network that has seen both can be guided: Ho & Salimans 2022.
        """
        if labels is None:
            return None
        hidden = torch.rand(labels.shape, generator=generator, device=labels.device) < share
        return labels.masked_fill(hidden, self.classes)

    @contextmanager
    def sampling(self, players: Mapping[str, Player] | None = None) -> Iterator[None]:
        """Inside, the model is as it samples best: no gradients, averaged weights, running statistics fixed."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad(), ExitStack() as stack:
                for player in (players or {}).values():
                    stack.enter_context(player.averaged())
                yield
        finally:
            self.train(training)


def require_shape(codec: Codec, kind: str, *, tokens: bool) -> None:
    """Refuse data that a kind of model cannot learn.

    Raises:
        InputError: naming both.
    """
    if tokens != (codec.vocabulary is not None):
        wanted = "tokens (text, returns, tokens)" if tokens else "numbers (images, transitions, segments)"
        raise InputError(f"{kind}: learns from {wanted}, found data of kind {codec.kind!r}")
