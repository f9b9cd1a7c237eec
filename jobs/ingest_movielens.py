"""Raw tables from MovieLens: each rating is an impression, and a rating of 4 stars or more is also a click.

Without --source: MovieLens-100K, from a Python package that contains it. Its users rate in one sitting, so the ratings
of each user are spread, in order, over ten logical days; --ds is the first.
With --source FOLDER: ratings.csv and movies.csv with their real times. The ratings of the day --ds land; with --backlog
all earlier ratings land on that day as well. `--config movielens`, here and with every later job, declares the features
of its users and items.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.features import logged_features
from jobs.raw_log.landing import land
from jobs.raw_log.movielens import movielens_100k, movielens_csv, raw_frames
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--source", type=Path, help="folder with ratings.csv and movies.csv")
    parser.add_argument("--backlog", action="store_true", help="land all ratings before --ds on that day as well")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    if args.source:
        ratings, users, items = movielens_csv(args.source, args.ds, args.backlog)
    else:
        ratings, users, items = movielens_100k(args.ds)
    lake, config = open_lake(args, "ingest_movielens", must_exist=False)
    if not logged_features((*config.features.user, *config.features.item)):
        say("no feature is declared, so only ids land: --config movielens declares those of MovieLens")
    frames = raw_frames(lake.spark, config, ratings, users, items, args.ds)
    return sum(land(lake, config, sorted(set(ratings["ds"])), frames).values())


if __name__ == "__main__":
    run(main)
