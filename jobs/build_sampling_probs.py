"""item_sampling_probs: how often each source of negatives draws each item.

q: share of the training examples of the window (q_before: of the window without its last day; q_last: of its last day).
u: smoothed share of clicks over the whole catalogue. p: share of exposures in the unclicked pool. Each sums to 1, or to
0 if there is nothing to count, as p where no model draws from the pool. Overwrites the day.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.presets import reads_pool
from jobs.lake import tables
from jobs.lake.checks import overwrite_checked
from jobs.lake.queries import empty_frame, query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def item_sampling_probs(
    window_counts: DataFrame,
    last_day: DataFrame,
    item_snapshot: DataFrame,
    unclicked_items: DataFrame,
    corpus_alpha: float,
) -> DataFrame:
    """Rows (item_id, item_index, clicks, q, q_before, q_last, u, p) for every item of the snapshot."""
    frames = {
        "window_item_counts": window_counts,
        "daily_item_counts": last_day,
        "item_snapshot": item_snapshot,
        "unclicked_items": unclicked_items,
    }
    return query(window_counts.sparkSession, "item_sampling_probs/query", frames, corpus_alpha=corpus_alpha)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_sampling_probs", uses_adopted=True)
    pool = lake.day(tables.UNCLICKED_ITEMS, args.ds)
    if not reads_pool(config):  # one that was built with another configuration may be out of date
        pool = empty_frame(lake.spark, tables.UNCLICKED_ITEMS.schema)
    rows = item_sampling_probs(
        lake.required_day(tables.WINDOW_ITEM_COUNTS, args.ds),
        lake.day(tables.DAILY_ITEM_COUNTS, args.ds),
        lake.required_day(tables.item_snapshot(config), args.ds),
        pool,
        config.pool.corpus_alpha,
    )
    return overwrite_checked(lake, tables.ITEM_SAMPLING_PROBS, args.ds, rows)


if __name__ == "__main__":
    run(main)
