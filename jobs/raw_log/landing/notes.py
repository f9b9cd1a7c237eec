"""What the user should know when rows land: columns that are not used, features without values, days to run again."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping, Sequence

from jobs.config.features import logged_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.raw_log.feature_values import words_are_categories
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.landing.writing import raw_tables

SIDES = {"users": "user", "items": "item"}  # raw tables with declared features


def unused_columns(table: str, source: str, columns: Sequence[str]) -> list[str]:
    """A line that names the columns of a file of users or items that are not read; none for other tables."""
    if table not in SIDES or not columns:
        return []
    return [f"{source}: not used: {', '.join(columns)}; to train on them, declare them in [[features.{SIDES[table]}]]"]


def features_without_values(lake: Lake, config: Config, landing: Collection[str]) -> list[str]:
    """A line for the declared features of users, and of items, if none have ever landed. landing: what lands now."""
    lines = []
    for name, side in SIDES.items():
        features = logged_features(config.features.of(side))
        if features and name not in landing and not _has_rows(lake, config, name):
            names = ", ".join(feature.name for feature in features)
            lines.append(
                f"warning: no {name} have landed yet, so these features of [[features.{side}]] are empty: {names}"
            )
    return lines


def days_without_clicks(parsed: Mapping[str, ParsedFile]) -> list[str]:
    """A line if impressions land, and no row of the file is a click by its mapping. Only within `ParsedFile.read`."""
    clicks = parsed.get("clicks")
    if clicks is None or "impressions" not in parsed or not clicks.condition or clicks.read_rows():
        return []
    return [f"warning: {clicks.source}: no row fulfils {clicks.condition}: impressions land without clicks"]


def words_for_missing(parsed: Mapping[str, ParsedFile]) -> list[str]:
    """A line for each feature with values such as NA, which land as categories. Only within `ParsedFile.read`."""
    return [
        f"warning: {table}: {words_are_categories(name, count, word)}"
        for table, file in parsed.items()
        for name, (count, word) in file.words_for_missing().items()
    ]


def days_to_run_again(lake: Lake, ds: dt.date, landing: Collection[str]) -> list[str]:
    """A line if jobs have run without the rows that land on `ds`: they do not see them unless they run again."""
    counts = lake.snapshot(tables.DAILY_ITEM_COUNTS)
    run = [day for day in counts.days() if day >= ds] if counts is not None else []
    if not run:
        return []
    first = ds if "impressions" in landing else run[0]
    days = str(first) if first == run[-1] else f"{first} to {run[-1]}"
    again = "run this day again" if first == run[-1] else "run these days again"
    later = "" if "impressions" in landing else ", or land them on a later day"
    return [f"warning: {days} ran without these rows: {again} with run_day{later}"]


def _has_rows(lake: Lake, config: Config, name: str) -> bool:
    try:
        snapshot = lake.snapshot(raw_tables(config)[name])
    except SchemaMismatch:  # it has rows, with other features; the jobs that read them say so
        return True
    return snapshot is not None and snapshot.rows > 0
