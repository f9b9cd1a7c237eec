"""item_embeddings and item_indexes: the embedding of every item, and indexes over those of the available items.

The indexes of `index.build_backends` are built and measured on a sample of the day's users. Approximate ones get the
smallest search budget that finds `index.recall_target` of the exact lists. Overwrites the day of item_embeddings and of
item_indexes, in which `is_chosen` marks the index to search. The indexes are stored under indexes/ in the lake.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.eligibility import report_too_old, warn_of_unknown_blocked_items
from jobs.inference.embedding_inputs import items_to_embed
from jobs.inference.index_building import store_indexes
from jobs.inference.references import model_reference
from jobs.inference.user_sample import sampled_users
from jobs.lake import tables
from jobs.lake.days import epoch_day


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def main(argv: Sequence[str] | None = None) -> int:
    from jobs.inference.embedding import item_embeddings  # imported here because it loads torch

    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_index", uses_adopted=True)
    ref = model_reference(lake, args.ds)
    warn_of_unknown_blocked_items(lake, config, args.ds)
    report_too_old(lake, config, args.ds)
    sample = sampled_users(lake, config, args.ds)
    rows = item_embeddings(items_to_embed(lake, config, args.ds), ref, epoch_day(args.ds) + 1)
    count = lake.overwrite(tables.ITEM_EMBEDDINGS, args.ds, rows.withColumn("model_version", F.lit(ref.version)))
    indexes = store_indexes(lake, config, args.ds, ref.version, sample)
    return count + lake.overwrite(tables.ITEM_INDEXES, args.ds, indexes)


if __name__ == "__main__":
    run(main)
