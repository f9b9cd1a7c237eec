"""Tables of the raw log, partitioned by the day on which rows landed."""

from __future__ import annotations

from pyspark.sql.types import DataType, StructType

from jobs.config.features import logged_features
from jobs.config.loading import Config
from jobs.lake.tables.feature_types import raw_type
from jobs.lake.tables.table import (
    BOOLEAN,
    DATE,
    DOUBLE,
    INT,
    STRING,
    STRINGS,
    TIME,
    Table,
    struct,
    with_texts,
)
from model.features import Feature

IMPRESSION: dict[str, DataType] = {
    "ds": DATE,
    "impression_id": STRING,
    "request_id": STRING,
    "user_id": STRING,
    "item_id": STRING,
    "position": INT,
    "impressed_at": TIME,
}
IMPRESSIONS = Table("impressions", struct(**IMPRESSION), key=("impression_id",))
CLICKS = Table(
    "clicks",
    struct(ds=DATE, impression_id=STRING, user_id=STRING, item_id=STRING, clicked_at=TIME, reward=DOUBLE),
    key=("impression_id", "clicked_at"),
)
QUARANTINE = Table(
    "quarantine",
    struct(ds=DATE, table=STRING, reason=STRING, source=STRING, row=STRING),
    key=("ds", "table", "source", "row"),
)


def users(config: Config) -> Table:
    return Table("users", _with_features(config.features.user, ds=DATE, user_id=STRING), key=("user_id",))


def items(config: Config) -> Table:
    shown = config.report.item_columns
    columns = _with_features(config.features.item, ds=DATE, item_id=STRING, available=BOOLEAN, published_at=TIME)
    return Table("items", with_texts(columns, shown), key=("item_id",), added=shown, ignores_texts=True)


def _with_features(features: tuple[Feature, ...], **columns: DataType) -> StructType:
    """`columns` and one column for each declared feature that the log contains."""
    return struct(**columns, **{feature.name: raw_type(feature) for feature in logged_features(features)})


ORACLE = Table("oracle", struct(ds=DATE, user_id=STRING, item_ids=STRINGS), key=("user_id",))
