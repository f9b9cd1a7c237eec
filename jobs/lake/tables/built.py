"""Tables that a day's jobs build from the raw log, before a model is trained."""

from __future__ import annotations

from dataclasses import replace

from pyspark.sql.types import ArrayType, DataType, StructType

from jobs.config.features import stored_features
from jobs.config.loading import Config
from jobs.lake.tables.feature_types import encoded_type
from jobs.lake.tables.raw import IMPRESSION
from jobs.lake.tables.table import (
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    INT,
    INTS,
    LONG,
    STRING,
    TIME,
    Table,
    struct,
    with_texts,
)
from model.features import Feature

CLICKED_ON = struct(ds=DATE, item_indices=INTS)
INTERACTIONS = Table(
    "interactions",
    struct(**IMPRESSION, clicked=BOOLEAN, clicked_at=TIME, reward=DOUBLE, outcome_final_at=TIME, examined=BOOLEAN),
    key=("impression_id",),
)
RECONCILED = (
    "impressions", "interactions", "duplicate_impressions", "conflicting_impressions", "refused_impressions",
    "clicks", "matched_clicks", "orphan_clicks", "early_clicks", "late_clicks", "duplicate_clicks",
    "conflicting_clicks", "refused_clicks", "clicked", "users", "items",
)  # fmt: skip
SET_ASIDE = ("set_aside_users", "set_aside_impressions", "set_aside_clicks")
RECONCILIATION = Table(
    "reconciliation", struct(ds=DATE, **dict.fromkeys(RECONCILED + SET_ASIDE, LONG)), key=("ds",), added=SET_ASIDE
)
SET_ASIDE_USERS = Table("set_aside_users", struct(ds=DATE, user_id=STRING, impressions=LONG), key=("user_id",))
VOCABULARIES = Table(
    "vocabularies",
    struct(feature=STRING, value=STRING, index=INT, ds=DATE),
    key=("feature", "value"),
    partition="feature",
)
USER_HISTORIES = Table(
    "user_histories",
    struct(ds=DATE, user_id=STRING, history=INTS, clicked=ArrayType(CLICKED_ON)),
    key=("user_id",),
    ignored=("clicked_minutes",),
)
# The same table with the times of the clicks, which it has only where the history has gaps.
TIMED_USER_HISTORIES = replace(
    USER_HISTORIES,
    schema=StructType([*USER_HISTORIES.schema, *struct(clicked_minutes=INTS)]),
    added=("clicked_minutes",),
    ignored=(),
)
ITEM_COUNTS: dict[str, DataType] = {
    "ds": DATE, "item_id": STRING, "item_index": INT,
    "impressions": LONG, "exposures": LONG, "clicks": LONG, "examples": LONG,
}  # fmt: skip
DAILY_ITEM_COUNTS = Table("daily_item_counts", struct(**ITEM_COUNTS), key=("item_id",))
WINDOW_ITEM_COUNTS = Table("window_item_counts", struct(**ITEM_COUNTS, window_days=INT), key=("item_id",))
DAILY_ITEM_PAIRS = Table(
    "daily_item_pairs",
    struct(ds=DATE, item_index=INT, other_index=INT, weight=LONG),
    key=("item_index", "other_index"),
)
NEIGHBOUR = struct(item_index=INT, similarity=FLOAT)
ITEM_NEIGHBOURS = Table(
    "item_neighbours", struct(ds=DATE, item_index=INT, neighbours=ArrayType(NEIGHBOUR)), key=("item_index",)
)
UNCLICKED_ITEMS = Table(
    "unclicked_items", struct(ds=DATE, item_id=STRING, item_index=INT, exposures=LONG), key=("item_id",)
)
ITEM_SAMPLING_PROBS = Table(
    "item_sampling_probs",
    struct(
        ds=DATE,
        item_id=STRING,
        item_index=INT,
        clicks=LONG,
        q=DOUBLE,
        q_before=DOUBLE,
        q_last=DOUBLE,
        u=DOUBLE,
        p=DOUBLE,
    ),
    key=("item_id",),
)
POPULAR_ITEMS = Table(
    "popular_items",
    struct(ds=DATE, segment=INT, item_id=STRING, item_index=INT, clicks=LONG, share=DOUBLE, rank=INT),
    key=("segment", "item_id"),
)


def user_snapshot(config: Config) -> Table:
    features = stored_features(config.features.user)
    columns = _with_features(features, ds=DATE, user_id=STRING, user_index=INT, first_seen=DATE, last_seen=DATE)
    return Table("user_snapshot", columns, key=("user_id",))


def item_snapshot(config: Config) -> Table:
    features = stored_features(config.features.item)
    shown = config.report.item_columns
    columns = _with_features(features, ds=DATE, item_id=STRING, item_index=INT, available=BOOLEAN, published_at=TIME)
    return Table("item_snapshot", with_texts(columns, shown), key=("item_id",), added=shown, ignores_texts=True)


def item_changes(config: Config) -> Table:
    features = stored_features(config.features.item)
    columns = _with_features(features, ds=DATE, item_id=STRING, item_index=INT, epoch_day=INT)
    return Table("item_changes", columns, key=("item_id",))


def snapshot_of(side: str, config: Config) -> Table:
    """The snapshot of one side: user | item."""
    return {"user": user_snapshot, "item": item_snapshot}[side](config)


def training_examples(config: Config) -> Table:
    features = [feature for feature in config.features.user if feature.is_logged]
    gaps = {"history_gaps": INTS} if config.features.has_gaps else {}
    columns = _with_features(
        features,
        ds=DATE,
        impression_id=STRING,
        user_id=STRING,
        item_id=STRING,
        impressed_at=TIME,
        user_index=INT,
        item_index=INT,
        unclicked=INTS,
        outcome_final_at=LONG,
        weight=FLOAT,
        epoch_day=INT,
        **gaps,
    )
    return Table("training_examples", columns, key=("impression_id",))


def _with_features(features: list[Feature], **columns: DataType) -> StructType:
    """`columns` and one encoded column for each feature."""
    return struct(**columns, **{feature.name: encoded_type(feature) for feature in features})
