"""The kinds of features: what a value is in the raw log, in the tables of the lake, and in a tower.

To add a kind: subclass `FeatureKind` and register it in `KINDS`; a new Spark type also goes into
jobs/lake/tables/feature_types.py. Spark types and Spark SQL are text, and the embedding is the name of a class, so that
this module imports neither Spark nor torch.
"""

from __future__ import annotations

from functools import cache

from model.features.gaps import gap_index_sql
from model.registry import Registry

RECENT_CLICKS = "_recent_clicks"  # the column with an item's recent clicks, for `FeatureKind.derivation`


class FeatureKind:
    """One kind of feature. The defaults, which subclasses override, describe a category with an embedding per value."""

    raw_type = "string"  # Spark type of one value in the raw log: string | double | float | int | bigint
    encoded_type = "int"  # Spark type of one value in the tables: int, an index of a vocabulary, or float
    embedding = "model.towers.embeddings:TableEmbedding"  # a subclass of model.towers.embeddings.FeatureEmbedding
    is_logged = True  # whether the raw log has a column with the values
    # Spark SQL of an item's value that is not logged. Columns that it can read: `published_at`; `_first_seen`, the day
    # on which the item was first seen; `_recent_clicks`, its clicks in the last `log.recent_click_days` full days.
    derivation: str | None = None
    is_scaled = False  # whether towers read the numbers as they are, without subtracting a mean and dividing
    is_id = False  # whether the value is the user or the item itself
    is_hashed = False  # whether several indices share the rows of a table, of which `buckets` and `hashes` are declared
    is_day = False  # whether the stored number is a day, of which a tower reads the age: `model.features.tensors.aged`
    is_gaps = False  # whether the values are read together with a history, and have no embedding of their own
    min_length = 1
    max_length: int | None = None

    @property
    def holds_numbers(self) -> bool:
        """Whether the values are numbers, which may be missing; otherwise they are indices of a vocabulary."""
        return self.encoded_type == "float"

    @property
    def counts_clicks(self) -> bool:
        """Whether the value is derived from recent clicks, and so differs from day to day."""
        return self.derivation is not None and RECENT_CLICKS in self.derivation

    def check_length(self, length: int) -> None:
        """Raises ValueError if a feature of this kind cannot have this length."""
        if self.min_length == self.max_length != length:
            raise ValueError(f"length must be {self.min_length}, got {length}")
        if length < self.min_length:
            raise ValueError(f"length must be at least {self.min_length}, got {length}")
        if self.max_length is not None and length > self.max_length:
            raise ValueError(f"length must be at most {self.max_length}, got {length}")

    def is_list(self, length: int) -> bool:
        """Whether a value is an array, in the raw log and in the tables."""
        return length > 1

    def column(self, side: str, name: str) -> str:
        """The column of the tables that the trainer reads. side: user | item."""
        return name

    def vocabulary(self, side: str, name: str) -> str | None:
        """The vocabulary that maps the values to indices; None for numbers."""
        return f"{side}.{name}"

    def encoding(self, column: str, length: int) -> str | None:
        """Spark SQL that turns the raw column into the encoded one; None if a vocabulary encodes it."""
        return None

    def losses(self, column: str, length: int) -> dict[str, str]:
        """Why a raw value, or a part of it, is lost when it is encoded: a condition in Spark SQL for each reason."""
        return {}


class Id(FeatureKind):
    """The user or the item itself, with an embedding of its own."""

    is_id = True
    is_logged = False
    max_length = 1

    def column(self, side: str, name: str) -> str:
        return f"{side}_index"

    def vocabulary(self, side: str, name: str) -> str:
        return name


class HashedId(Id):
    """The user, as the sum of the rows that several hash functions choose: for more users than a table has rows."""

    is_hashed = True
    embedding = "model.towers.hashed_ids:HashedIdEmbedding"


class Categorical(FeatureKind):
    """A category, or a list of at most `length` of them."""


class ItemList(FeatureKind):
    """A list of items, with the same indices as in the item tower."""

    min_length = 2

    def is_list(self, length: int) -> bool:
        return True

    def vocabulary(self, side: str, name: str) -> str:
        return "item_id"


class ClickGaps(ItemList):
    """The gaps of the clicks in a history: see `model.features.gaps`. It is not declared, but follows from `gaps`."""

    is_logged = False
    is_gaps = True

    def vocabulary(self, side: str, name: str) -> None:  # type: ignore[override]
        return None

    def encoding(self, column: str, length: int) -> str:
        """From the gaps in minutes, null where a time is not known."""
        return f"transform({column}, minutes -> {gap_index_sql('minutes')})"


class Numeric(FeatureKind):
    """A number; null if it is missing or not finite."""

    raw_type, encoded_type = "double", "float"
    embedding = "model.towers.embeddings:NumberEmbedding"
    max_length: int | None = 1

    def vocabulary(self, side: str, name: str) -> None:
        return None

    def encoding(self, column: str, length: int) -> str:
        return _finite(f"cast(`{column}` as float)")

    def losses(self, column: str, length: int) -> dict[str, str]:
        return {"are infinite or too large": f"abs(cast(`{column}` as float)) = float('infinity')"}


class Age(Numeric):
    """ln(1 + days) since an item was published, or else first seen. Stored is that day, since 1970-01-01."""

    is_logged, is_day, is_scaled = False, True, True
    derivation = "float(unix_date(coalesce(date(published_at), _first_seen)))"


class RecentClicks(Numeric):
    """ln(1 + clicks) of an item in the last `log.recent_click_days` full days."""

    is_logged, is_scaled = False, True
    derivation = f"float(ln(1 + {RECENT_CLICKS}))"


class Vector(Numeric):
    """An array of `length` numbers; null if it has another length."""

    min_length, max_length = 2, None

    def encoding(self, column: str, length: int) -> str:
        numbers = f"transform(cast(`{column}` as array<float>), number -> {_finite('number')})"
        return f"case when size(`{column}`) = {length} then {numbers} end"

    def losses(self, column: str, length: int) -> dict[str, str]:
        has_gap = f"exists(cast(`{column}` as array<float>), number -> {_finite('number')} is null)"
        return {
            f"are not of length {length}": f"size(`{column}`) != {length}",
            "have a number that is missing or not finite": f"size(`{column}`) = {length} and {has_gap}",
        }


KINDS: Registry[FeatureKind] = Registry(
    kind="kind",
    base="model.features.kinds:FeatureKind",
    built_in={
        "id": "model.features.kinds:Id",
        "hashed_id": "model.features.kinds:HashedId",
        "categorical": "model.features.kinds:Categorical",
        "item_list": "model.features.kinds:ItemList",
        "click_gaps": "model.features.kinds:ClickGaps",
        "numeric": "model.features.kinds:Numeric",
        "vector": "model.features.kinds:Vector",
        "age": "model.features.kinds:Age",
        "recent_clicks": "model.features.kinds:RecentClicks",
    },
)


@cache
def feature_kind(name: str) -> FeatureKind:
    """The kind with this name. Raises what `Registry.get` raises."""
    return KINDS.get(name)()


def _finite(number: str) -> str:
    """The number, or null if it is NaN or infinite: one such value would make every mean NaN."""
    return f"case when abs({number}) < double('infinity') then {number} end"
