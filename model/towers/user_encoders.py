"""How a user's list of items, such as the history, becomes one vector of the user tower.

Axes: B rows, L length of the list, F size of an item's embedding, G gap indices, H heads, Q interests of a user.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.data import devices
from model.features import FeatureSpec
from model.features.gaps import GAP_INDICES
from model.vocabulary import PADDING


class UserEncoder(nn.Module, ABC):
    """Encodes one list feature of the user tower. Each such feature has its own encoder.

    Its parameters are trained with the dense learning rate and saved with the model. Randomness in training must come
    from `dropped` alone, so that a resumed run continues exactly and validation and export are without it.
    """

    makes_interests: ClassVar[bool] = False  # whether it can make several vectors; it is then given `interests`
    reads_gaps: ClassVar[bool] = False  # whether `forward` takes the gaps of a history, if `feature.gaps` is set
    step_dropout: tuple[float, torch.Generator] | None = None  # set by `TwoTowers.dropout`

    def __init__(self, feature: FeatureSpec, interests: int = 1) -> None:
        """feature: L is `feature.length`, F is `feature.dim`; interests: Q, given only if it is above 1."""
        super().__init__()
        self.feature, self.interests = feature, interests

    @abstractmethod
    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        """Item indices [B, L] int64 -> [B, F], or [B, Q, F] if Q is above 1.

        A history begins with its oldest item. PADDING can be anywhere in a list, and a list can be all PADDING.
        table: the items' embeddings, `table.weight` [I, F]. Its gradient is sparse, so read its rows by
        `torch.nn.functional.embedding(indices, table.weight, sparse=True)`.
        An encoder that reads gaps takes a third argument, None for a list without them: [B, L] int64, see
        `model.features.gaps`; whatever the gap of PADDING is, it must change nothing.
        """

    def dropped(self, values: Tensor) -> Tensor:
        """In a training step, `values` with a random share set to 0 and the rest scaled up; otherwise `values`."""
        if self.step_dropout is None:
            return values
        share, generator = self.step_dropout
        kept = torch.rand(values.shape, generator=generator, device=generator.device) >= share
        return values * kept.to(values.device) / (1 - share)


class Mean(UserEncoder):
    """The mean of the items' embeddings; zero for an empty list."""

    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        is_item = indices != PADDING  # [B, L]
        counts = is_item.sum(dim=1)  # [B]
        if devices.needs_fixed_shapes(indices.device):  # without a shape that depends on values
            return weighted_sum(indices, is_item.to(table.weight.dtype), table) / counts.clamp(min=1)[:, None]
        # padding is removed first, because EmbeddingBag with a padding_idx takes three times as long
        pooled: Tensor = table(indices[is_item], counts.cumsum(0) - counts)  # [B, F]
        return pooled


class Recency(UserEncoder):
    """The weighted mean of the items' embeddings; zero for an empty list.

    The weight of an item is learned for each number of later items in the list, and for each gap. All weights are equal
    at the start.
    """

    reads_gaps = True

    def __init__(self, feature: FeatureSpec) -> None:
        super().__init__(feature)
        self.log_weight = nn.Parameter(torch.zeros(feature.length, 1))  # [L, 1] by age
        self.gap_log_weight = nn.Parameter(torch.zeros(GAP_INDICES, 1)) if feature.gaps else None  # [G, 1]

    def forward(self, indices: Tensor, table: nn.EmbeddingBag, gaps: Tensor | None = None) -> Tensor:
        is_item = indices != PADDING  # [B, L]
        scores = F.embedding(ages(indices), self.log_weight)[:, :, 0]  # [B, L]
        if self.gap_log_weight is not None and gaps is not None:
            scores = scores + F.embedding(gaps, self.gap_log_weight)[:, :, 0]
        weights = scores.masked_fill(~is_item, torch.finfo(scores.dtype).min).softmax(dim=1)  # [B, L]
        return weighted_sum(indices, self.dropped(weights) * is_item, table)


def ages(indices: Tensor) -> Tensor:
    """How many later items the list has, [B, L] int32: 0 for the newest item. PADDING does not count."""
    items_so_far = (indices != PADDING).cumsum(dim=1, dtype=torch.int32)  # [B, L]
    return items_so_far[:, -1:] - items_so_far


def weighted_sum(indices: Tensor, weights: Tensor, table: nn.EmbeddingBag) -> Tensor:
    """The sum of the items' embeddings, [B, F], each times its weight; weights [B, L]: 0 for PADDING."""
    if devices.needs_fixed_shapes(indices.device):  # without a shape that depends on values
        return F.embedding_bag(indices, table.weight, mode="sum", sparse=True, per_sample_weights=weights)
    is_item = indices != PADDING  # [B, L]
    counts = is_item.sum(dim=1)  # [B]
    return F.embedding_bag(
        indices[is_item],
        table.weight,
        counts.cumsum(0) - counts,
        mode="sum",
        sparse=True,
        per_sample_weights=weights[is_item],
    )
