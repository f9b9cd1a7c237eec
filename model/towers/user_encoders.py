"""How a user's list of items, such as the history, becomes one vector of the user tower.

Axes: B rows, L length of the list, F size of an item's embedding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional as F

from model.data import devices
from model.features import FeatureSpec
from model.registry import Registry
from model.vocabulary import PADDING


class UserEncoder(nn.Module, ABC):
    """Encodes one list feature of the user tower. Each such feature has its own encoder.

    Its parameters are trained with the dense learning rate and saved with the model.
    """

    def __init__(self, feature: FeatureSpec) -> None:
        """feature: L is `feature.length`, F is `feature.dim`."""
        super().__init__()
        self.feature = feature

    @abstractmethod
    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        """Item indices [B, L] int64 -> [B, F].

        A history begins with its oldest item. PADDING can be anywhere in a list, and a list can be all PADDING.
        table: the items' embeddings, `table.weight` [I, F]. Its gradient is sparse, so read its rows by
        `torch.nn.functional.embedding(indices, table.weight, sparse=True)`.
        """


class Mean(UserEncoder):
    """The mean of the items' embeddings; zero for an empty list."""

    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        is_item = indices != PADDING  # [B, L]
        counts = is_item.sum(dim=1)  # [B]
        if devices.is_asynchronous(indices.device):  # without a shape that depends on values
            weights = is_item.to(table.weight.dtype)  # [B, L]
            summed: Tensor = F.embedding_bag(
                indices, table.weight, mode="sum", sparse=True, per_sample_weights=weights
            )  # [B, F]
            return summed / counts.clamp(min=1)[:, None]
        # padding is removed first, because EmbeddingBag with a padding_idx takes three times as long
        pooled: Tensor = table(indices[is_item], counts.cumsum(0) - counts)  # [B, F]
        return pooled


USER_ENCODERS: Registry[UserEncoder] = Registry(
    kind="model.user_encoder",
    base="model.towers.user_encoders:UserEncoder",
    built_in={"mean": "model.towers.user_encoders:Mean"},
)
