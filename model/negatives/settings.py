"""The configured negatives, as a part of the training spec. This module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BUILT_IN = ("corpus", "unclicked", "never_clicked")  # fields of `Negatives` that are sources, in order of draws


@dataclass(frozen=True)
class SourceSettings:
    """One source of negatives that is drawn for each batch.

    source: a name in `model.negatives.sources.SOURCES`, or "package.module:Class"; options: its keyword arguments.
    """

    name: str
    source: str
    draws: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Negatives:
    """The sources of negatives besides the positives of the other rows. A size of 0 disables a source.

    corpus: items drawn per batch from the whole catalogue; unclicked: from the unclicked pool; never_clicked: from the
    items of the catalogue without a training row, which count as `never_clicked_weight` times as many as they are;
    custom: the sources of `[negatives.custom]`.
    bank: number of stored item vectors of past steps (CBNS, Wang et al. 2021); bank_holds: `positives`, or `all`
    columns of a step.
    row: number of items of the row's own request that its user saw and did not click.
    mask: the columns that are no negatives of a row. `item`: those of its own item; `user`: also those that its user
    clicked in other rows of the batch or of the bank's steps; `history`: also those in the user's history.
    """

    correction: str
    corpus: int = 0
    unclicked: int = 0
    never_clicked: int = 0
    never_clicked_weight: float = 1.0
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
        options = {"never_clicked": {"weight": self.never_clicked_weight}}
        built_in = [SourceSettings(name, name, getattr(self, name), options.get(name, {})) for name in BUILT_IN]
        return [source for source in (*built_in, *self.custom) if source.draws]
