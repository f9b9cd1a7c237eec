"""Users who are to be forgotten: their rows leave every table, and their ids the vocabularies.

What is published is published again without them, where the day's lists are still those that readers have. Older
versions of the tables hold their rows until they are vacuumed: the job says which publications those are, and when that
is. Reports that show one of them are removed. A user's index stays taken by nobody, and the weights keep a vector that
no id leads to. Checkpoints of trainings, which remember pairs of users and items, are removed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import re
import shutil
from collections.abc import Sequence

from delta.tables import DeltaTable
from markupsafe import escape
from pyspark.sql import Column, Row
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser, time_argument
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.eligibility import ids_of_file
from jobs.lake import tables
from jobs.lake.file_layout import in_their_order, row_groups_of
from jobs.lake.files import hadoop, local_path, matching, read_text
from jobs.lake.lake import Lake
from jobs.maintain_tables import DEFAULT_KEEP_DAYS, tables_of
from jobs.report.files import PAGE
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from jobs.serving.publications import last_publication, newest_versions
from jobs.serving.publishing import add_publication

SLACK_DAYS = 3  # the new publication is followed for up to two days, and maintenance rounds up
NAMED_OTHERWISE = {tables.VOCABULARIES.name, tables.QUARANTINE.name}
MOST = 100_000  # users of one run: their ids are a condition of every table
NAME_ON_PAGE = re.compile("<h3>(.*?)</h3>")  # of a user in jobs/report/page.html


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_day=False)
    parser.add_argument("--users", required=True, help="a text file, a user_id a line: a path or any Hadoop URI")
    parser.add_argument("--published-at", type=time_argument, help="time of the new publication (default: now)")
    return parser


def whose(table: str) -> Column:
    """The user that a row of a table names."""
    named = {
        tables.VOCABULARIES.name: F.when(F.col("feature") == "user_id", F.col("value")),
        tables.QUARANTINE.name: F.get_json_object("row", "$.user_id"),
    }
    return named.get(table, F.col("user_id"))


def forget(lake: Lake, path: str, user_ids: Sequence[str]) -> int | None:
    """Take the users' rows, or their names, out of a table; how many they were, None for one that names no user.

    By a merge, not by a condition: the table's log keeps a condition's text, and with it the ids. What stays of a file
    stays in its order, so that look-ups are as quick as before.
    """
    held, name = DeltaTable.forPath(lake.spark, path), path.rsplit("/", 1)[-1]
    if name not in NAMED_OTHERWISE and "user_id" not in held.toDF().columns:
        return None
    theirs = whose(name).isin(list(user_ids))
    found = held.toDF().where(theirs).count()
    if not found:
        return 0
    ids = lake.spark.createDataFrame([(user_id,) for user_id in user_ids], "forgotten string")
    merge = held.merge(F.broadcast(ids), whose(name) == F.col("forgotten"))
    if name == tables.VOCABULARIES.name:  # a row that went would leave its index to the next user
        merge = merge.whenMatchedUpdate(set={"value": F.lit(None)})
    else:
        merge = merge.whenMatchedDelete()
    with in_their_order(lake.spark), row_groups_of(lake.spark, USERS_PER_ROW_GROUP):
        merge.execute()
    return found


def lists_of(lake: Lake, row: Row, user_ids: Sequence[str], version: int | None = None) -> tuple[object, ...]:
    """What tells a publication's lists apart, but for those users': how many, of which model, scored when."""
    rows = lake.read(tables.CANDIDATES, version=version).where(F.col("ds") == row.ds)
    rows = rows.where(~F.col("user_id").isin(list(user_ids)))
    found = rows.agg(F.count(F.lit(1)), F.max("model_version"), F.max("scored_at")).first()
    return tuple(found or ())


def publish_without(lake: Lake, last: Row, user_ids: Sequence[str], still_theirs: bool, at: dt.datetime) -> None:
    """Let readers follow the newest versions, from which the users have gone."""
    if not still_theirs:
        print(f"warning: {last.ds} was scored again since, and is not published; readers keep their lists", flush=True)
        return
    wanted = {**last.asDict(), **newest_versions(lake), "users": lists_of(lake, last, user_ids)[0]}
    if wanted != last.asDict():
        add_publication(lake, last, wanted, at)


def ages_out(lake: Lake, version: int, at: dt.datetime) -> list[str]:
    """A line for each publication whose candidates are older than `version`, with the day after which it may go.

    Days count from `at`, when the files of those versions were left behind and readers stopped following them, and hold
    where a day is published every second day at least: maintenance keeps what the oldest lists still followed need.
    """
    older = lake.read(tables.PUBLICATIONS).where(F.col("candidates_version") < version).orderBy("publication")
    day = at + dt.timedelta(days=DEFAULT_KEEP_DAYS + SLACK_DAYS)
    return [
        f"publication {row.publication} of {row.ds} holds them until maintain_tables runs after {day:%Y-%m-%d}"
        for row in older.select("publication", "ds").toLocalIterator()
    ]


def remove_pages(lake: Lake, user_ids: Sequence[str]) -> None:
    """Remove the reports of days that show one of the users; report_run writes a day's page anew."""
    forgotten = {escape(user_id) for user_id in user_ids}
    for status in matching(lake.spark, lake.path("reports", "*", PAGE)):
        page = str(status.getPath().toString())
        if forgotten.intersection(NAME_ON_PAGE.findall(read_text(lake.spark, page) or "")):
            hadoop(lake.spark, page)[0].delete(status.getPath(), False)
            print(f"{page} showed one of them, and is removed: report_run writes it anew", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, _ = open_lake(args, "forget_users")
    user_ids = [row.user_id for row in ids_of_file(lake, args.users, "user_id", "--users").limit(MOST + 1).collect()]
    if not 0 < len(user_ids) <= MOST:
        raise ValueError(f"--users wants 1 to {MOST:,} user ids, got {'more' if user_ids else 'none'}")
    last = last_publication(lake)
    lists = None if last is None else lists_of(lake, last, user_ids, last.candidates_version)
    still_theirs = last is not None and lists_of(lake, last, user_ids) == lists  # also behind a run that was cut off
    deleted = 0
    for path in tables_of(lake):
        if (rows := forget(lake, path, user_ids)) is not None:
            print(f"{path.rsplit('/', 1)[-1]}: {rows:,} rows", flush=True)
            deleted += rows
    _remove_checkpoints(lake)
    remove_pages(lake, user_ids)
    if last is not None:
        publish_without(lake, last, user_ids, still_theirs, args.published_at or now())
        print("\n".join(ages_out(lake, lake.version(tables.CANDIDATES), now())), flush=True)
    return deleted


def _remove_checkpoints(lake: Lake) -> None:
    for pattern in ("checkpoints", "variants/*/checkpoints"):
        for status in matching(lake.spark, lake.path(pattern)):
            folder = local_path(lake.spark, str(status.getPath().toString()))
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    run(main)
