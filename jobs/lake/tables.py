"""The tables: names, columns, types and keys. Their only home; a transformation ends in a table's `columns`."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from jobs.config.features import HISTORY, Feature
from jobs.config.loading import Config
from jobs.lake.feature_types import encoded_type, raw_type

TEXT, WHOLE, LONG, REAL, TIME = StringType(), IntegerType(), LongType(), DoubleType(), TimestampType()
WHOLES = ArrayType(WHOLE)


def _struct(**columns: DataType) -> StructType:
    return StructType([StructField(name, kind) for name, kind in columns.items()])


@dataclass(frozen=True)
class Table:
    """A Delta table: where it lies under the lake, what it holds, and the column that parts it."""

    name: str
    schema: StructType
    key: tuple[str, ...]
    partition: str = "ds"
    per_variant: bool = False

    @property
    def columns(self) -> list[str]:
        return self.schema.fieldNames()

    def pick(self, *columns: str) -> StructType:
        """The schema of some of its columns."""
        return StructType([self.schema[name] for name in columns])


# The raw log, parted by the day on which rows landed.
IMPRESSION: dict[str, DataType] = {
    "ds": DateType(),
    "impression_id": TEXT,
    "request_id": TEXT,
    "user_id": TEXT,
    "item_id": TEXT,
    "position": WHOLE,
    "impressed_at": TIME,
}
IMPRESSIONS = Table("impressions", _struct(**IMPRESSION), key=("impression_id",))
CLICKS = Table(
    "clicks",
    _struct(ds=DateType(), impression_id=TEXT, user_id=TEXT, item_id=TEXT, clicked_at=TIME, reward=REAL),
    key=("impression_id", "clicked_at"),
)
QUARANTINE = Table(
    "quarantine",
    _struct(ds=DateType(), table=TEXT, reason=TEXT, source=TEXT, row=TEXT),
    key=("ds", "table", "source", "row"),
)


def users(config: Config) -> Table:
    return Table("users", _raw(config.features.user, ds=DateType(), user_id=TEXT), key=("user_id",))


def items(config: Config) -> Table:
    columns = _raw(config.features.item, ds=DateType(), item_id=TEXT, available=BooleanType(), published_at=TIME)
    return Table("items", columns, key=("item_id",))


# What is made of it, day by day.
CLICKED_ON = _struct(ds=DateType(), item_indices=WHOLES)
INTERACTIONS = Table(
    "interactions",
    _struct(
        **IMPRESSION, clicked=BooleanType(), clicked_at=TIME, reward=REAL, outcome_final_at=TIME, examined=BooleanType()
    ),
    key=("impression_id",),
)
RECONCILED = (
    "impressions", "interactions", "duplicate_impressions", "conflicting_impressions", "refused_impressions",
    "clicks", "matched_clicks", "orphan_clicks", "early_clicks", "late_clicks", "duplicate_clicks",
    "conflicting_clicks", "refused_clicks", "clicked", "users", "items",
)  # fmt: skip
RECONCILIATION = Table("reconciliation", _struct(ds=DateType(), **dict.fromkeys(RECONCILED, LONG)), key=("ds",))
VOCABULARIES = Table(
    "vocabularies",
    _struct(feature=TEXT, value=TEXT, index=WHOLE, ds=DateType()),
    key=("feature", "value"),
    partition="feature",
)
USER_HISTORIES = Table(
    "user_histories",
    _struct(ds=DateType(), user_id=TEXT, history=WHOLES, clicked=ArrayType(CLICKED_ON)),
    key=("user_id",),
)
ITEM_COUNTS: dict[str, DataType] = {
    "ds": DateType(), "item_id": TEXT, "item_index": WHOLE,
    "impressions": LONG, "exposures": LONG, "clicks": LONG, "examples": LONG,
}  # fmt: skip
DAILY_ITEM_COUNTS = Table("daily_item_counts", _struct(**ITEM_COUNTS), key=("item_id",))
WINDOW_ITEM_COUNTS = Table("window_item_counts", _struct(**ITEM_COUNTS, window_days=WHOLE), key=("item_id",))
UNCLICKED_ITEMS = Table(
    "unclicked_items", _struct(ds=DateType(), item_id=TEXT, item_index=WHOLE, exposures=LONG), key=("item_id",)
)
ITEM_SAMPLING_PROBS = Table(
    "item_sampling_probs",
    _struct(
        ds=DateType(), item_id=TEXT, item_index=WHOLE, clicks=LONG, q=REAL, q_before=REAL, q_last=REAL, u=REAL, p=REAL
    ),
    key=("item_id",),
)
POPULAR_ITEMS = Table(
    "popular_items",
    _struct(ds=DateType(), segment=WHOLE, item_id=TEXT, item_index=WHOLE, clicks=LONG, share=REAL, rank=WHOLE),
    key=("segment", "item_id"),
)


def user_snapshot(config: Config) -> Table:
    features = [feature for feature in config.features.user if feature.kind != "id" and feature.name != HISTORY]
    columns = _encoded(
        features, ds=DateType(), user_id=TEXT, user_index=WHOLE, first_seen=DateType(), last_seen=DateType()
    )
    return Table("user_snapshot", columns, key=("user_id",))


def item_snapshot(config: Config) -> Table:
    features = [feature for feature in config.features.item if feature.kind != "id"]
    columns = _encoded(
        features, ds=DateType(), item_id=TEXT, item_index=WHOLE, available=BooleanType(), published_at=TIME
    )
    return Table("item_snapshot", columns, key=("item_id",))


def training_examples(config: Config) -> Table:
    features = [feature for feature in config.features.user if feature.kind != "id"]
    columns = _encoded(
        features,
        ds=DateType(),
        impression_id=TEXT,
        user_id=TEXT,
        item_id=TEXT,
        impressed_at=TIME,
        user_index=WHOLE,
        item_index=WHOLE,
        unclicked=WHOLES,
        outcome_final_at=LONG,
        weight=FloatType(),
    )
    return Table("training_examples", columns, key=("impression_id",))


# What the models leave. A variant has tables of its own where `per_variant` says so.
CANDIDATE = _struct(item_id=TEXT, score=FloatType(), rank=WHOLE, source=TEXT)
MODEL_VERSIONS = Table(
    "model_versions",
    _struct(
        ds=DateType(), model_version=TEXT, trained_on=DateType(), training_rows=LONG,
        training_examples_version=LONG, seconds=REAL, final_loss=REAL,
    ),
    key=("ds",),
    per_variant=True,
)  # fmt: skip
ITEM_EMBEDDINGS = Table(
    "item_embeddings",
    _struct(
        ds=DateType(), item_id=TEXT, item_index=WHOLE, available=BooleanType(), embedding=ArrayType(FloatType()),
        feature_embedding=ArrayType(FloatType()), model_version=TEXT,
    ),
    key=("item_id",),
    per_variant=True,
)  # fmt: skip
USER_EMBEDDINGS = Table(
    "user_embeddings",
    _struct(
        ds=DateType(), user_id=TEXT, embedding=ArrayType(FloatType()), is_cold=BooleanType(), segment=WHOLE,
        scored_from=LONG, model_version=TEXT,
    ),
    key=("user_id",),
    per_variant=True,
)  # fmt: skip
ITEM_INDEXES = Table(
    "item_indexes",
    _struct(
        ds=DateType(), backend=TEXT, is_chosen=BooleanType(), items=LONG, search_budget=LONG, recall=REAL,
        users_per_second=REAL, build_seconds=REAL, sampled_users=LONG, k=WHOLE, folder=TEXT, model_version=TEXT,
    ),
    key=("backend",),
    per_variant=True,
)  # fmt: skip
CANDIDATES = Table(
    "candidates",
    _struct(ds=DateType(), user_id=TEXT, candidates=ArrayType(CANDIDATE), model_version=TEXT, scored_at=TIME),
    key=("user_id",),
    per_variant=True,
)
EVALUATION = Table(
    "evaluation",
    _struct(
        ds=DateType(), against_from=DateType(), against_to=DateType(), model_version=TEXT, channel=TEXT, slice=TEXT,
        metric=TEXT, k=WHOLE, value=REAL, users=LONG,
    ),
    key=("ds", "channel", "slice", "metric", "k"),
    per_variant=True,
)  # fmt: skip
GATE = Table(
    "gate",
    _struct(
        ds=DateType(), rule=TEXT, value=REAL, least=REAL, most=REAL, passed=BooleanType(), model_version=TEXT,
        scored_at=TIME,
    ),
    key=("rule",),
)  # fmt: skip
ORACLE = Table("oracle", _struct(ds=DateType(), user_id=TEXT, item_ids=ArrayType(TEXT)), key=("user_id",))
PUBLICATIONS = Table(
    "publications",
    _struct(
        publication=LONG, follows=LONG, ds=DateType(), model_version=TEXT, candidates_version=LONG,
        item_embeddings_version=LONG, user_embeddings_version=LONG, users=LONG, published_at=TIME,
    ),
    key=("publication",),
    partition="publication",
)  # fmt: skip


def _raw(features: tuple[Feature, ...], **columns: DataType) -> StructType:
    declared = {
        feature.name: raw_type(feature) for feature in features if feature.kind != "id" and feature.name != HISTORY
    }
    return _struct(**columns, **declared)


def _encoded(features: list[Feature], **columns: DataType) -> StructType:
    return _struct(**columns, **{feature.name: encoded_type(feature) for feature in features})
