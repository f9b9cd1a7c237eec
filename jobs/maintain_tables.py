"""Small files made larger, and files that nobody needs any more removed: the only job that vacuums.

Every table is compacted, but for those whose files are planned. What readers followed in the last `--keep-days` days,
and follow now, stays readable, data files and table log alike: tables keep their history as long as the oldest of it
needs it, counted from its first publication, and 7 days at least. Folders of models and indexes go when they are as
old, and no row of these days names them, nor a publication that readers followed in the kept days or that a gate of
those days compares with.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
from collections.abc import Iterator, Sequence

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.references import EXPLORE, INDEXES, ITEMS, MODELS, index_folder
from jobs.lake import tables
from jobs.lake.files import hadoop, matching
from jobs.lake.lake import Lake

DEFAULT_KEEP_DAYS = 30
LEAST_DAYS = 7  # files that a running training or reader may hold
PLANNED = ("candidates", "training_examples", "user_embeddings")


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    kept = "of which what readers followed stays readable (default: 30)"
    parser.add_argument("--keep-days", type=_days, default=DEFAULT_KEEP_DAYS, help=kept)
    parser.add_argument("--at", type=time_argument, help="time from which days are counted, ISO 8601 (default: now)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be removed, and remove nothing")
    return parser


def _days(text: str) -> int:
    days = int(text) if text.isdigit() else 0
    if days < LEAST_DAYS:
        raise argparse.ArgumentTypeError(f"wants {LEAST_DAYS} days or more, got {text!r}")
    return days


def kept_days(lake: Lake, keep: int, at: dt.datetime) -> int:
    """For how many days what is replaced has to stay: `keep`, or more where readers followed something older in them.

    A rollback is as old as the first publication of the lists that it points to: they may be replaced since then.
    """
    first = F.min("published_at").over(Window.partitionBy("candidates_version"))
    publications = lake.read(tables.PUBLICATIONS).withColumn("first", first)
    oldest = _followed(publications, keep, at).agg(F.min(F.unix_timestamp("first"))).first()[0]  # type: ignore[index]
    age = 0.0 if oldest is None else (at.timestamp() - oldest) / 86_400
    return max(keep, math.ceil(age) + 1)


def _followed(publications: DataFrame, days: int, at: dt.datetime) -> DataFrame:
    """Those that readers followed at some time of the last `days` days, the current one among them."""
    until = F.lead("published_at").over(Window.orderBy("publication"))
    followed = F.col("until").isNull() | (F.unix_timestamp("until") >= at.timestamp() - days * 86_400)
    return publications.withColumn("until", until).where(followed)


def tables_of(lake: Lake) -> Iterator[str]:
    """Paths of all Delta tables of a lake, those of variants included."""
    for pattern in ("*", "variants/*/*"):
        for status in matching(lake.spark, lake.path(pattern, "_delta_log")):
            yield str(status.getPath().getParent().toString())


def maintain(lake: Lake, path: str, days: int) -> None:
    """Compact and vacuum one table."""
    table = DeltaTable.forPath(lake.spark, path)
    _keep_history(lake, path, days)
    if path.rsplit("/", 1)[-1] not in PLANNED:
        table.optimize().executeCompaction()
    table.vacuum(24 * days)


def unused_folders(lake: Lake, keep: int, days: int, at: dt.datetime) -> Iterator[str]:
    """Folders of models and indexes that have lain there for `days` days and that no row of these days names.

    Nor does a publication of the last `keep` days.
    """
    variants = [status.getPath().getName() for status in matching(lake.spark, lake.path("variants", "*"))]
    for variant in (None, *variants):
        own = Lake(lake.spark, lake.uri, variant)
        named = {*_named_folders(own, at.date() - dt.timedelta(days=days)), *_published_models(own, keep, at)}
        for pattern in (f"{MODELS}/*", f"{INDEXES}/*/*"):
            for status in matching(lake.spark, own.model_path(pattern)):
                age = dt.timedelta(seconds=at.timestamp() - status.getModificationTime() / 1000)
                if age.days >= days and status.getPath().getName() not in named:
                    yield str(status.getPath().toString())


def _named_folders(lake: Lake, first: dt.date) -> Iterator[str]:
    """Names of the folders that rows of the days from `first` on name."""
    since = F.col("ds") >= F.lit(first)
    for row in lake.read(tables.MODEL_VERSIONS).where(since).toLocalIterator():
        yield row.model_version
    for row in lake.read(tables.ITEM_INDEXES).where(since).toLocalIterator():
        yield from (index_folder(row.folder, part) for part in (row.backend, ITEMS, EXPLORE))


def _published_models(lake: Lake, days: int, at: dt.datetime) -> set[str]:
    """Models that readers followed in the last `days` days, and the one before: a re-run's gate compares with it."""
    first, publications = at.date() - dt.timedelta(days=days), lake.read(tables.PUBLICATIONS)
    kept = _followed(publications, days, at).select("model_version")
    earlier = publications.where(F.col("ds") < F.lit(first)).orderBy(F.desc("publication")).limit(1)
    return {row.model_version for row in kept.union(earlier.select("model_version")).toLocalIterator()}


def removable(lake: Lake, path: str, days: int) -> int:
    """How many files of a table a vacuum would remove; Delta counts up to 1,000."""
    return lake.spark.sql(f"vacuum delta.{quoted(path)} retain {24 * days} hours dry run").count()


def quoted(path: str) -> str:
    """A path as an identifier of SQL, whatever is in it."""
    return "`" + path.replace("`", "``") + "`"


def _keep_history(lake: Lake, path: str, days: int) -> None:
    """The table log remembers as long as the files stay; set only where it is not so yet, as it is a commit."""
    wanted = {
        "delta.logRetentionDuration": f"interval {days + 1} days",
        "delta.deletedFileRetentionDuration": f"interval {days} days",
    }
    properties = DeltaTable.forPath(lake.spark, path).detail().first()["properties"]  # type: ignore[index]
    if any(properties.get(key) != value for key, value in wanted.items()):
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in wanted.items())
        lake.spark.sql(f"alter table delta.{quoted(path)} set tblproperties ({listed})")


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, _ = open_lake(args, "maintain_tables")
    at = args.at or now()
    days, paths = kept_days(lake, args.keep_days, at), list(tables_of(lake))
    for path in paths:
        name = path.rsplit("/", 1)[-1]
        if args.dry_run:
            print(f"{name}: {removable(lake, path, days):,} files would be removed", flush=True)
        else:
            maintain(lake, path, days)
            print(f"{name}: {days} days are kept", flush=True)
    for path in list(unused_folders(lake, args.keep_days, days, at)):
        if not args.dry_run:
            filesystem, folder = hadoop(lake.spark, path)
            filesystem.delete(folder, True)
        print(f"{path}: {'would be removed' if args.dry_run else 'removed'}", flush=True)
    return len(paths)


if __name__ == "__main__":
    run(main)
