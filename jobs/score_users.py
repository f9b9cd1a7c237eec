"""candidates: K items for every user, found by the user's embedding in the day's index, on the executors.

Excluded items and items that are not available are left out. `source` names the channel of an item; a user
without a click gets the popular items of their segment. With `scoring.changed_users_only`, a user whose inputs have not
changed since the last publication of the same model gets that list again if all its items are still available.
Overwrites the day. Rows are sorted by user_id, so that a look-up reads one row group of one file.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.live import expecting
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.exclusions import excluded_items
from jobs.inference.references import index_reference, model_manifest
from jobs.inference.scoring import candidates, list_plan
from jobs.lake import tables
from jobs.lake.file_layout import sorted_files
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from jobs.serving.publications import published_lists
from jobs.workers.references import IndexReference
from jobs.workers.scoring import read_scorer
from model.artifacts.formats import VersionMismatch
from model.training.processes.lines import warn


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument("--scored-at", type=time_argument, help="time recorded with the rows, ISO 8601 (default: now)")
    return parser


def users_to_score(lake: Lake, ds: dt.date, version: str, *, changed_users_only: bool = False) -> DataFrame:
    """Every user's embedding, `excluded` item indices, and the published list that is reused if nothing has changed.

    Raises VersionMismatch if the embeddings are of another model version.
    """
    users = lake.required_day(tables.USER_EMBEDDINGS, ds)
    other = users.where(F.col("model_version") != version).first()
    if other is not None:
        raise VersionMismatch(f"user_embeddings of {ds} must be of model version {version}, got {other.model_version}")
    changed_users_only &= lake.variant is None  # only lists of the main model are published
    frames = {
        "user_embeddings": users,
        "user_histories": excluded_items(lake.day(tables.USER_HISTORIES, ds)),
        "published": published_lists(lake, version if changed_users_only else None),
    }
    return query(lake.spark, "candidates/users_to_score", frames)


def warn_if_uncalibrated(lake: Lake, config: Config, ref: IndexReference) -> None:
    """Print a warning, with the reason, if the model has no calibration."""
    if ref.calibration.is_fitted:
        return
    keys = ['training.validation is "none"'] if config.training.validation == "none" else []
    keys += ["log.examples_window_days is 1"] if config.log.examples_window_days == 1 else []
    if (model_manifest(lake, ref.version) or {}).get("metrics", {}).get("validation"):
        reason = "was trained by an older version: train it again"
    elif keys:
        reason = f"was trained without a held-out day, because {keys[0]}"
    else:
        reason = "had no day before its own, so none was held out: scores are calibrated from the second day on"
    shares = "its scores are shares of the softmax over a user's list, not calibrated probabilities"
    warn(f"model {ref.version} {reason}; {shares}")


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "score_users", uses_adopted=True)
    ref, plan = index_reference(lake, config, args.ds), list_plan(config)
    warn_if_uncalibrated(lake, config, ref)
    read_scorer(ref, plan)  # a damaged index is refused here, before many tasks fail
    users = users_to_score(lake, args.ds, ref.version, changed_users_only=config.scoring.changed_users_only)
    count = lake.row_count(tables.USER_EMBEDDINGS, args.ds)
    rows = candidates(sorted_files(users, "user_id", count), ref, plan, args.scored_at or now())
    expected = 0 if config.scoring.changed_users_only else count  # how many have changed is not counted
    with expecting(expected, "users"):
        return lake.overwrite_by_workers(tables.CANDIDATES, args.ds, rows, USERS_PER_ROW_GROUP)


if __name__ == "__main__":
    run(main)
