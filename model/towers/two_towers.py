"""Two towers: features in, unit vectors out. They know no loss.

Axis letters: B rows, L length of a list feature, F size of a feature's embedding, D size of the output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.features import FeatureSpec, ModelSpec
from model.vocabulary import PADDING, UNKNOWN

INITIAL_STD = 0.1


class FeatureEmbedding(nn.Module):
    """One feature as a vector [B, F]: a row of a table, the mean of several, or a projection of numbers."""

    def __init__(self, feature: FeatureSpec, size: int | None, table: nn.EmbeddingBag | None = None) -> None:
        """size: rows of a table of its own; table: another feature's, which it reads and trains too."""
        super().__init__()
        self.feature = feature
        if table is not None:
            self.table = table
        elif size is not None:
            self.table = nn.EmbeddingBag(size, feature.dim, mode="mean", sparse=True)
            nn.init.normal_(self.table.weight, std=INITIAL_STD)
            with torch.no_grad():
                self.table.weight[PADDING].zero_()
        else:
            # each number stands beside a flag that says that it is missing
            self.mean: Tensor
            self.std: Tensor
            self.register_buffer("mean", torch.zeros(feature.length))
            self.register_buffer("std", torch.ones(feature.length))
            self.project = nn.Linear(2 * feature.length, feature.dim)

    def forward(self, values: Tensor) -> Tensor:
        values = values.reshape(len(values), self.feature.length)  # [B, L]
        if self.feature.vocabulary is not None:
            known = torch.where(values < self.table.num_embeddings, values, UNKNOWN)  # younger than the model
            # bags without their padding: told of a padding_idx, torch takes a way that is three times as slow
            there = known != PADDING  # [B, L]
            counts = there.sum(dim=1)  # [B]
            return self.table(known[there], counts.cumsum(0) - counts)  # [B, F]
        missing = ~values.isfinite()  # [B, L]
        scaled = torch.where(missing, 0.0, (values - self.mean) / self.std)  # [B, L]
        return self.project(torch.cat([scaled, missing.to(scaled.dtype)], dim=1))  # [B, F]


class Tower(nn.Module):
    """Feature embeddings, then either the sum of their projections to D or hidden layers, then L2 normalisation."""

    def __init__(
        self,
        features: Sequence[FeatureSpec],
        sizes: Mapping[str, int],
        hidden: Sequence[int],
        dim: int,
        tables: Mapping[str, nn.EmbeddingBag] | None = None,
    ) -> None:
        """tables: those of the other tower that features of this one share, by feature name."""
        super().__init__()
        self.features = tuple(features)
        shared = tables or {}
        self.embeddings = nn.ModuleDict(
            {
                _key(f.name): FeatureEmbedding(f, sizes[f.vocabulary] if f.vocabulary else None, shared.get(f.name))
                for f in features
            }
        )
        self.hidden = nn.Sequential()
        width = sum(feature.dim for feature in features)
        for size in hidden:
            self.hidden.append(nn.Linear(width, size))
            self.hidden.append(nn.ReLU())
            width = size
        self.out = nn.Linear(width, dim, bias=bool(hidden))
        if not hidden:
            self._pass_embeddings_through(features, dim)
        self.head: Callable[[Tensor], Tensor] = self.dense

    def _pass_embeddings_through(self, features: Sequence[FeatureSpec], dim: int) -> None:
        """Start as the sum of the embeddings that are D wide, with a little of the others."""
        with torch.no_grad():
            start = 0
            for feature in features:
                if feature.dim == dim:
                    self.out.weight[:, start : start + dim] = torch.eye(dim)
                start += feature.dim

    def embedding(self, feature: str) -> nn.Module:
        return self.embeddings[_key(feature)]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        parts = [self.embedding(feature.name)(inputs[feature.name]) for feature in self.features]  # each [B, F]
        return self.head(torch.cat(parts, dim=1))  # [B, D]

    def dense(self, embedded: Tensor) -> Tensor:
        """What follows the tables: [B, sum of F] -> [B, D]."""
        return F.normalize(self.out(self.hidden(embedded)), dim=1)


def _key(feature: str) -> str:
    """A feature may have a name that every module has as well, such as `type`, which a ModuleDict refuses."""
    return f"of_{feature}"


class TwoTowers(nn.Module):
    """The user tower and the item tower of one model version."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        sizes, hidden, dim = spec.vocabulary_sizes, spec.hidden, spec.embedding_dim
        item = Tower(spec.item, sizes, hidden, dim)
        self.user = Tower(spec.user, sizes, hidden, dim, _shared_tables(spec, item))
        self.item = item

    def compile_layers(self) -> None:
        """Make code of what follows the tables, whose sparse gradients torch.compile does not know."""
        for tower in (self.user, self.item):
            tower.head = torch.compile(tower.dense, dynamic=True)

    def tables(self) -> list[nn.Parameter]:
        """The embedding tables, whose gradients are sparse."""
        return [module.get_parameter("weight") for module in self.modules() if isinstance(module, nn.EmbeddingBag)]

    def dense(self) -> list[nn.Parameter]:
        """All other weights."""
        sparse = {id(table) for table in self.tables()}
        return [parameter for parameter in self.parameters() if id(parameter) not in sparse]


def _shared_tables(spec: ModelSpec, item: Tower) -> dict[str, nn.EmbeddingBag]:
    """The item id's table for each user feature that lists items, where the specification says so."""
    if not spec.share_item_table:
        return {}
    own = next((feature for feature in spec.item if feature.kind == "id"), None)
    lists = [feature for feature in spec.user if feature.kind == "item_list"]
    for feature in lists:
        if own is None or (feature.vocabulary, feature.dim) != (own.vocabulary, own.dim):
            wanted = "an item id feature" if own is None else f"vocabulary {own.vocabulary} and dim {own.dim}"
            got = f"{feature.vocabulary} and {feature.dim}"
            raise ValueError(f"share_item_table: user feature {feature.name} wants {wanted}, got {got}")
    if own is None:
        return {}
    table = item.embedding(own.name).table
    assert isinstance(table, nn.EmbeddingBag)  # what an id has
    return {feature.name: table for feature in lists}


def drop_ids(indices: Tensor, share: float, generator: torch.Generator, by: int = UNKNOWN) -> Tensor:
    """`indices` with a random `share` of them replaced: by the unknown one, which is thereby trained, or by padding."""
    if not share:
        return indices
    dropped = torch.rand(indices.shape, generator=generator) < share
    return torch.where(dropped.to(indices.device) & (indices != PADDING), by, indices)
