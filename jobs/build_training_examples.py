"""training_examples: one row per click of the day, with the user's features as of the time of the impression.

The history has the user's last clicks strictly before the impression, and `history_gaps`, if it is declared with gaps,
how long before it each of them was. User features come from the snapshot of the day
before, or from the day's own for new users. `unclicked` lists the items that the click's request also showed and that
were not clicked; `outcome_final_at` is when that list becomes final. `epoch_day` is the day, by which the trainer finds
the item's features as of that day. Each user has at most `examples.max_per_user` examples. Each file is one row group;
all have the same size, up to one row, and their number is a multiple of ranks x readers. Overwrites the day.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.features import Features, logged_features
from jobs.config.loading import Config
from jobs.config.sections import Examples
from jobs.lake import tables
from jobs.lake.checks import checked
from jobs.lake.days import epoch_day
from jobs.lake.file_layout import in_equal_row_groups, one_row_group_per_file, row_group_count
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.encoding import USER_ID, pad
from model.features.kinds import ClickGaps

NO_LIMIT = 2**31 - 1


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def training_examples(
    interactions: DataFrame,
    histories_before: DataFrame,
    snapshot_before: DataFrame,
    snapshot: DataFrame,
    vocabularies: DataFrame,
    features: Features,
    settings: Examples,
) -> DataFrame:
    """One row per sampled click; lists are padded with 0 at the end."""
    length = max(features.history_length, 1)
    clicks = query(
        interactions.sparkSession,
        "training_examples/query",
        {"interactions": interactions, "before": histories_before, "vocabularies": vocabularies},
        others=length - 1,
        share=settings.sample_rate,
        per_user=settings.max_per_user or NO_LIMIT,
        gaps=features.has_gaps,
    )
    if features.history_length:
        clicks = clicks.withColumn("history", _last("clicks_before", length))
    if features.has_gaps:
        gaps = clicks.withColumn("history_gaps", F.expr(ClickGaps().encoding("gaps_before", length)))
        clicks = gaps.withColumn("history_gaps", _last("history_gaps", length))
    clicks = clicks.join(_requests(interactions, vocabularies, settings.unclicked_per_example), "impression_id")
    return clicks.drop("clicks_before", "gaps_before").join(
        _user_features(snapshot_before, snapshot, features), USER_ID, "inner"
    )


def _last(column: str, length: int) -> Column:
    """The last `length` elements of an array, padded with 0 at the end."""
    first = F.greatest(F.size(column) - F.lit(length), F.lit(0)) + 1
    return pad(F.slice(column, first, F.lit(length)), length)


def _requests(interactions: DataFrame, vocabularies: DataFrame, length: int) -> DataFrame:
    """(impression_id, unclicked, outcome_final_at) per click."""
    frames = {"interactions": interactions, "vocabularies": vocabularies}
    rows = query(interactions.sparkSession, "training_examples/requests", frames, unclicked=length)
    return rows.withColumn("unclicked", pad(F.col("unclicked"), length))


def _user_features(snapshot_before: DataFrame, snapshot: DataFrame, features: Features) -> DataFrame:
    """(user_id, user_index, features) per user: the features of the day before, or the day's own for new users."""
    names = [feature.name for feature in logged_features(features.user)]
    if not names:
        return snapshot.select(USER_ID, "user_index")
    described = F.struct(*names).alias("described")
    known = snapshot_before.select(USER_ID, described.alias("before"))
    today = snapshot.select(USER_ID, "user_index", described.alias("today"))
    merged = today.join(known, USER_ID, "left").withColumn("described", F.coalesce("before", "today"))
    return merged.select(USER_ID, "user_index", "described.*")


def overwrite(lake: Lake, config: Config, ds: dt.date, rows: DataFrame) -> int:
    """Check the day's examples and write them, one row group per file; returns their number."""
    table, settings = tables.training_examples(config), config.examples
    with checked(table, ds, rows.withColumn("epoch_day", F.lit(epoch_day(ds)))) as examples:
        count = examples.count
        groups = row_group_count(count, settings.row_group_rows, settings.ranks * settings.readers)
        with one_row_group_per_file(lake.spark):
            return lake.overwrite(table, ds, in_equal_row_groups(examples.rows, "impression_id", count, groups))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_training_examples")
    back, snapshots = config.log.state_lookback_days, tables.user_snapshot(config)
    rows = training_examples(
        lake.required_day(tables.INTERACTIONS, args.ds),
        lake.latest_before(tables.TIMED_USER_HISTORIES, args.ds, back),
        lake.latest_before(snapshots, args.ds, back),
        lake.required_day(snapshots, args.ds),
        lake.read(tables.VOCABULARIES),
        config.features,
        config.examples,
    )
    return overwrite(lake, config, args.ds, rows)


if __name__ == "__main__":
    run(main)
