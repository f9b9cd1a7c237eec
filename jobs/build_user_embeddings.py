"""user_embeddings: the embedding of every user of the day's snapshot, computed by the user tower.

`scored_from` is a hash of everything a user's list depends on except the items and the towers: a user whose hash has
not changed can keep the list. Overwrites the day; rows are sorted by user_id within files.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.embedding_inputs import users_to_embed
from jobs.inference.references import calibration_of, model_reference
from jobs.lake import tables
from jobs.lake.file_layout import sorted_files
from model.features import columns


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def main(argv: Sequence[str] | None = None) -> int:
    # imported here because they load torch
    from jobs.inference.embedding import user_embeddings
    from jobs.workers.embedding import open_towers

    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_user_embeddings", uses_adopted=True)
    ref = model_reference(lake, args.ds)
    calibration = calibration_of(lake, config, ref.version).digest  # other probabilities require other lists
    users = users_to_embed(lake, config, args.ds, columns(open_towers(ref).spec.user), calibration)
    users = sorted_files(users, "user_id", lake.row_count(tables.user_snapshot(config), args.ds))
    rows = user_embeddings(users, ref).withColumn("model_version", F.lit(ref.version))
    return lake.overwrite(tables.USER_EMBEDDINGS, args.ds, rows)


if __name__ == "__main__":
    run(main)
