"""From raw feature values to what the model reads: indices of append-only vocabularies, and floats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.features import HISTORY, Feature
from jobs.lake.tables.feature_types import encoded_type
from model.vocabulary import PADDING, UNKNOWN

ITEM_ID, USER_ID = "item_id", "user_id"


def vocabulary_name(side: str, feature: Feature) -> str:
    """Which vocabulary a feature's values are numbered in; ids of items share one wherever they appear."""
    return ITEM_ID if feature.kind == "item_list" else f"{side}.{feature.name}"


def raw_features(features: Iterable[Feature]) -> list[Feature]:
    """Those that the log brings: all but the id and the history."""
    return [feature for feature in features if feature.kind != "id" and feature.name != HISTORY]


def feature_values(rows: DataFrame, side: str, features: Sequence[Feature]) -> list[DataFrame]:
    """(feature, value) frames of everything in `rows` that needs an index."""
    frames = []
    for feature in raw_features(features):
        if feature.kind in ("categorical", "item_list"):
            value = F.explode(feature.name) if feature.length > 1 else F.col(feature.name)
            frames.append(named_values(rows.select(value.alias("value")), vocabulary_name(side, feature)))
    return frames


def named_values(rows: DataFrame, feature: str) -> DataFrame:
    return rows.toDF("value").select(F.lit(feature).alias("feature"), "value")


def encode(rows: DataFrame, key: str, side: str, features: Sequence[Feature], vocabularies: DataFrame) -> DataFrame:
    """`rows` with each raw feature replaced by what the model reads. `key` is unique in `rows`.

    Null and unheard-of categories become 1 (unknown); lists are cut and padded with 0 to their length; numbers that are
    not finite and vectors of another length are missing.
    """
    for feature in raw_features(features):
        vocabulary = vocabularies.where(F.col("feature") == vocabulary_name(side, feature)).select("value", "index")
        if feature.kind == "numeric":
            rows = rows.withColumn(feature.name, _finite(F.col(feature.name).cast("float")))
        elif feature.kind == "vector":
            numbers = F.transform(F.col(feature.name).cast(encoded_type(feature)), _finite)
            rows = rows.withColumn(feature.name, F.when(F.size(feature.name) == feature.length, numbers))
        elif feature.length == 1:
            rows = _encode_value(rows, feature.name, vocabulary)
        else:
            rows = _encode_list(rows, key, feature, vocabulary)
    return rows


def _finite(value: Column) -> Column:
    """`value`, or null where it is NaN or infinite: one such value would spoil every mean."""
    return F.when(F.abs(value) < F.lit(float("inf")), value)


def _encode_value(rows: DataFrame, name: str, vocabulary: DataFrame) -> DataFrame:
    numbered = vocabulary.select(F.col("value").alias(name), F.col("index").alias("_index"))
    index = F.coalesce("_index", F.lit(UNKNOWN))
    return rows.join(numbered, name, "left").withColumn(name, index).drop("_index")


def _encode_list(rows: DataFrame, key: str, feature: Feature, vocabulary: DataFrame) -> DataFrame:
    exploded = rows.select(key, F.posexplode(F.slice(feature.name, 1, feature.length)).alias("_place", "value"))
    indices = (
        exploded.join(vocabulary, "value", "left")
        .groupBy(key)
        .agg(
            F.array_sort(F.collect_list(F.struct("_place", F.coalesce("index", F.lit(UNKNOWN)).alias("index")))).alias(
                "_list"
            )
        )
    )
    encoded = indices.select(key, F.col("_list.index").alias("_indices"))
    padded = pad(F.col("_indices"), feature.length)
    return rows.join(encoded, key, "left").withColumn(feature.name, padded).drop("_indices")


def pad(indices: Column, length: int) -> Column:
    """`indices` (null counts as empty) with 0 after its last element, `length` long."""
    given = F.coalesce(indices, F.array().cast("array<int>"))
    return F.slice(F.concat(given, F.array_repeat(F.lit(PADDING), length)), 1, length)


def union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)
