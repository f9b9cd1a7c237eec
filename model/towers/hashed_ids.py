"""Hashed ids: a table of fewer rows than ids, from which several hash functions choose the rows of an id.

Axes: B rows, H hash functions, F size of the embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.features import FeatureSpec
from model.towers.embeddings import INITIAL_STD, FeatureEmbedding
from model.towers.user_encoders import UserEncoder
from model.vocabulary import FIRST_INDEX, PADDING, UNKNOWN

MULTIPLIER = 0x9E3779B97F4A7C15 - (1 << 64)  # of the golden ratio, as a signed integer of 64 bits
MIXERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))  # of SplitMix64


def hashed_rows(indices: Tensor, buckets: int, hashes: int) -> Tensor:
    """The rows of each index, int64 [B] -> int64 [B, H], uniform from FIRST_INDEX to FIRST_INDEX + buckets - 1.

    The finaliser of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators", 2014), seeded by the
    number of the function: the same rows on every device, and for ever.
    """
    seeds = torch.arange(1, hashes + 1, device=indices.device) * MULTIPLIER  # [H]
    mixed = (indices[:, None] * hashes) * MULTIPLIER + seeds  # [B, H], distinct for each index and function
    for shift, mixer in zip((30, 27), MIXERS, strict=True):
        mixed = (mixed ^ _shifted(mixed, shift)) * mixer
    mixed = _shifted(mixed ^ _shifted(mixed, 31), 1)  # not negative
    return mixed % buckets + FIRST_INDEX


def _shifted(values: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; that of torch copies the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


class HashedIdEmbedding(FeatureEmbedding):
    """The sum of H rows (Serra & Karatzoglou, "Getting deep recommenders fit", RecSys 2017, section 3).

    Two ids have the same vector only if all their rows are the same. The unknown id has a row of its own.
    """

    def __init__(
        self,
        feature: FeatureSpec,
        size: int | None,
        table: nn.EmbeddingBag | None = None,
        encoder: UserEncoder | None = None,
    ) -> None:
        """size: indices of the vocabulary; the table has `feature.buckets` rows, and those of no id and the unknown id.

        table and encoder are not used. Raises ValueError without a size.
        """
        super().__init__(feature, size)
        if size is None:
            raise ValueError(f"the vocabulary of feature {feature.name} must have a size, got None")
        self.size = size
        rows = feature.buckets + FIRST_INDEX
        self.table = nn.EmbeddingBag(rows, feature.dim, mode="sum", sparse=True, padding_idx=PADDING)
        nn.init.normal_(self.table.weight, std=INITIAL_STD / feature.hashes**0.5)  # so that of the sum is INITIAL_STD
        with torch.no_grad():
            self.table.weight[PADDING].zero_()

    def forward(self, values: Tensor) -> Tensor:
        values = torch.where(values < self.size, values, UNKNOWN)  # [B]; values newer than the model
        rows = hashed_rows(values, self.feature.buckets, self.feature.hashes)  # [B, H]
        alone = torch.full_like(rows, PADDING)  # [B, H]
        alone[:, 0] = values
        vectors: Tensor = self.table(torch.where((values < FIRST_INDEX)[:, None], alone, rows))  # [B, F]
        return vectors
