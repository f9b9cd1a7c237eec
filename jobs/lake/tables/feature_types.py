"""The Spark types of a declared feature: in the raw log, and in the tables that the model reads.

The element types are those that a feature kind names (`model.features.kinds`).
"""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, IntegerType, LongType, StringType

from model.features import Feature
from model.features.kinds import feature_kind

TYPES: dict[str, DataType] = {
    "string": StringType(),
    "double": DoubleType(),
    "float": FloatType(),
    "int": IntegerType(),
    "bigint": LongType(),
}


def raw_type(feature: Feature) -> DataType:
    """The type of a feature in the raw log."""
    return _type(feature, feature_kind(feature.kind).raw_type)


def encoded_type(feature: Feature) -> DataType:
    """The type of a feature in the snapshots and the training examples."""
    return _type(feature, feature_kind(feature.kind).encoded_type)


def _type(feature: Feature, element: str) -> DataType:
    return ArrayType(TYPES[element]) if feature.is_list else TYPES[element]
