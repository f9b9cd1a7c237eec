"""An attention encoder of the history: the newest item asks, all items answer.

This is the last position of a self-attention block, the only one that is used as a query (SASRec, Kang and McAuley
2018): its cost grows with the length of the list and not with its square. Positions enter as a learned bias for each
head and age (Shaw et al. 2018, T5). So do times, if the history has gaps: as a bias for each head and gap (intervals
as in TiSASRec, Li et al. 2020, but in buckets that double), and as what the gap of the newest item adds to the hidden
layer.

Axes: B rows, L length of the list, F size of an item's embedding, G gap indices, H heads, Q interests of a user.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.data import devices
from model.features import FeatureSpec
from model.features.gaps import GAP_INDICES
from model.towers.user_encoders import UserEncoder, ages
from model.vocabulary import PADDING

SLOPES = (0.0, 0.5)  # of the H heads: how much a score falls with each later item, before training
LOWEST = -1e30  # the bias of padding
QUERY_STD = 0.1  # of the learned queries by which several interests differ, before training
ITEMS_AT_ONCE = 8_192  # of the lists of a step on a CPU, with their padding: their embeddings fit into its cache


class Attention(UserEncoder):
    """Multi-head attention of the newest item over all items, then a feed-forward layer with a residual.

    At the start, the heads are means whose weights decay with age by their slope, and the rest adds nothing. An empty
    list gives a learned vector.

    Each of several interests has heads of its own, whose learned queries are random at the start (as in the
    self-attentive ComiRec, Cen et al. 2020); the layers after the heads are shared.
    """

    makes_interests = reads_gaps = True

    def __init__(self, feature: FeatureSpec, interests: int = 1) -> None:
        super().__init__(feature, interests)
        size, heads, slopes = feature.dim, len(SLOPES), torch.tensor(SLOPES * interests)
        self.heads = interests * heads
        self.query = nn.Linear(size, self.heads * size)  # one matrix of scores per head: the keys' is a part of it
        self.age_bias = nn.Parameter(-torch.arange(feature.length)[:, None] * slopes)  # [L, Q H]
        self.gap_bias = nn.Parameter(torch.zeros(GAP_INDICES, self.heads)) if feature.gaps else None  # [G, Q H]
        self.gap_shift = nn.Parameter(torch.zeros(GAP_INDICES, size)) if feature.gaps else None  # [G, F]
        self.values = nn.Linear(heads * size, size, bias=False)
        self.hidden = nn.Linear(size, size)
        self.out = nn.Linear(size, size)
        with torch.no_grad():
            for weights in (*self.query.parameters(), *self.out.parameters()):
                weights.zero_()
            self.values.weight.copy_(torch.eye(size).repeat(1, heads) / heads)
            if interests > 1:
                self.query.bias.normal_(std=QUERY_STD)

    def forward(self, indices: Tensor, table: nn.EmbeddingBag, gaps: Tensor | None = None) -> Tensor:
        columns = torch.arange(1, indices.shape[1] + 1, device=indices.device)  # [L]
        ends = ((indices != PADDING) * columns).amax(dim=1)  # [B], the column after the newest item, 0 without items
        if devices.needs_fixed_shapes(indices.device) or not len(indices):  # without a shape that depends on values
            return self._encoded(indices, gaps, ends, [(slice(None), indices.shape[1])], table)
        ends, order = ends.sort(descending=True)
        gaps = None if gaps is None else gaps[order]
        encoded = self._encoded(indices[order], gaps, ends, list(similar_lists(ends)), table)
        return torch.empty_like(encoded).index_copy(0, order, encoded)

    def _encoded(
        self,
        indices: Tensor,
        gaps: Tensor | None,
        ends: Tensor,
        parts: Sequence[tuple[slice, int]],
        table: nn.EmbeddingBag,
    ) -> Tensor:
        """What `forward` returns. parts: rows that are encoded together, and how many of their columns are read."""
        size, last = self.feature.dim, (ends - 1).clamp(min=0)[:, None]  # [B, 1]
        newest = rows_of(indices.gather(1, last)[:, 0], table)  # [B, F]
        query = self.query(F.layer_norm(newest, (size,)) / math.sqrt(size)).view(-1, self.heads, size)  # [B, Q H, F]
        cut = [(rows, indices[rows, :length], None if gaps is None else gaps[rows, :length]) for rows, length in parts]
        means = torch.cat([self._means(items, of_items, query[rows], table) for rows, items, of_items in cut])
        has_items = (ends > 0)[:, None]  # [B, 1]
        shift = self._shift(gaps, last) * has_items  # [B, F] or [1, 1]
        if self.interests > 1:
            means, has_items = means.unflatten(1, (self.interests, -1)), has_items[:, None]  # [B, Q, H F], [B, 1, 1]
            shift = shift[:, None]
        mixed = self.dropped(self.values(means) * has_items)  # [B, F] or [B, Q, F]
        hidden = self.dropped((self.hidden(F.layer_norm(mixed, (size,))) + shift).relu())
        encoded: Tensor = mixed + self.out(hidden)
        return encoded

    def _shift(self, gaps: Tensor | None, last: Tensor) -> Tensor:
        """What the gap of the newest item adds to the hidden layer, [B, F]; last: its column, [B, 1]."""
        if self.gap_shift is None or gaps is None:
            return self.hidden.bias.new_zeros(1, 1)
        return F.embedding(gaps.gather(1, last)[:, 0], self.gap_shift)

    def _means(self, indices: Tensor, gaps: Tensor | None, query: Tensor, table: nn.EmbeddingBag) -> Tensor:
        """The mean of the items by the weights of each head, [B, Q H F]; of all columns for a list without items."""
        items = rows_of(indices, table)  # [B, L, F]
        is_padding = (indices == PADDING)[:, :, None]
        bias = F.embedding(ages(indices), self.age_bias)  # [B, L, Q H]
        if self.gap_bias is not None and gaps is not None:
            bias = bias + F.embedding(gaps, self.gap_bias)
        bias = bias.masked_fill(is_padding, LOWEST)
        scores = query @ items.transpose(1, 2) + bias.transpose(1, 2)  # [B, Q H, L]
        return (self.dropped(scores.softmax(dim=2)) @ items).flatten(1)


def similar_lists(ends: Tensor) -> Iterator[tuple[slice, int]]:
    """Rows of similar lengths, with the length of the longest; ends [B]: of the lists, descending."""
    start = 0
    while start < len(ends):
        longest = max(int(ends[start]), 1)
        rows = slice(start, start + max(ITEMS_AT_ONCE // longest, 1))
        yield rows, longest
        start = rows.stop


def rows_of(indices: Tensor, table: nn.EmbeddingBag) -> Tensor:
    """The embeddings of indices; on a CPU, the table's gradient leaves out that of padding, which is 0."""
    padding = None if devices.is_asynchronous(indices.device) else PADDING
    return F.embedding(indices, table.weight, padding, sparse=True)
