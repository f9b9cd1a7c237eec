"""An attention encoder of the history: the newest item asks, all items answer.

This is the last position of a self-attention block, the only one that is used as a query (SASRec, Kang and McAuley
2018): its cost grows with the length of the list and not with its square. Positions enter as a learned bias for each
head and age (Shaw et al. 2018, T5). The history has no times, so gaps between clicks are not read.

Axes: B rows, L length of the list, F size of an item's embedding, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.data import devices
from model.features import FeatureSpec
from model.towers.user_encoders import UserEncoder, ages
from model.vocabulary import PADDING

SLOPES = (0.0, 0.5)  # of the H heads: how much a score falls with each later item, before training
LOWEST = -1e30  # the bias of padding
ITEMS_AT_ONCE = 16_384  # of the lists of a step on a CPU, with their padding: their embeddings fit into its cache


class Attention(UserEncoder):
    """Multi-head attention of the newest item over all items, then a feed-forward layer with a residual.

    At the start, the heads are means whose weights decay with age by their slope, and the rest adds nothing. An empty
    list gives a learned vector.
    """

    def __init__(self, feature: FeatureSpec) -> None:
        super().__init__(feature)
        size, heads = feature.dim, len(SLOPES)
        self.query = nn.Linear(size, heads * size)  # one matrix of scores per head: the keys' is a part of it
        self.age_bias = nn.Parameter(-torch.arange(feature.length)[:, None] * torch.tensor(SLOPES))  # [L, H]
        self.values = nn.Linear(heads * size, size, bias=False)
        self.hidden = nn.Linear(size, size)
        self.out = nn.Linear(size, size)
        with torch.no_grad():
            for weights in (*self.query.parameters(), *self.out.parameters()):
                weights.zero_()
            self.values.weight.copy_(torch.eye(size).repeat(1, heads) / heads)

    def forward(self, indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
        if devices.is_asynchronous(indices.device) or not len(indices):  # without a shape that depends on values
            return self._encoded(indices, table, None)
        ends = ((indices != PADDING) * torch.arange(1, indices.shape[1] + 1)).amax(dim=1)  # [B], after the newest item
        lengths, order = ends.clamp(min=1).sort(descending=True)
        parts, start = [], 0
        while start < len(order):  # lists of about the same length together, cut after the longest of them
            longest = int(lengths[start])
            rows = order[start : start + max(ITEMS_AT_ONCE // longest, 1)]
            parts.append(self._encoded(indices[rows, :longest], table, PADDING))
            start += len(rows)
        return torch.cat(parts)[order.argsort()]

    def _encoded(self, indices: Tensor, table: nn.EmbeddingBag, padding: int | None) -> Tensor:
        """What `forward` returns. padding: the index that is left out of the table's gradient, if any."""
        size, heads = self.feature.dim, len(SLOPES)
        is_item = indices != PADDING  # [B, L]
        items = F.embedding(indices, table.weight, padding, sparse=True)  # [B, L, F]
        position = (is_item * torch.arange(1, indices.shape[1] + 1, device=indices.device)).argmax(dim=1)  # [B]
        newest = F.embedding(indices.gather(1, position[:, None])[:, 0], table.weight, padding, sparse=True)  # [B, F]
        query = self.query(F.layer_norm(newest, (size,)) / math.sqrt(size)).view(-1, heads, size)  # [B, H, F]
        bias = F.embedding(ages(indices), self.age_bias).masked_fill(~is_item[:, :, None], LOWEST)  # [B, L, H]
        scores = query @ items.transpose(1, 2) + bias.transpose(1, 2)  # [B, H, L]
        weights = self.dropped(scores.softmax(dim=2))  # [B, H, L], 0 for padding beside an item
        mixed = self.values((weights @ items).flatten(1)) * is_item.any(dim=1, keepdim=True)  # [B, F]
        mixed = self.dropped(mixed)
        hidden = self.dropped(self.hidden(F.layer_norm(mixed, (size,))).relu())  # [B, F]
        encoded: Tensor = mixed + self.out(hidden)
        return encoded
