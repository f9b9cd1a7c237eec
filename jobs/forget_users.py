"""Remove users: their rows from every table, their ids from the vocabularies.

The current publication is published again without them, unless its day was scored again since. Older versions of the
tables contain their rows until the tables are vacuumed: the job prints the publications that name such versions, and
the day after which a vacuum removes them. Reports that show one of the users are removed, and so are the checkpoints of
trainings, which contain pairs of users and items. The index of a removed user is never assigned to another user; the
weights keep a vector that belongs to no id.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Sequence

from delta.tables import DeltaTable
from markupsafe import escape
from pyspark.sql import Column
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.eligibility import ids_from_file
from jobs.lake import tables
from jobs.lake.file_layout import merge_in_order, row_group_size
from jobs.lake.files import glob_statuses, hadoop_path, read_text, require_files
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from jobs.report.files import DRAFTS, PAGE
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from jobs.serving.forgetting import expiry_messages, is_newest, republish
from jobs.serving.publications import last_publication

NAMED_ELSEWHERE = {tables.VOCABULARIES.name, tables.QUARANTINE.name}  # users are not in a column user_id
MAX_USERS = 100_000  # per run: the ids become a condition of a query on every table
NAME_ON_PAGE = re.compile("<h3>(.*?)</h3>", re.DOTALL)  # of a user in jobs/report/page.html


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--users", required=True, help="text file, one user_id per line: a path or any Hadoop URI")
    parser.add_argument("--published-at", type=time_argument, help="time of the new publication (default: now)")
    return parser


def users_to_forget(lake: Lake, file: str) -> list[str]:
    """The user ids in a text file. Raises ValueError if there are none or too many."""
    rows = ids_from_file(lake, file, "user_id", "--users").limit(MAX_USERS + 1).collect()
    if not 0 < len(rows) <= MAX_USERS:
        raise ValueError(f"--users must name 1 to {MAX_USERS:,} users, got {'more' if rows else 'none'}")
    return [row.user_id for row in rows]


def forget_users(lake: Lake, user_ids: Sequence[str]) -> int:
    """Remove the users from all tables of the lake, and their checkpoints and pages; returns the number of rows."""
    removed = 0
    for path in lake.delta_paths():
        if (rows := forget_in_table(lake, path, user_ids)) is not None:
            print(f"{path.rsplit('/', 1)[-1]}: {rows:,} rows", flush=True)
            removed += rows
    remove_checkpoints(lake)
    remove_pages(lake, user_ids)
    return removed


def forget_in_table(lake: Lake, path: str, user_ids: Sequence[str]) -> int | None:
    """Remove the users' rows, or their names, from a table; returns how many, None for a table without users.

    This is a merge instead of a delete by condition: the table's log would store the text of the condition, and with it
    the ids. The remaining rows of a file keep their order, so that look-ups stay fast.
    """
    table, name = DeltaTable.forPath(lake.spark, path), path.rsplit("/", 1)[-1]
    if name not in NAMED_ELSEWHERE and "user_id" not in table.toDF().columns:
        return None
    found = table.toDF().where(user_of_row(name).isin(list(user_ids))).count()
    if not found:
        return 0
    ids = lake.spark.createDataFrame([(user_id,) for user_id in user_ids], "forgotten string")
    merge = table.merge(F.broadcast(ids), user_of_row(name) == F.col("forgotten"))
    if name == tables.VOCABULARIES.name:  # the row stays, so that no other user gets its index
        merge = merge.whenMatchedUpdate(set={"value": F.lit(None)})
    else:
        merge = merge.whenMatchedDelete()
    with merge_in_order(lake.spark), row_group_size(lake.spark, USERS_PER_ROW_GROUP):
        merge.execute()
    return found


def user_of_row(table: str) -> Column:
    """The user_id that a row of a table contains."""
    named = {
        tables.VOCABULARIES.name: F.when(F.col("feature") == "user_id", F.col("value")),
        tables.QUARANTINE.name: F.get_json_object("row", "$.user_id"),
    }
    return named.get(table, F.col("user_id"))


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
            print(f"removed {page}, which showed one of them: report_run can write it again", flush=True)


def remove_checkpoints(lake: Lake) -> None:
    for pattern in ("checkpoints", "variants/*/checkpoints"):
        for status in glob_statuses(lake.spark, lake.path(pattern)):
            folder = local_path(str(status.getPath().toString()))
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


def opened(args: argparse.Namespace) -> Lake:
    """The lake. Raises ValueError if the file of --users does not exist, on a local disk before Spark starts."""
    require_files({"--users": args.users})
    lake, _ = open_lake(args, "forget_users", opens_once=False)  # the merges do not go through it
    return lake


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake = opened(args)
    user_ids = users_to_forget(lake, args.users)
    published = last_publication(lake)
    can_republish = published is not None and is_newest(lake, published, user_ids)
    removed = forget_users(lake, user_ids)
    if published is None:
        return removed
    if can_republish:
        republish(lake, published, user_ids, args.published_at or now())
    else:
        print(f"warning: {published.ds} was scored again since; readers keep the published lists", flush=True)
    print("\n".join(expiry_messages(lake, lake.version(tables.CANDIDATES), now())), flush=True)
    return removed


if __name__ == "__main__":
    run(main)
