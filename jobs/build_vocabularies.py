"""vocabularies: a dense index for every id and category. An index, once assigned, never changes.

Reads the day's interactions, and the users and items that landed since the last snapshot, and adds the values that have
no index yet; a second run adds nothing. Of two concurrent runs that would assign the same index, one fails and adds
nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.features import Features
from jobs.lake import tables
from jobs.lake.checks import checked
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized, query
from jobs.raw_log.encoding import ITEM_ID, USER_ID, feature_values, named_values, union
from jobs.raw_log.landing import rows_since_snapshot


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def unseen_values(
    interactions: DataFrame, users: DataFrame, items: DataFrame, vocabularies: DataFrame, features: Features
) -> DataFrame:
    """Rows (feature, value, bucket) of the day's values that no vocabulary has yet."""
    values = [named_values(interactions.select(name), name) for name in (USER_ID, ITEM_ID)]
    for side, landed, declared in (("user", users, features.user), ("item", items, features.item)):
        if not landed.isEmpty():
            values += [named_values(landed.select(f"{side}_id"), f"{side}_id"), *feature_values(landed, side, declared)]
    frames = {"values": union(values), "vocabularies": vocabularies}
    return query(interactions.sparkSession, "vocabularies/unseen", frames)


def with_indices(unseen: DataFrame, vocabularies: DataFrame, ds: dt.date) -> DataFrame:
    """Rows (feature, value, index, ds): each unseen value gets the next free index of its vocabulary."""
    return query(unseen.sparkSession, "vocabularies/query", {"unseen": unseen, "vocabularies": vocabularies}, ds=ds)


def add_to_vocabularies(lake: Lake, rows: DataFrame, ds: dt.date, version: int | None) -> int:
    """Check the new rows and add them; returns their number.

    version: of the vocabularies after which the indices were given, None if there was no table. Raises KeyConflict if
    another run has changed the table since, as it may have given the same indices.
    """
    with checked(tables.VOCABULARIES, ds, rows) as new:
        return lake.append_after(tables.VOCABULARIES, new.rows, version)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_vocabularies")
    interactions = lake.required_day(tables.INTERACTIONS, args.ds)
    users, items = (rows_since_snapshot(lake, config, side, args.ds) for side in ("user", "item"))
    version = lake.version(tables.VOCABULARIES) if lake.has(tables.VOCABULARIES) else None
    vocabularies = lake.read(tables.VOCABULARIES)  # of this version, or of a later one that the commit conflicts with
    with materialized(unseen_values(interactions, users, items, vocabularies, config.features)) as unseen:
        if not unseen.count:
            return 0
        rows = with_indices(unseen.rows, vocabularies, args.ds)
        return add_to_vocabularies(lake, rows, args.ds, version)


if __name__ == "__main__":
    run(main)
