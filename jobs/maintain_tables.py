"""Remove old days, compact small files, and remove files that are no longer needed. No other job vacuums.

Removes the days of a table that are older than `retention.tables` says, counted back from the oldest day whose lists
readers followed in the last `--keep-days` days. The files of removed days go when those of replaced rows go.

Compacts every table except those with a planned file layout. Lists that readers follow, or followed in the last
`--keep-days` days, stay readable: data files and logs of tables are kept for the age of the oldest of these lists,
counted from its first publication, and for at least 7 days. A folder of a model or an index is removed when it is that
old, no row of these days names it, and it is needed neither by a publication that readers followed in the last
`--keep-days` days nor by the gate of such a day.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence

from delta.tables import DeltaTable

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.files import delta_paths, hadoop_path
from jobs.lake.lake import Lake
from jobs.maintenance.old_days import OldDays, old_days
from jobs.maintenance.retention import DEFAULT_KEEP_DAYS, MIN_KEEP_DAYS, retention_days, unused_folders
from model.training.processes.lines import say

# tables whose jobs choose the size and order of their files (jobs/lake/file_layout.py)
PLANNED_LAYOUT = (tables.CANDIDATES.name, "training_examples", tables.USER_EMBEDDINGS.name)


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument(
        "--keep-days",
        type=_keep_days_argument,
        default=DEFAULT_KEEP_DAYS,
        help=f"days for which readers can still read what they followed (default: {DEFAULT_KEEP_DAYS})",
    )
    parser.add_argument("--at", type=time_argument, help="time from which days are counted, ISO 8601 (default: now)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed, and remove nothing")
    return parser


def maintain(lake: Lake, path: str, days: int) -> None:
    """Compact one table, and remove the files that no version of the last `days` days needs."""
    table = DeltaTable.forPath(lake.spark, path)
    _set_retention(lake, path, days)
    if path.rsplit("/", 1)[-1] not in PLANNED_LAYOUT:
        table.optimize().executeCompaction()
    table.vacuum(24 * days)


def maintain_tables(lake: Lake, days: int, *, dry_run: bool) -> int:
    """Maintain every table of the lake; returns their number."""
    paths = delta_paths(lake.spark, lake.uri)
    for name, path in paths.items():
        if dry_run:
            say(f"{name}: {removable_files(lake, path, days):,} files would be removed")
        else:
            maintain(lake, path, days)
            say(f"{name}: removed files are kept for {days} days")
    return len(paths)


def remove_days(days: Iterable[OldDays], *, dry_run: bool) -> None:
    for old in days:
        if not dry_run:
            old.remove()
        say(f"{old} {'would be removed' if dry_run else 'removed'}")


def remove_folders(lake: Lake, folders: Sequence[str], *, dry_run: bool) -> None:
    for folder in folders:
        if not dry_run:
            filesystem, path = hadoop_path(lake.spark, folder)
            filesystem.delete(path, True)
        say(f"{folder}: {'would be removed' if dry_run else 'removed'}")


def removable_files(lake: Lake, path: str, days: int) -> int:
    """The number of files of a table that a vacuum would remove; Delta stops counting at 1,000."""
    return lake.spark.sql(f"vacuum delta.{quoted(path)} retain {24 * days} hours dry run").count()


def quoted(path: str) -> str:
    """A path as a SQL identifier."""
    return "`" + path.replace("`", "``") + "`"


def _set_retention(lake: Lake, path: str, days: int) -> None:
    """Set how long the table keeps its log and its removed files; makes no commit if that is set already."""
    wanted = {
        "delta.logRetentionDuration": f"interval {days + 1} days",
        "delta.deletedFileRetentionDuration": f"interval {days} days",
    }
    properties = DeltaTable.forPath(lake.spark, path).detail().first()["properties"]  # type: ignore[index]
    if any(properties.get(key) != value for key, value in wanted.items()):
        listed = ", ".join(f"'{key}' = '{value}'" for key, value in wanted.items())
        lake.spark.sql(f"alter table delta.{quoted(path)} set tblproperties ({listed})")


def _keep_days_argument(text: str) -> int:
    days = int(text) if text.isdigit() else 0
    if days < MIN_KEEP_DAYS:
        raise argparse.ArgumentTypeError(f"must be at least {MIN_KEEP_DAYS} days, got {text!r}")
    return days


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "maintain_tables", opens_once=False)
    at = args.at or now()
    days = retention_days(lake, args.keep_days, at)
    remove_days(old_days(lake, config, args.keep_days, at), dry_run=args.dry_run)
    maintained = maintain_tables(lake, days, dry_run=args.dry_run)
    remove_folders(lake, list(unused_folders(lake, args.keep_days, days, at)), dry_run=args.dry_run)
    return maintained


if __name__ == "__main__":
    run(main)
