"""vocabularies: a dense index for every id and category, given once and never changed.

Reads the day's interactions, users and items; appends the values that have no index yet, so a second run adds nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.checks import checked
from jobs.common.declared_features import Features
from jobs.common.encoding import ITEM_ID, USER_ID, feature_values, named_values, union
from jobs.common.partitions import Lake, kept
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def unseen_values(
    interactions: DataFrame, users: DataFrame, items: DataFrame, vocabularies: DataFrame, features: Features
) -> DataFrame:
    """Rows (feature, value, bucket) of what the day shows for the first time."""
    values = [named_values(interactions.select(name), name) for name in (USER_ID, ITEM_ID)]
    for side, landed, declared in (("user", users, features.user), ("item", items, features.item)):
        if not landed.isEmpty():
            values += [named_values(landed.select(f"{side}_id"), f"{side}_id"), *feature_values(landed, side, declared)]
    frames = {"values": union(values), "vocabularies": vocabularies}
    return query(interactions.sparkSession, "vocabularies/unseen", frames)


def numbered(unseen: DataFrame, vocabularies: DataFrame, ds: dt.date) -> DataFrame:
    """Rows (feature, value, index, ds) that follow on what the vocabularies hold."""
    return query(unseen.sparkSession, "vocabularies/query", {"unseen": unseen, "vocabularies": vocabularies}, ds=ds)


def append(lake: Lake, rows: DataFrame, ds: dt.date) -> int:
    """Check the rows that no vocabulary has yet, and add them."""
    with checked(tables.VOCABULARIES, ds, rows) as fresh:
        return lake.append(tables.VOCABULARIES, fresh)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_vocabularies")
    interactions = lake.required_day(tables.INTERACTIONS, args.ds)
    users, items = lake.day(tables.users(config), args.ds), lake.day(tables.items(config), args.ds)
    vocabularies = lake.read(tables.VOCABULARIES)
    with kept(unseen_values(interactions, users, items, vocabularies, config.features)) as unseen:
        return 0 if unseen.isEmpty() else append(lake, numbered(unseen, vocabularies, args.ds), args.ds)


if __name__ == "__main__":
    run(main)
