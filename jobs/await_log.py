"""Whether the log of a day has landed: exit code 0 if it has, 99 if it has not yet.

Exit code 2 if the day has not ended in UTC, because its log may then be incomplete. Impressions land last, so a day
that has impressions is complete, unless users and items are landing on it, or their landing was killed. Writes nothing.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from collections.abc import Sequence

from jobs.cli.arguments import job_parser
from jobs.cli.clock import now
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.days import day_end
from jobs.lake.lake import Lake
from jobs.raw_log.landing import unfinished_tables
from jobs.raw_log.preconditions import DayStopped
from model.training.processes.lines import say

NOT_YET = 99  # the sensor's retry_exit_code


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def require_closed(ds: dt.date, at: dt.datetime) -> None:
    """Raises DayStopped `day_open` if `ds` has not ended by `at`."""
    if at < day_end(ds):
        end, time = (f"{moment:%Y-%m-%d %H:%M} UTC" for moment in (day_end(ds), at))
        raise DayStopped("day_open", f"{ds} ends at {end}, and it is {time}")


def require_landed(lake: Lake, ds: dt.date) -> None:
    """Says what has not landed yet, if anything, and exits with NOT_YET."""
    if not lake.has_day(tables.IMPRESSIONS, ds):
        say(f"no impression of {ds} has landed in {lake.table_path(tables.IMPRESSIONS)} yet")
    elif unfinished := unfinished_tables(lake, ds):
        say(f"the landing of {' and '.join(unfinished)} on {ds} has not ended: if it was killed, land them again")
    else:
        return
    sys.exit(NOT_YET)


def main(argv: Sequence[str] | None = None) -> None:
    args = arg_parser().parse_args(argv)
    require_closed(args.ds, now())
    lake, _ = open_lake(args, "await_log", must_exist=False)
    require_landed(lake, args.ds)
    say(f"the log of {args.ds} has landed in {lake.uri}")


if __name__ == "__main__":
    run(main)
