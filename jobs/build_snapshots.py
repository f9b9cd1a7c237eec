"""item_snapshot and user_snapshot: every item and user known at the end of a day, their features encoded.

Updates the previous snapshot with the rows of `items` and `users` that landed since, and with new ids of the day's
interactions. Users who were not seen for `log.user_retention_days` days are removed. Derived features of items (the
kinds age and recent_clicks) are computed again for every item. Overwrites the day of both tables, and of item_changes:
the features that items had before this day's snapshot changed them.
Prints a warning for each declared feature that is empty or nearly so, and for values that were lost, by reason; the
report of the day shows them too.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.features import logged_features, stored_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.checks import checked, overwrite_checked
from jobs.lake.days import day_end, day_start, epoch_day
from jobs.lake.lake import Lake
from jobs.lake.queries import Materialized, empty_frame, materialized, query
from jobs.raw_log.encoding import ITEM_ID, USER_ID, encode
from jobs.raw_log.feature_values import SIDES, FeatureValues, put_warnings
from jobs.raw_log.landing import rows_since_snapshot
from model.features import Feature
from model.features.kinds import RECENT_CLICKS, feature_kind
from model.training.processes.lines import warn


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def changed_rows(landed: DataFrame, seen: DataFrame, previous: DataFrame, key: str) -> DataFrame:
    """The newest raw row of each id that landed, and an otherwise empty row for each new id that is only in `seen`."""
    columns = [name for name in landed.columns if name != "ds"]
    # rows of the same day are ordered by a hash, so that every run picks the same one
    newest_first = Window.partitionBy(key).orderBy(F.desc("ds"), F.xxhash64(*columns))
    landed = landed.withColumn("_copy", F.row_number().over(newest_first)).where("_copy = 1").select(columns)
    unknown = seen.select(key).distinct().join(landed, key, "left_anti").join(previous, key, "left_anti")
    return landed.unionByName(unknown, allowMissingColumns=True)


def item_snapshot(
    changed: DataFrame, previous: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]
) -> DataFrame:
    """Rows (item_id, item_index, available, published_at, features, texts): changed rows replace those of `previous`.

    An item that is known only from interactions is available, and its features are unknown.
    """
    changed = changed.withColumn("available", F.coalesce("available", F.lit(True)))
    updated = _with_indices(
        encode(changed, ITEM_ID, "item", features, vocabularies), ITEM_ID, "item_index", vocabularies
    )
    return previous.join(changed, ITEM_ID, "left_anti").unionByName(updated.select(previous.columns))


def item_changes(
    changed: DataFrame, previous: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]
) -> DataFrame:
    """Rows (item_id, item_index, features) of `previous` whose features are others in `changed`."""
    return _differing(previous, encode(changed, ITEM_ID, "item", features, vocabularies), logged_features(features))


def with_derived(rows: DataFrame, clicks: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]) -> DataFrame:
    """Rows of a snapshot with their derived features, from `published_at`, the day of the index, and recent clicks.

    clicks: (item_id, clicks), of the items that have some.
    """
    first = vocabularies.where(F.col("feature") == ITEM_ID).select(
        F.col("value").alias(ITEM_ID), F.col("ds").alias("_first_seen")
    )
    counted = clicks.select(ITEM_ID, F.col("clicks").alias("_clicks"))
    rows = rows.join(first, ITEM_ID, "left").join(counted, ITEM_ID, "left")
    rows = rows.withColumn(RECENT_CLICKS, F.coalesce("_clicks", F.lit(0)))
    for feature in features:
        if (derivation := feature_kind(feature.kind).derivation) is not None:
            rows = rows.withColumn(feature.name, F.expr(derivation))
    return rows.drop("_first_seen", "_clicks", RECENT_CLICKS)


def all_item_changes(
    snapshot: DataFrame, previous: DataFrame, clicks: DataFrame, vocabularies: DataFrame, features: Sequence[Feature]
) -> DataFrame:
    """`item_changes` where features are derived: every item of `previous` may have changed.

    A new item gets a row too, with its recent clicks before the day. Otherwise an example of its first day would be
    described by the snapshot of that day, which counts the example's own click. clicks: (item_id, clicks_before).
    """
    new = snapshot.join(previous, ITEM_ID, "left_anti")
    clicks = clicks.select(ITEM_ID, F.col("clicks_before").alias("clicks"))
    before = previous.unionByName(with_derived(new, clicks, vocabularies, features).select(previous.columns))
    return _differing(before, snapshot, stored_features(features))


def _differing(before: DataFrame, after: DataFrame, features: Sequence[Feature]) -> DataFrame:
    """Rows (item_id, item_index, features) of `before` that have other features in `after`."""
    names = [feature.name for feature in features]
    described = F.struct(*names)
    both = before.join(after.select(ITEM_ID, described.alias("_after")), ITEM_ID, "inner")
    return both.where(~described.eqNullSafe(F.col("_after"))).select(ITEM_ID, "item_index", *names)


def user_snapshot(
    changed: DataFrame,
    seen: DataFrame,
    previous: DataFrame,
    vocabularies: DataFrame,
    features: Sequence[Feature],
    ds: dt.date,
    seen_days: int,
) -> DataFrame:
    """Rows (user_id, user_index, first_seen, last_seen, features) of users seen in the last `seen_days` days.

    A user is seen on a day with an impression or a row in `users`. A user who was removed and returns is new.
    """
    first = previous.select(USER_ID, "first_seen")
    encoded = encode(changed, USER_ID, "user", features, vocabularies)
    updated = _with_indices(encoded, USER_ID, "user_index", vocabularies)
    updated = updated.join(first, USER_ID, "left").withColumn("first_seen", F.coalesce("first_seen", F.lit(ds)))
    updated = updated.withColumn("last_seen", F.lit(ds))
    today = seen.select(USER_ID).distinct().withColumn("_today", F.lit(ds))
    known = previous.join(changed, USER_ID, "left_anti").join(today, USER_ID, "left")
    known = known.withColumn("last_seen", F.coalesce("_today", "last_seen"))
    known = known.where(F.col("last_seen") > F.lit(ds - dt.timedelta(days=seen_days)))
    return known.select(previous.columns).unionByName(updated.select(previous.columns))


def _with_indices(rows: DataFrame, key: str, index: str, vocabularies: DataFrame) -> DataFrame:
    """`rows` with the vocabulary index of their key as the column `index`."""
    numbers = vocabularies.where(F.col("feature") == key).select(F.col("value").alias(key), F.col("index").alias(index))
    return rows.join(numbers, key, "inner")


def build(lake: Lake, config: Config, ds: dt.date, side: str) -> int:
    """Build the day of one of the two snapshots and print its warnings; returns its rows."""
    features = config.features.of(side)
    key, table = f"{side}_id", tables.snapshot_of(side, config)
    vocabularies, seen = lake.read(tables.VOCABULARIES), lake.day(tables.INTERACTIONS, ds)
    last = lake.latest_day_before(table, ds, config.log.state_lookback_days)
    previous = lake.day(table, last or ds - dt.timedelta(days=1)).drop("ds")
    landed, values = rows_since_snapshot(lake, config, side, ds), FeatureValues(side, features)
    known = known_items(vocabularies, ds) if starts_from_vocabulary(lake, config, side, last, ds) else seen
    with materialized(values.landed(changed_rows(landed, known, previous, key))) as updated:
        if side == "user":
            seen_days = config.log.user_retention_days
            snapshot = user_snapshot(updated.rows, seen, previous, vocabularies, features, ds, seen_days)
            rows = overwrite_checked(lake, table, ds, values.left(snapshot))
        else:
            has_landed = _has_landed(lake, config, last, ds)
            rows = _overwrite_items(lake, config, ds, updated, previous, values, has_landed)
    put_warnings(lake, ds, side, warnings := values.warnings())
    for warning in warnings:
        warn(f"{table.name} of {ds}: {warning}")
    return rows


def _overwrite_items(
    lake: Lake,
    config: Config,
    ds: dt.date,
    updated: Materialized,
    previous: DataFrame,
    values: FeatureValues,
    has_landed: bool,
) -> int:
    """Write the day of item_snapshot and of item_changes; returns the rows of the former."""
    features, table, vocabularies = config.features.item, tables.item_snapshot(config), lake.read(tables.VOCABULARIES)
    derived = [feature.name for feature in features if feature.is_derived]
    known = previous.drop(*derived)
    snapshot = item_snapshot(updated.rows, known, vocabularies, features) if updated.count else known
    if not derived:
        rows = overwrite_checked(lake, table, ds, values.left(snapshot))
        if logged_features(features):
            changes = item_changes(updated.rows, previous, vocabularies, features) if has_landed else None
            overwrite_changes(lake, config, ds, changes)
        return rows
    with materialized(recent_clicks(lake, config, ds)) as clicks:
        snapshot = with_derived(snapshot, clicks.rows, vocabularies, features).select(previous.columns)
        rows = overwrite_checked(lake, table, ds, values.left(snapshot))
        written = lake.day(table, ds).drop("ds")
        changes = all_item_changes(written, previous, clicks.rows, vocabularies, features)
        overwrite_changes(lake, config, ds, changes)
    return rows


def known_items(vocabularies: DataFrame, ds: dt.date) -> DataFrame:
    """Rows (item_id) of the items that were known at the end of `ds`."""
    known = vocabularies.where((F.col("feature") == ITEM_ID) & (F.col("ds") <= F.lit(ds)))
    return known.select(F.col("value").alias(ITEM_ID))


def starts_from_vocabulary(lake: Lake, config: Config, side: str, last: dt.date | None, ds: dt.date) -> bool:
    """Whether the items of earlier days are those of the vocabulary: no snapshot to continue from, and none landed.

    Not with lists of items, whose ids the vocabulary has too, shown or not. A landed item may have been removed since.
    """
    logged = logged_features((*config.features.user, *config.features.item))
    has_lists = any(feature_kind(feature.kind).vocabulary("user", feature.name) == ITEM_ID for feature in logged)
    if side != "item" or last is not None or has_lists:
        return False
    landed = lake.snapshot(tables.items(config))
    return landed is None or landed.between(dt.date.min, ds).rows == 0


def recent_clicks(lake: Lake, config: Config, ds: dt.date) -> DataFrame:
    """Rows (item_id, clicks, clicks_before): clicks of the last full days at the end of `ds`, and of the day before."""
    days = config.log.recent_click_days
    interactions = lake.window(tables.INTERACTIONS, ds, days + 1)
    moments = {"start": day_start(ds), "end": day_end(ds)}
    return query(lake.spark, "item_snapshot/recent_clicks", {"interactions": interactions}, ds=ds, days=days, **moments)


def overwrite_changes(lake: Lake, config: Config, ds: dt.date, changes: DataFrame | None) -> None:
    """Write the day of item_changes. changes: None if no item can have changed. Most days of most logs have no rows."""
    table = tables.item_changes(config)
    if changes is not None:
        with checked(table, ds, changes.withColumn("epoch_day", F.lit(epoch_day(ds)))) as made:
            if made.count:
                lake.overwrite(table, ds, made.rows)
                return
    if lake.has_day(table, ds):  # the day has run before, with other rows
        lake.overwrite(table, ds, empty_frame(lake.spark, table.schema))


def _has_landed(lake: Lake, config: Config, last: dt.date | None, ds: dt.date) -> bool:
    """Whether rows of `items` landed after the day `last` up to `ds`, from the table's log; False without `last`."""
    landed = None if last is None else lake.days_of(tables.items(config), ds, (ds - last).days)
    return landed is not None and landed.rows > 0


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_snapshots")
    lake.require_day(tables.INTERACTIONS, args.ds)
    with ThreadPoolExecutor(2) as executor:  # two independent tables
        return sum(executor.map(lambda side: build(lake, config, args.ds, side), SIDES))


if __name__ == "__main__":
    run(main)
