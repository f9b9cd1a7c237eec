"""Counts what becomes of the values of declared features, for the warnings of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from jobs.config.features import logged_features
from jobs.lake.files import put_text, read_text
from jobs.lake.lake import Lake
from jobs.raw_log.values import word_for_missing
from model.features import Feature
from model.features.kinds import feature_kind
from model.vocabulary import UNKNOWN

SIDES = ("item", "user")
MIN_FILLED_SHARE = 0.01  # of the rows of a snapshot: a feature with fewer values is reported


class FeatureValues:
    """The counts of one side's features. The rows are counted while they are computed, without a query of their own."""

    def __init__(self, side: str, features: Sequence[Feature]) -> None:
        """side: user | item."""
        self.side, self.features = side, logged_features(features)
        self._landed, self._left = Observation(), Observation()

    def landed(self, rows: DataFrame) -> DataFrame:
        """`rows` with raw values, which are counted with the reasons why some are lost; to be computed once."""
        counts = [F.count(F.lit(1)).alias("rows")]
        for feature in self.features:
            name, kind = feature.name, feature_kind(feature.kind)
            is_given = f"size(`{name}`) > 0" if feature.is_list else _is_given(name, feature)
            conditions = {"landed": is_given, **kind.losses(name, feature.length)}
            counts += [_count(condition, f"{name} {label}") for label, condition in conditions.items()]
            if _is_text(feature):
                word = word_for_missing(F.col(name), rows.schema[name].dataType)
                counts += [F.count(word).alias(f"{name} words"), F.min(word).alias(f"{name} word")]
        return rows.observe(self._landed, *counts)

    def left(self, rows: DataFrame) -> DataFrame:
        """`rows` of the snapshot, whose encoded values are counted; to be computed once."""
        filled = [_count(_is_filled(feature), feature.name) for feature in self.features]
        return rows.observe(self._left, F.count(F.lit(1)).alias("rows"), *filled)

    def warnings(self) -> list[str]:
        """A line for each feature that is empty or nearly so, that lost values that landed, or with words such as NA.

        Only after both frames were computed.
        """
        landed, left = self._landed.get, self._left.get
        lines = []
        for feature in self.features:
            losses = self._losses(feature, landed, left[feature.name])
            if losses or left[feature.name] < MIN_FILLED_SHARE * left["rows"]:
                text = f"feature {feature.name}: {left[feature.name]:,} of {left['rows']:,} {self.side}s have a value"
                given = f"of {landed[f'{feature.name} landed']:,} values that landed, "
                lines.append(text + (f"; {given}{', '.join(losses)}" if losses else ""))
            if _is_text(feature) and (count := landed[f"{feature.name} words"]):
                lines.append(f"feature {words_are_categories(feature.name, count, landed[f'{feature.name} word'])}")
        return lines

    def _losses(self, feature: Feature, landed: dict[str, int], left: int) -> list[str]:
        kind = feature_kind(feature.kind)
        counts = {reason: landed[f"{feature.name} {reason}"] for reason in kind.losses(feature.name, feature.length)}
        if not feature.holds_numbers:  # at least so many, as the snapshot also has values of earlier days
            counts["are not in the vocabulary"] = landed[f"{feature.name} landed"] - left
        return [f"{count:,} {reason}" for reason, count in counts.items() if count > 0]


def words_are_categories(name: str, count: int, word: str) -> str:
    """What to know of a feature of which `count` values, one of them `word`, are words for a missing value."""
    return (
        f"{name}: {count:,} values are words for a missing value, such as {word}, and count as a category; if they are "
        f"none, map them: {name} = \"nullif({name}, '{word}')\""
    )


def put_warnings(lake: Lake, ds: dt.date, side: str, lines: Sequence[str]) -> None:
    """Keep the warnings of one side for the report of the day; they replace those of an earlier run."""
    put_text(lake.spark, _file(lake, ds, side), "\n".join(lines))


def warnings_of_day(lake: Lake, ds: dt.date) -> list[str]:
    """The warnings of the day's features, of items before those of users."""
    texts = (read_text(lambda: lake.spark, _file(lake, ds, side)) for side in SIDES)
    return [line for text in texts for line in (text or "").splitlines()]


def _file(lake: Lake, ds: dt.date, side: str) -> str:
    return lake.path("warnings", str(ds), f"{side}_features.txt")


def _is_text(feature: Feature) -> bool:
    return feature_kind(feature.kind).raw_type == "string"


def _is_given(name: str, feature: Feature) -> str:
    """Whether a raw value that is no list is given; a NaN is how some writers say that a number is missing."""
    return f"`{name}` is not null" + (f" and not isnan(`{name}`)" if feature.holds_numbers else "")


def _is_filled(feature: Feature) -> str:
    """Whether an encoded value says something: it is neither missing nor unknown."""
    if feature.holds_numbers:
        return f"`{feature.name}` is not null"
    return (
        f"exists(`{feature.name}`, index -> index > {UNKNOWN})" if feature.is_list else f"`{feature.name}` > {UNKNOWN}"
    )


def _count(condition: str, name: str) -> Column:
    return F.expr(f"count_if({condition})").alias(name)
