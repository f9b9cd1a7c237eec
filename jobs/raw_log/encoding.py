"""Encoding: raw feature values become indices of append-only vocabularies, or floats."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.config.features import logged_features
from model.features import Feature
from model.features.kinds import feature_kind
from model.vocabulary import PADDING, UNKNOWN

ITEM_ID, USER_ID = "item_id", "user_id"


def feature_values(rows: DataFrame, side: str, features: Sequence[Feature]) -> list[DataFrame]:
    """Frames (feature, value) with all values in `rows` that a vocabulary numbers. side: user | item."""
    frames = []
    for feature in logged_features(features):
        vocabulary = feature_kind(feature.kind).vocabulary(side, feature.name)
        if vocabulary is not None:
            value = F.explode(feature.name) if feature.is_list else F.col(feature.name)
            frames.append(named_values(rows.select(value.alias("value")), vocabulary))
    return frames


def named_values(rows: DataFrame, feature: str) -> DataFrame:
    """The only column of `rows` as (feature, value); `feature` is the name of a vocabulary."""
    return rows.toDF("value").select(F.lit(feature).alias("feature"), "value")


def encode(rows: DataFrame, key: str, side: str, features: Sequence[Feature], vocabularies: DataFrame) -> DataFrame:
    """`rows` with each raw feature replaced by the values that the model reads. key: a unique column of `rows`.

    A category that is null or not in its vocabulary becomes 1 (unknown). A list of categories is cut, or padded with 0,
    to its length. A number that is not finite becomes null, and so does a vector of another length.
    """
    for feature in logged_features(features):
        kind = feature_kind(feature.kind)
        encoding = kind.encoding(feature.name, feature.length)
        is_of_vocabulary = F.col("feature") == F.lit(kind.vocabulary(side, feature.name))
        numbered = vocabularies.where(is_of_vocabulary).select("value", "index")
        if encoding is not None:
            rows = rows.withColumn(feature.name, F.expr(encoding))
        elif feature.is_list:
            rows = _encode_list(rows, key, feature, numbered)
        else:
            rows = _encode_value(rows, feature.name, numbered)
    return rows


def _encode_value(rows: DataFrame, name: str, vocabulary: DataFrame) -> DataFrame:
    numbered = vocabulary.select(F.col("value").alias(name), F.col("index").alias("_index"))
    index = F.coalesce("_index", F.lit(UNKNOWN))
    return rows.join(numbered, name, "left").withColumn(name, index).drop("_index")


def _encode_list(rows: DataFrame, key: str, feature: Feature, vocabulary: DataFrame) -> DataFrame:
    values = rows.select(key, F.posexplode(F.slice(feature.name, 1, feature.length)).alias("_position", "value"))
    indices = values.join(vocabulary, "value", "left").select(
        key, F.struct("_position", F.coalesce("index", F.lit(UNKNOWN)).alias("index")).alias("_element")
    )
    lists = indices.groupBy(key).agg(F.array_sort(F.collect_list("_element")).alias("_list"))
    encoded = lists.select(key, F.col("_list.index").alias("_indices"))
    padded = pad(F.col("_indices"), feature.length)
    return rows.join(encoded, key, "left").withColumn(feature.name, padded).drop("_indices")


def pad(indices: Column, length: int) -> Column:
    """`indices` cut or padded with 0 at the end to `length` elements; null counts as empty."""
    given = F.coalesce(indices, F.array().cast("array<int>"))
    return F.slice(F.concat(given, F.array_repeat(F.lit(PADDING), length)), 1, length)


def union(frames: Sequence[DataFrame]) -> DataFrame:
    return reduce(DataFrame.unionByName, frames)
