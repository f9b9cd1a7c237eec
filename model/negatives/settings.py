"""The configured negatives, as the training spec carries them. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BUILT_IN = ("corpus", "unclicked")  # fields of `Negatives` that are sources, in the order in which they draw


@dataclass(frozen=True)
class SourceSettings:
    """One source of negatives that is drawn for each batch.

    source: a name in `model.negatives.sources.SOURCES`, or "package.module:Class"; options: keyword arguments of it.
    """

    name: str
    source: str
    draws: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Negatives:
    """The sources beside the other rows' positives. A size of 0 leaves a source out.

    corpus: items per batch, drawn from the whole catalogue; unclicked: from the unclicked pool; custom: sources from
    `[negatives.custom]`.
    bank: number of stored item vectors of past steps (CBNS, Wang et al. 2021); bank_holds: `positives`, or `all`
    columns of a step.
    row: items of the row's own request that its user saw and did not click.
    mask: which columns a row leaves out. `item`: those of its own item; `user`: also those that its user clicked in
    other rows of the batch or of the bank's steps; `history`: also those in the user's history.
    """

    correction: str
    corpus: int = 0
    unclicked: int = 0
    bank: int = 0
    bank_holds: str = "positives"
    bank_warmup_steps: int = 0
    bank_warmup_drift: float = 0.0
    bank_gradient_rescaling: bool = True
    row: int = 0
    row_log_weight: float = 0.0
    mask: str = "item"
    custom: tuple[SourceSettings, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Negatives:
        custom = tuple(SourceSettings(**source) for source in values.get("custom", ()))
        return cls(**{**values, "custom": custom})

    @property
    def sources(self) -> list[SourceSettings]:
        """All sources that are drawn for each batch."""
        built_in = [SourceSettings(name, name, getattr(self, name)) for name in BUILT_IN]
        return [source for source in (*built_in, *self.custom) if source.draws]
