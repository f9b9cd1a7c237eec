"""Remove users: their rows from every table, their ids from the vocabularies.

A row that names a user only through an impression, as clicks may, is removed too. An id is compared exactly, with its
leading and trailing blanks; ids that no table has are listed, and are no error, because a run may be repeated.

The current publication is published again without them, unless its day was scored again since. Older versions of the
tables contain their rows until the tables are vacuumed: the job prints the publications that name such versions, and
the day after which a vacuum removes them. Reports that show one of the users are removed, and so are the checkpoints of
trainings, which contain pairs of users and items. The index of a removed user is never assigned to another user; the
weights keep a vector that belongs to no id.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from markupsafe import escape

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import glob_statuses, hadoop_path, read_text, remove_folder, require_files
from jobs.lake.lake import Lake
from jobs.maintenance.forgetting import expiry_messages, is_newest, republish
from jobs.maintenance.removal import remove_users
from jobs.raw_log.attribution import AttributionWindow
from jobs.raw_log.files.ids import ids_from_file, some_of
from jobs.report.files import DRAFTS, PAGE
from jobs.serving.publications import last_publication
from model.training.processes.lines import say, warn

MAX_USERS = 100_000  # per run: the ids become a condition of a query on every table
FILE_HELP = "text file with one user_id per line, or Parquet or JSON lines with a column user_id: a path or Hadoop URI"
NAME_ON_PAGE = re.compile("<h3>(.*?)</h3>", re.DOTALL)  # of a user in jobs/report/page.html


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--users", required=True, metavar="FILE", help=FILE_HELP)
    parser.add_argument("--published-at", type=time_argument, help="time of the new publication (default: now)")
    return parser


def users_to_forget(lake: Lake, file: str) -> list[str]:
    """The user ids in a file. Raises ValueError if there are none or too many."""
    rows = ids_from_file(lake.spark, file, "user_id", "--users").limit(MAX_USERS + 1).collect()
    if not 0 < len(rows) <= MAX_USERS:
        raise ValueError(f"--users must name 1 to {MAX_USERS:,} users, got {'more' if rows else 'none'}")
    return [row.user_id for row in rows]


def forget_users(lake: Lake, config: Config, user_ids: Sequence[str]) -> int:
    """Remove the users from all tables of the lake, and their checkpoints and pages; returns the number of rows."""
    removed = remove_users(lake, user_ids, AttributionWindow.from_config(config))
    remove_checkpoints(lake)
    remove_pages(lake, user_ids)
    if unknown := sorted(set(user_ids) - set(removed)):
        named = f"{len(unknown):,} of {len(user_ids):,} ids are in no table, in this spelling: {some_of(unknown)}"
        warn(f"{named}")
    return removed.total()


def remove_pages(lake: Lake, user_ids: Sequence[str]) -> None:
    """Remove the reports, and their abandoned drafts, that show one of the users; `report_run` can write them again."""
    forgotten = {escape(user_id) for user_id in user_ids}
    statuses = [
        status for name in (PAGE, DRAFTS) for status in glob_statuses(lake.spark, lake.path("reports", "*", name))
    ]
    for status in statuses:
        page = str(status.getPath().toString())
        if forgotten.intersection(NAME_ON_PAGE.findall(read_text(lambda: lake.spark, page) or "")):
            hadoop_path(lake.spark, page)[0].delete(status.getPath(), False)
            say(f"removed {page}, which showed one of them: report_run can write it again")


def remove_checkpoints(lake: Lake) -> None:
    for pattern in ("checkpoints", "variants/*/checkpoints"):
        for status in glob_statuses(lake.spark, lake.path(pattern)):
            remove_folder(lake.spark, str(status.getPath().toString()))


def opened(args: argparse.Namespace) -> tuple[Lake, Config]:
    """The lake and the configuration.

    Raises NoSuchLake, and ValueError if the file of --users does not exist; on a local disk before Spark starts.
    """
    require_files({"--users": args.users})
    return open_lake(args, "forget_users", opens_once=False)  # the merges do not go through it


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = opened(args)
    user_ids = users_to_forget(lake, args.users)
    published = last_publication(lake)
    can_republish = published is not None and is_newest(lake, published, user_ids)
    removed = forget_users(lake, config, user_ids)
    if published is None:
        return removed
    if can_republish:
        republish(lake, published, user_ids, args.published_at or now())
    else:
        warn(f"{published.ds} was scored again since; readers keep the published lists")
    say("\n".join(expiry_messages(lake, lake.version(tables.CANDIDATES), now())))
    return removed


if __name__ == "__main__":
    run(main)
