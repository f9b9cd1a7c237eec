"""A user encoder from outside the package, configured as "tests.extensions.my_encoder:AttentionPooling"."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.features import FeatureSpec
from model.towers.user_encoders import UserEncoder
from model.vocabulary import PADDING


class AttentionPooling(UserEncoder):
    """The mean of the items' embeddings, weighted by a learned score of each item; zero for an empty list."""

    def __init__(self, feature: FeatureSpec) -> None:
        super().__init__(feature)
        self.score = nn.Linear(feature.dim, 1)

    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        items = nn.functional.embedding(indices, table.weight, sparse=True)  # [B, L, F]
        scores = self.score(items).squeeze(2)  # [B, L]
        weights = scores.masked_fill(indices == PADDING, -torch.inf).softmax(dim=1)  # [B, L]
        return (weights.nan_to_num()[:, :, None] * items).sum(dim=1)  # [B, F]
