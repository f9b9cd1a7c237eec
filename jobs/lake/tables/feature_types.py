"""The column of a declared feature: as the log brings it, and as the model reads it."""

from __future__ import annotations

from pyspark.sql.types import ArrayType, DataType, DoubleType, FloatType, IntegerType, StringType

from jobs.config.features import Feature


def raw_type(feature: Feature) -> DataType:
    """What a feature is in the log."""
    if feature.kind == "numeric":
        return DoubleType()
    if feature.kind == "vector":
        return ArrayType(DoubleType())
    return ArrayType(StringType()) if feature.length > 1 else StringType()


def encoded_type(feature: Feature) -> DataType:
    """What a feature is inside the model: indices of its vocabulary, or floats."""
    kind: DataType = FloatType() if feature.kind in ("numeric", "vector") else IntegerType()
    return ArrayType(kind) if feature.length > 1 else kind
