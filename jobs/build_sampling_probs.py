"""item_sampling_probs: how often each source of negatives draws each item.

q counts the training examples of the window, u smooths clicks over the whole catalogue, p counts exposures in the
unclicked pool. Each sums to 1 (p to 0 where the pool is empty). Overwrites the day.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import DataFrame

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.queries import query


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def item_sampling_probs(
    counts: DataFrame, item_snapshot: DataFrame, unclicked_items: DataFrame, corpus_alpha: float
) -> DataFrame:
    """Rows (item_id, item_index, clicks, q, u, p) of every item in the snapshot; `counts` hold the window's days."""
    frames = {"daily_item_counts": counts, "item_snapshot": item_snapshot, "unclicked_items": unclicked_items}
    return query(counts.sparkSession, "item_sampling_probs/query", frames, corpus_alpha=corpus_alpha)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_sampling_probs")
    rows = item_sampling_probs(
        lake.window(tables.DAILY_ITEM_COUNTS, args.ds, config.log.examples_window_days),
        lake.required_day(tables.item_snapshot(config), args.ds),
        lake.day(tables.UNCLICKED_ITEMS, args.ds),
        config.pool.corpus_alpha,
    )
    return lake.overwrite(tables.ITEM_SAMPLING_PROBS, args.ds, rows)


if __name__ == "__main__":
    run(main)
