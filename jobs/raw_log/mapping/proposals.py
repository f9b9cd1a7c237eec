"""Features that the columns of users and items could give: their kind and length, from the values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DoubleType,
    NumericType,
    StringType,
    StructField,
    StructType,
)

from jobs.config.features import NAME, RESERVED
from jobs.config.loading import Config
from jobs.lake.queries import empty_frame
from jobs.raw_log.contract import FAULT
from jobs.raw_log.encoding import union
from jobs.raw_log.files import CORRUPT_ROW, named
from jobs.raw_log.landing.notes import SIDES
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.mapping.log_file import LogFile
from jobs.raw_log.values import is_word_for_missing, typed
from model.features import Feature

LIST_SHARE = 0.1  # share of texts written as lists from which a column of texts has lists
SMALL = 50  # distinct categories that are always few
REPEATED = 5  # values per distinct category that make more of them few
FEW_NUMBERS = 20  # distinct whole numbers that are codes rather than amounts
KNOWN_SHARE = 0.5  # share of a list's elements that are items of the log
TEXTS = ArrayType(StringType())
ITEMS = StructType([StructField("item_id", StringType())])
DIMS = {"categorical": 8, "numeric": 8, "vector": 32}


@dataclass(frozen=True)
class Profile:
    """What the values of a column are. sizes are those of lists; known: the share of elements that are item ids."""

    values: int
    are_lists: bool
    are_numbers: bool
    are_whole: bool
    distinct: int
    min_size: int
    max_size: int
    usual_size: int
    known: float


def proposed_features(log: Mapping[str, LogFile], parsed: Mapping[str, ParsedFile], config: Config) -> list[str]:
    """TOML that declares the features of the files of users and items, in addition to the declared ones.

    Empty if no column can be one; a column that cannot be one has a comment that says why.
    """
    items = _item_ids(next(iter(log.values())).source.rows.sparkSession, parsed)
    lines: list[str] = []
    for table, side in SIDES.items():
        if table not in log:
            continue
        declared = list(config.features.of(side))
        rows, origins = log[table].mapped.rows, log[table].mapped.origins
        mapped_already = {*origins.values()} - {*origins.keys()}
        skip = {FAULT, CORRUPT_ROW, *RESERVED, *mapped_already, *(feature.name for feature in declared)}
        found, comments = list(declared), []
        for name in (name for name in rows.columns if name not in skip):
            fault = None if re.fullmatch(NAME, name) else f"map it to a name of small letters in [mapping.{table}]"
            feature = fault or proposed(name, profile(rows, name, items), _dim_of_id(declared))
            if isinstance(feature, Feature):
                found.append(feature)
            else:
                comments.append(f"# {side} {name}: {feature}")
        if len(found) > len(declared):
            lines += [line for feature in found for line in _toml(side, feature)]
        lines += [*comments, ""] if comments else []
    return lines


def proposed(name: str, of: Profile | None, id_dim: int) -> Feature | str:
    """The feature of a column, or why it cannot be one. of: None for a column of a type that no feature has."""
    if of is None:
        return "its type is none of text, number, boolean, or a list of them"
    is_few = of.distinct <= SMALL or of.distinct * REPEATED <= of.values
    dim = DIMS["categorical"] * (1 if of.distinct <= SMALL else 2)
    if of.values == 0:
        return "it has no value"
    if not of.are_lists:
        if of.are_numbers and not (of.are_whole and of.distinct <= FEW_NUMBERS):
            return Feature(name, "numeric", DIMS["numeric"])
        return Feature(name, "categorical", dim) if is_few else f"about {of.distinct:,} different texts are too many"
    length = max(of.usual_size, 2)
    if of.known >= KNOWN_SHARE:
        return Feature(name, "item_list", id_dim, length)
    if of.are_numbers and of.min_size == of.max_size > 1:
        return Feature(name, "vector", DIMS["vector"], of.max_size)
    if of.are_numbers and not of.are_whole:
        return f"lists of {of.min_size} to {of.max_size} numbers must have one length to be a vector"
    return (
        Feature(name, "categorical", dim, length) if is_few else f"about {of.distinct:,} different texts are too many"
    )


def profile(rows: DataFrame, name: str, items: DataFrame) -> Profile | None:
    """The profile of a column; None if its type can be no feature. items: the rows item_id of the log."""
    kind = rows.schema[name].dataType
    element = kind.elementType if isinstance(kind, ArrayType) else kind
    if not isinstance(element, StringType | NumericType | BooleanType):
        return None
    is_text = isinstance(kind, StringType)
    column = named(name)
    is_list = column.rlike(r"^\s*\[.*\]\s*$|\|") if is_text else F.lit(isinstance(kind, ArrayType))
    elements = _elements(column, kind)
    is_given = column.isNotNull() & (column.cast("string") != "")
    if is_text:
        is_given &= ~is_word_for_missing(column)
    values = rows.where(is_given).select(elements.alias("elements"), is_list.alias("is_list"))
    return _measured(values, items)


def _elements(column: Column, kind: DataType) -> Column:
    """The values of a cell, as texts, as they are read when they land; null for a list that would be refused."""
    return typed(column, kind, TEXTS) if isinstance(kind, ArrayType | StringType) else F.array(column.cast("string"))


def _measured(values: DataFrame, items: DataFrame) -> Profile:
    size = F.size("elements")
    are_numbers = F.forall("elements", lambda value: typed(value, StringType(), DoubleType()).isNotNull())
    are_whole = F.forall("elements", lambda value: value.try_cast("bigint").isNotNull())
    row = values.agg(
        F.count(F.lit(1)).alias("values"), F.count_if("is_list").alias("lists"),
        F.count_if(are_numbers).alias("numbers"), F.count_if(are_whole).alias("whole"),
        F.min(size).alias("min_size"), F.max(size).alias("max_size"),
        F.percentile_approx(size, 0.95).alias("usual_size"),
    ).first()  # fmt: skip
    assert row is not None
    elements = values.select(F.explode("elements").alias("item_id"))
    distinct = elements.distinct()
    shares = distinct.join(items.withColumn("known", F.lit(1)), "item_id", "left").agg(
        F.count(F.lit(1)).alias("distinct"), F.count("known").alias("known")
    )
    counted = shares.first()
    assert counted is not None
    return _profile(row, counted)


def _profile(row: Row, counted: Row) -> Profile:
    return Profile(
        values=row["values"],
        are_lists=bool(row["values"]) and row.lists >= LIST_SHARE * row["values"],
        are_numbers=row.numbers == row["values"],
        are_whole=row.whole == row["values"],
        distinct=counted.distinct,
        min_size=row.min_size or 0,
        max_size=row.max_size or 0,
        usual_size=row.usual_size or 0,
        known=counted.known / counted.distinct if counted.distinct else 0.0,
    )


def _item_ids(spark: SparkSession, parsed: Mapping[str, ParsedFile]) -> DataFrame:
    """The distinct items of a log (item_id); none if no file names items."""
    named_items = [file.accepted.select("item_id") for file in parsed.values() if "item_id" in file.columns]
    return union(named_items or [empty_frame(spark, ITEMS)]).distinct()


def _dim_of_id(features: list[Feature]) -> int:
    return next((feature.dim for feature in features if feature.kind in ("id", "item_list")), DIMS["vector"])


def _toml(side: str, feature: Feature) -> Iterator[str]:
    yield f"[[features.{side}]]"
    yield f'name = "{feature.name}"'
    yield f'kind = "{feature.kind}"'
    if feature.length > 1:
        yield f"length = {feature.length}"
    yield f"dim = {feature.dim}"
    yield ""
