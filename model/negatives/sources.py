"""Sources of negatives that are drawn for each batch: the interface of a source, and the registered ones.

Axes: C columns, I indices of the item vocabulary, B rows of the batch of all ranks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Generator, Tensor

from model.negatives.settings import SourceSettings
from model.registry import Registry


@dataclass(frozen=True)
class Probabilities:
    """The probability of each item in one draw, [I] float64 each, from the table `item_sampling_probs`.

    q: of the clicked items of training examples; u: of the catalogue; p: of the pool of unclicked items.
    """

    q: Tensor
    u: Tensor
    p: Tensor


class NegativeSource(ABC):
    """Draws items for each batch, which then serve as negatives for all of its rows.

    The loss subtracts ln n, where n is how often an item is expected among all columns. It is correct only if
    `expected_count` describes exactly what `draw` does. One object serves a whole training run. With several ranks,
    each rank has an equal object, and all of them must draw the same items.
    """

    def __init__(self, draws: int, probabilities: Probabilities) -> None:
        """draws: items per batch. A subclass may take its options as further keyword arguments."""
        self.draws, self.probabilities = draws, probabilities

    @abstractmethod
    def draw(self, generator: Generator) -> Tensor:
        """[draws] int64 item indices. All randomness must come from `generator`.

        `generator` and the probabilities are on the device that trains, and the indices should be too.
        """

    @abstractmethod
    def expected_count(self, ids: Tensor) -> Tensor:
        """How often each item is expected among the draws of one batch, counting repetitions.

        ids [C] int64 -> [C] float64 on the same device. ids include items of other sources; the count of an item that
        this source never draws is 0.
        """

    def switch_to(self, probabilities: Probabilities) -> None:
        """Called when training continues on other rows (the held-out last day), whose q differs."""
        self.probabilities = probabilities

    def after_step(self, positives: Tensor) -> None:  # noqa: B027  # most sources have nothing to do
        """Called after each step with its clicked items, [B] int64, of all ranks."""

    def report(self) -> dict[str, Any]:
        """Measurements for the metrics of the model version, as JSON values."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to continue as if it had not stopped: dicts, lists, numbers and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027
        """Continue from what `state_dict` returned."""


SOURCES: Registry[NegativeSource] = Registry(
    kind="negatives.custom source",
    base="model.negatives.sources:NegativeSource",
    built_in={
        "corpus": "model.negatives.categorical:Corpus",
        "unclicked": "model.negatives.categorical:Unclicked",
        "never_clicked": "model.negatives.categorical:NeverClicked",
    },
)


def make_sources(settings: Sequence[SourceSettings], probabilities: Probabilities) -> dict[str, NegativeSource]:
    """The configured sources by name. Raises ValueError for a source that cannot be created."""
    sources = {}
    for given in settings:
        source = SOURCES.get(given.source)
        try:
            sources[given.name] = source(given.draws, probabilities, **given.options)
        except TypeError as error:
            raise ValueError(f"negatives.custom.{given.name}: {source.__name__} cannot be created: {error}") from error
    return sources
