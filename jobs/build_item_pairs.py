"""daily_item_pairs: pairs of items that a user clicked soon after each other, from a day's training examples.

Each click is paired with the last `neighbours.span` clicks of the user before it; a user has at most
`neighbours.max_pairs_per_user` pairs on a day, those of the last clicks. Overwrites the day. Without a model or variant
that has a `scoring.neighbour_quota`, nothing is built.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.queries import query
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def item_pairs(training_examples: DataFrame, span: int, max_pairs_per_user: int) -> DataFrame:
    """Rows (item_index, other_index, weight) of the pairs of a day's examples, which have a history.

    max_pairs_per_user: at least `span`.
    """
    return query(
        training_examples.sparkSession,
        "daily_item_pairs/query",
        {"training_examples": training_examples},
        span=span,
        clicks_per_user=max_pairs_per_user // span,
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_pairs")
    if not config.reads_neighbours:
        say("no pairs of items are counted, because scoring.neighbour_quota is 0")
        return 0
    examples = lake.day(tables.training_examples(config), args.ds)
    rows = item_pairs(examples, config.neighbours.span, config.neighbours.max_pairs_per_user)
    return overwrite_checked(lake, tables.DAILY_ITEM_PAIRS, args.ds, rows)


if __name__ == "__main__":
    run(main)
