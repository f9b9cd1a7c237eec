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
from jobs.common.config import Features
from jobs.common.encoding import ITEM_ID, USER_ID, feature_values, named_values, union
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def new_vocabulary_rows(
    interactions: DataFrame, users: DataFrame, items: DataFrame, vocabularies: DataFrame, features: Features, ds: dt.date
) -> DataFrame:
    """Rows (feature, value, index, ds) of what the day shows for the first time."""
    values = [
        *(named_values(frame.select(USER_ID), USER_ID) for frame in (interactions, users)),
        *(named_values(frame.select(ITEM_ID), ITEM_ID) for frame in (interactions, items)),
        *feature_values(users, "user", features.user),
        *feature_values(items, "item", features.item),
    ]
    frames = {"values": union(values), "vocabularies": vocabularies}
    return query(interactions.sparkSession, "vocabularies/query", frames, ds=ds)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_vocabularies")
    rows = new_vocabulary_rows(
        lake.required_day(tables.INTERACTIONS, args.ds),
        lake.day(tables.users(config), args.ds),
        lake.day(tables.items(config), args.ds),
        lake.read(tables.VOCABULARIES),
        config.features,
        args.ds,
    )
    return lake.append_new(tables.VOCABULARIES, rows)


if __name__ == "__main__":
    run(main)
