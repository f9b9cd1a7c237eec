"""The user tower and the item tower: they turn features into unit vectors.

Axes: B rows, F size of a feature's embedding, D size of the output, I indices of the item vocabulary, V rows of an
embedding table, Q interests of a user. With several interests, the user tower's output is [B, Q, D], otherwise [B, D].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.features import FeatureSpec, ModelSpec
from model.features.user_encoders import USER_ENCODERS
from model.towers.embeddings import FeatureEmbedding, ShrunkIdEmbedding, TableEmbedding, feature_embedding
from model.towers.table_rows import TableRows
from model.towers.user_encoders import UserEncoder
from model.vocabulary import PADDING, UNKNOWN


class Tower(nn.Module):
    """Feature embeddings, then either the sum of their projections to D or hidden layers, then L2 normalisation."""

    def __init__(
        self,
        features: Sequence[FeatureSpec],
        sizes: Mapping[str, int],
        hidden: Sequence[int],
        dim: int,
        tables: Mapping[str, nn.EmbeddingBag] | None = None,
        encoder: type[UserEncoder] | None = None,
        shrink_ids: bool = False,
        rows: Mapping[str, TableRows] | None = None,
        interests: int = 1,
    ) -> None:
        """tables: tables of the other tower that features of this tower share, by feature name.

        encoder: pools the features that are lists of items; None for the mean. shrink_ids: whether the embedding of an
        id is a `ShrunkIdEmbedding`. rows: of the tables of a vocabulary whose indices do not all have a row. interests:
        Q, which the encoder must be able to make if it is above 1.
        """
        super().__init__()
        self.features, self.interests = tuple(features), interests
        of_interests = {"interests": interests} if interests > 1 else {}  # encoders that make one vector know no other
        self.rows = nn.ModuleDict()
        for feature in features:
            if rows and feature.vocabulary is not None and feature.vocabulary in rows:
                self.rows[_key(feature.name)] = rows[feature.vocabulary]
        self.embeddings = nn.ModuleDict()
        self.embedded = tuple(feature for feature in features if not feature.is_gaps)
        for feature in self.embedded:
            size = sizes[feature.vocabulary] if feature.vocabulary else None
            is_list = feature.kind == "item_list"
            pooling = encoder(feature, **of_interests) if encoder is not None and is_list else None
            table = (tables or {}).get(feature.name)
            make: Callable[..., FeatureEmbedding] = (
                ShrunkIdEmbedding if shrink_ids and feature.is_id else feature_embedding
            )
            self.embeddings[_key(feature.name)] = make(feature, size, table, pooling)
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
        """Start as the sum of the embeddings of size D. The weights of embeddings of other sizes stay random."""
        with torch.no_grad():
            start = 0
            for feature in features:
                if feature.dim == dim:
                    self.out.weight[:, start : start + dim] = torch.eye(dim)
                start += feature.dim

    def embedding(self, feature: str) -> nn.Module:
        """The embedding of the feature with this name."""
        return self.embeddings[_key(feature)]

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return self.of_rows({f.name: self.rows_of(f, inputs[f.name]) for f in self.features})

    def of_rows(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """What `forward` returns; inputs: what `rows_of` returns, by the name of the feature."""
        parts = [self._embedded(f, inputs) for f in self.embedded]  # each [B, F]
        if self.interests > 1:  # each [B, Q, F]; what is not encoded is the same for all interests
            parts = [part if part.dim() == 3 else part[:, None].expand(-1, self.interests, -1) for part in parts]
        return self.head(torch.cat(parts, dim=-1))  # [B, D] or [B, Q, D]

    def _embedded(self, feature: FeatureSpec, inputs: Mapping[str, Tensor]) -> Tensor:
        embedding, values = self.embeddings[_key(feature.name)], inputs[feature.name]
        if feature.gaps and isinstance(embedding, TableEmbedding):
            return embedding.with_gaps(values, inputs[feature.gaps_name])
        embedded: Tensor = embedding(values)
        return embedded

    def rows_of(self, feature: FeatureSpec, values: Tensor) -> Tensor:
        """Rows of the feature's table for indices of its vocabulary; live indices for hashed ids; numbers stay."""
        key = _key(feature.name)
        if key in self.rows:
            rows = self.rows[key]
            assert isinstance(rows, TableRows)
            values = rows.live(values) if feature.is_hashed else rows(values)
        return values

    def dense(self, embedded: Tensor) -> Tensor:
        """The layers after the embeddings: [..., sum of F] -> [..., D]."""
        return F.normalize(self.out(self.hidden(embedded)), dim=-1)


def _key(feature: str) -> str:
    """The feature's key in a ModuleDict, which refuses names of module attributes, such as `type`, without a prefix."""
    return f"of_{feature}"


class TwoTowers(nn.Module):
    """The user tower and the item tower of one model version."""

    def __init__(self, spec: ModelSpec) -> None:
        """Raises ValueError if the specification contradicts itself."""
        super().__init__()
        self.spec = spec
        hashed = {feature.vocabulary for feature in spec.user if feature.is_hashed}
        of_all = {name: size for name, size in spec.vocabulary_sizes.items() if name in hashed}
        sizes, hidden, dim = spec.table_sizes | of_all, spec.hidden, spec.embedding_dim
        self.rows = {name: TableRows(size) for name, size in spec.table_rows.items()}  # by vocabulary
        item = Tower(spec.item, sizes, hidden, dim, shrink_ids=spec.item_id_shrinkage > 0, rows=self.rows)
        tables, encoder = _shared_tables(spec, item), _user_encoder(spec)
        self.user = Tower(spec.user, sizes, hidden, dim, tables, encoder, rows=self.rows, interests=spec.interests)
        self.item = item

    def assign_rows(self, indices: Mapping[str, Tensor]) -> None:
        """Give the rows of each table to these indices, [V] by vocabulary; see `TableRows.assign`."""
        for name, rows in self.rows.items():
            rows.assign(indices[name])

    def indices_of_tables(self) -> dict[str, Tensor]:
        """The index of each row, [V] ascending, of each embedding table, by the name of its parameter."""
        found: dict[int, Tensor] = {}
        for tower in (self.user, self.item):
            for feature in tower.features:
                if feature.vocabulary is not None and not feature.is_hashed:
                    size = self.spec.table_sizes[feature.vocabulary]
                    rows = self.rows.get(feature.vocabulary, TableRows(size))
                    tables = _tables_of(tower.embedding(feature.name))
                    found |= {id(table.weight): rows.indices for table in tables if table.num_embeddings == size}
        return {name: found[id(weights)] for name, weights in self.named_parameters() if id(weights) in found}

    def set_item_row_counts(self, counts: Tensor) -> None:
        """Set how far item ids are shrunk: counts [I] of their training rows. No effect if item_id_shrinkage is 0."""
        if "item_id" in self.rows:
            counts = counts[self.rows["item_id"].indices]  # [V]
        for embedding in self.item.embeddings.values():
            if isinstance(embedding, ShrunkIdEmbedding):
                embedding.set_row_counts(counts, self.spec.item_id_shrinkage)

    @contextmanager
    def dropout(self, share: float, generator: torch.Generator) -> Iterator[None]:
        """Until the end of the `with` block, user encoders drop this share of their values; they never do elsewhere."""
        encoders = [module for module in self.user.modules() if share and isinstance(module, UserEncoder)]
        for encoder in encoders:
            encoder.step_dropout = (share, generator)
        try:
            yield
        finally:
            for encoder in encoders:
                encoder.step_dropout = None

    def compile_layers(self) -> None:
        """Compile the layers after the embeddings; torch.compile does not support the tables' sparse gradients."""
        for tower in (self.user, self.item):
            tower.head = torch.compile(tower.dense, dynamic=True)

    def tables(self) -> list[nn.Parameter]:
        """The embedding tables, whose gradients are sparse."""
        return [module.get_parameter("weight") for module in self.modules() if isinstance(module, nn.EmbeddingBag)]

    def dense(self) -> list[nn.Parameter]:
        """All other weights."""
        sparse = {id(table) for table in self.tables()}
        return [parameter for parameter in self.parameters() if id(parameter) not in sparse]


def _tables_of(embedding: nn.Module) -> list[nn.EmbeddingBag | nn.Embedding]:
    """The tables of an embedding; those of a user encoder have rows of its own, such as one for each position."""
    encoders = [module for module in embedding.modules() if isinstance(module, UserEncoder)]
    inside = {part for encoder in encoders for part in encoder.modules()}
    tables = [module for module in embedding.modules() if isinstance(module, nn.EmbeddingBag | nn.Embedding)]
    return [table for table in tables if table not in inside]


def _user_encoder(spec: ModelSpec) -> type[UserEncoder]:
    """The class of the user encoder. Raises ValueError if the model has several interests and nothing makes them."""
    encoder: type[UserEncoder] = USER_ENCODERS.get(spec.user_encoder)
    if spec.interests > 1 and not encoder.makes_interests:
        raise ValueError(
            f"model.user_encoder must make several vectors where model.interests is {spec.interests}, as attention "
            f"does, got {spec.user_encoder!r}, which makes one"
        )
    if spec.interests > 1 and all(feature.kind != "item_list" for feature in spec.user):
        raise ValueError(
            f"model.interests must be 1 without a user feature of kind item_list, such as history, got {spec.interests}"
        )
    return encoder


def _shared_tables(spec: ModelSpec, item: Tower) -> dict[str, nn.EmbeddingBag]:
    """The item id's table for each user feature that is a list of items, if the specification shares it; else {}.

    Raises ValueError if such a feature has another vocabulary or dim than the item id.
    """
    if not spec.share_item_table:
        return {}
    own = next((feature for feature in spec.item if feature.is_id), None)
    lists = [feature for feature in spec.user if feature.kind == "item_list"]
    for feature in lists:
        if own is None or (feature.vocabulary, feature.dim) != (own.vocabulary, own.dim):
            needed = "an item id feature" if own is None else f"vocabulary {own.vocabulary} and dim {own.dim}"
            got = f"{feature.vocabulary} and {feature.dim}"
            raise ValueError(f"share_item_table: user feature {feature.name} needs {needed}, got {got}")
    if own is None:
        return {}
    table = item.embedding(own.name).table
    assert isinstance(table, nn.EmbeddingBag)  # an id has a TableEmbedding
    return {feature.name: table for feature in lists}


def drop_ids(indices: Tensor, share: float, generator: torch.Generator, by: int = UNKNOWN) -> Tensor:
    """`indices` with a random `share` replaced by another index: UNKNOWN, whose embedding this trains, or PADDING."""
    if not share:
        return indices
    dropped = torch.rand(indices.shape, generator=generator, device=generator.device) < share
    return torch.where(dropped.to(indices.device) & (indices != PADDING), by, indices)
