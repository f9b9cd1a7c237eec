"""Modules that turn one feature into a vector. Each feature kind names one of them.

Axes: B rows, L length of a list feature, F size of a feature's embedding, V indices of its vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.features import FeatureSpec
from model.features.kinds import feature_kind
from model.registry import Registry
from model.towers.user_encoders import Mean, UserEncoder
from model.vocabulary import PADDING, UNKNOWN

INITIAL_STD = 0.1


class FeatureEmbedding(nn.Module, ABC):
    """Turns the values of one feature into a vector."""

    def __init__(
        self,
        feature: FeatureSpec,
        size: int | None,
        table: nn.EmbeddingBag | None = None,
        encoder: UserEncoder | None = None,
    ) -> None:
        """size: number of indices of the feature's vocabulary, None for numbers.

        table: the table of another feature, to use and train instead of a new one; encoder: pools a list of items, None
        for the mean.
        """
        super().__init__()
        self.feature = feature

    @abstractmethod
    def forward(self, values: Tensor) -> Tensor:
        """int64 indices or float32 numbers, [B] or [B, L] -> [B, F]."""


class TableEmbedding(FeatureEmbedding):
    """A row of a table, or several rows pooled into one vector."""

    def __init__(
        self,
        feature: FeatureSpec,
        size: int | None,
        table: nn.EmbeddingBag | None = None,
        encoder: UserEncoder | None = None,
    ) -> None:
        super().__init__(feature, size)
        if table is None:
            if size is None:
                raise ValueError(f"the vocabulary of feature {feature.name} must have a size, got None")
            table = nn.EmbeddingBag(size, feature.dim, mode="mean", sparse=True)
            nn.init.normal_(table.weight, std=INITIAL_STD)
            with torch.no_grad():
                table.weight[PADDING].zero_()
        self.table, self.encoder = table, encoder or Mean(feature)

    def forward(self, values: Tensor) -> Tensor:
        return self.with_gaps(values, None)

    def with_gaps(self, values: Tensor, gaps: Tensor | None) -> Tensor:
        """What `forward` returns; gaps: of a history, [B, L] int64, which not every encoder reads."""
        indices = values.reshape(values.shape[0], self.feature.length)  # [B, L]
        indices = torch.where(indices < self.table.num_embeddings, indices, UNKNOWN)  # values newer than the model
        lists = (indices, self.table) if gaps is None or not self.encoder.reads_gaps else (indices, self.table, gaps)
        encoded: Tensor = self.encoder(*lists)  # [B, F]
        return encoded


class ShrunkIdEmbedding(TableEmbedding):
    """The row of an id, moved towards that of the unknown id, the more so the fewer training rows the id has.

    `own_share` is saved with the weights, so that every reader of the model embeds an id as training did.
    """

    def __init__(self, *arguments: Any) -> None:
        """arguments: as for every `FeatureEmbedding`."""
        super().__init__(*arguments)
        self.own_share: Tensor
        self.register_buffer("own_share", torch.ones(self.table.num_embeddings))  # [V]

    def set_row_counts(self, counts: Tensor, shrinkage: float) -> None:
        """own_share = c / (c + shrinkage), with the number c of training rows of each id: counts [V]."""
        self.own_share.copy_(counts / (counts + shrinkage))

    def forward(self, values: Tensor) -> Tensor:
        indices = torch.where(values < self.table.num_embeddings, values, UNKNOWN)  # [B]
        own = F.embedding(indices, self.table.weight, sparse=True)  # [B, F]
        unknown = F.embedding(indices.new_full((1,), UNKNOWN), self.table.weight, sparse=True)  # [1, F]
        share = self.own_share[indices, None]  # [B, 1]
        return share * own + (1 - share) * unknown


class NumberEmbedding(FeatureEmbedding):
    """A projection of standardised numbers, each with a flag that says whether it is missing."""

    def __init__(
        self,
        feature: FeatureSpec,
        size: int | None = None,
        table: nn.EmbeddingBag | None = None,
        encoder: UserEncoder | None = None,
    ) -> None:
        super().__init__(feature, size)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(feature.length))
        self.register_buffer("std", torch.ones(feature.length))
        self.project = nn.Linear(2 * feature.length, feature.dim)

    def forward(self, values: Tensor) -> Tensor:
        numbers = values.reshape(values.shape[0], self.feature.length)  # [B, L]
        missing = ~numbers.isfinite()  # [B, L]
        scaled = torch.where(missing, 0.0, (numbers - self.mean) / self.std)  # [B, L]
        projected: Tensor = self.project(torch.cat([scaled, missing.to(scaled.dtype)], dim=1))  # [B, F]
        return projected


EMBEDDINGS: Registry[FeatureEmbedding] = Registry(
    kind="embedding of a feature kind", base="model.towers.embeddings:FeatureEmbedding", built_in={}
)


def feature_embedding(
    feature: FeatureSpec,
    size: int | None,
    table: nn.EmbeddingBag | None = None,
    encoder: UserEncoder | None = None,
) -> FeatureEmbedding:
    """The embedding that the feature's kind names; for the arguments see `FeatureEmbedding`."""
    return EMBEDDINGS.get(feature_kind(feature.kind).embedding)(feature, size, table, encoder)
