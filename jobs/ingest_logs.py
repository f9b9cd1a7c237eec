"""Raw tables from your own log: Parquet, CSV, JSON lines, Delta tables, or tables that Spark reads by name.

Files have the columns of docs/data-contract.md, or of their own that [mapping] or --map turns into them
(docs/your-log.md). --events is one file of impressions and clicks. --dry-run shows what a run would do, and writes
nothing.

The rows of the files land on the day --ds and replace what landed on it before; with --last each event lands on its own
day. Tables for which no file is given stay as they are, so users or items can land alone (with --last, on --ds). A row
that breaks the contract is written to the table quarantine with its reason. With --clicks and no --impressions each
click is its own impression; it must then name its user and item, and nothing counts as unclicked. This is refused on
days that have other impressions. Files are read to their end, and compared with the stored tables, before anything is
written.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.cli.arguments import day_argument, job_parser
from jobs.cli.day_range import days_of_range
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.config.mapping import with_assignments
from jobs.lake import tables
from jobs.lake.files import require_files
from jobs.lake.lake import Lake
from jobs.lake.queries import empty_frame
from jobs.raw_log.encoding import union
from jobs.raw_log.files import SOURCE_FORMATS, TABLE, file_errors
from jobs.raw_log.landing import land, require_stored_columns
from jobs.raw_log.landing.click_logs import (
    impressions_of_clicks,
    require_impressions_of_one_kind,
    with_all_columns,
)
from jobs.raw_log.landing.notes import (
    days_to_run_again,
    days_without_clicks,
    features_without_values,
    unused_columns,
    words_for_missing,
)
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.mapping import LogFile, described, expression_errors, open_log
from model.training.processes.lines import say

NAMES = ("events", "impressions", "clicks", "users", "items")


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, needs_lake=False)
    for name in NAMES:
        what = "impressions and clicks" if name == "events" else name
        parser.add_argument(
            f"--{name}", metavar="PATH", help=f"file or folder of {what}, or {TABLE}NAME for a table of Spark"
        )
    parser.add_argument(
        "--format",
        choices=SOURCE_FORMATS,
        help="format of all files (default: by their ending .parquet .csv .jsonl .json)",
    )
    parser.add_argument("--encoding", help="encoding of CSV and JSON lines, such as windows-1252 (default: UTF-8)")
    parser.add_argument(
        "--separator",
        type=lambda text: "\t" if text == r"\t" else text,
        default=",",
        metavar="CHARACTER",
        help=r"between the cells of CSV files: ';', '\t' for a tab (default: a comma)",
    )
    parser.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="TABLE.COLUMN=EXPRESSION",
        help="a key of [mapping], as in impressions.user_id=uid; can be given several times",
    )
    parser.add_argument("--last", type=day_argument, metavar="DAY", help="land each event on its day, --ds to this one")
    parser.add_argument("--backlog", action="store_true", help="with --last: events before --ds land on --ds")
    parser.add_argument("--dry-run", action="store_true", help="show columns, rows and refusals; write nothing")
    return parser


def checked_days(parser: argparse.ArgumentParser, args: argparse.Namespace) -> list[dt.date]:
    """The days to land; exits with an error if the arguments contradict each other or do not name enough."""
    if args.lake is None and not args.dry_run:
        parser.error("the following arguments are required: --lake (or --dry-run)")
    args.lake = args.lake or "."  # a dry run opens no table
    if all(getattr(args, name) is None for name in NAMES):
        parser.error(f"give at least one of {', '.join(f'--{name}' for name in NAMES)}")
    if args.events is not None and (args.impressions is not None or args.clicks is not None):
        parser.error("--events must not be combined with --impressions or --clicks")
    for table in {text.partition("=")[0].partition(".")[0] for text in args.map} & {*NAMES}:
        if getattr(args, table) is None:
            parser.error(f"--map {table}... must be given with --{table}")
    if args.backlog and args.last is None:
        parser.error("--backlog must be given with --last")
    return days_of_range(parser, args)


def opened(args: argparse.Namespace) -> tuple[Lake, Config]:
    """The lake, and the configuration with the mapping of the command line.

    Raises ValueError that names all files that do not exist: those on a local disk before Spark starts.
    """
    given = {f"--{name}": path for name in NAMES if (path := getattr(args, name)) and not path.startswith(TABLE)}
    files = {} if args.format == "table" else given
    require_files(files)
    lake, config = open_lake(args, "ingest_logs", must_exist=False)
    require_files(files, lake.spark)
    return lake, config.model_copy(update={"mapping": with_assignments(config.mapping, args.map)})


def require_landable(lake: Lake, config: Config, days: Sequence[dt.date], log: Collection[str]) -> None:
    """Raises ValueError if what the lake has does not allow the tables of a log to land. log: their names."""
    names = {*log, "impressions"} if "clicks" in log else {*log}
    require_stored_columns(lake, config, names)
    require_impressions_of_one_kind(lake, days, log)


def opened_log(lake: Lake, config: Config, days: Sequence[dt.date], args: argparse.Namespace) -> dict[str, LogFile]:
    """Each given file, by raw table; prints the columns that are not used.

    Raises ValueError if a file cannot be read, its columns break the contract, or it must not land on what has landed.
    """
    paths = {name: path for name in NAMES if (path := getattr(args, name)) is not None}
    options = {"file_format": args.format, "encoding": args.encoding, "separator": args.separator}
    log = open_log(lake.spark, paths, config, days, **options, backlog=args.backlog, any_feature=args.dry_run)
    if not args.dry_run:  # which writes nothing, and proposes features instead of naming unused columns
        require_landable(lake, config, days, log)
        for table, file in log.items():
            print_lines(unused_columns(table, file.source.name, file.unused))
    return log


def raw_frames(parsed: Mapping[str, ParsedFile], days: Sequence[dt.date]) -> dict[str, DataFrame]:
    """The accepted rows, by raw table; those of several large days so that few tasks write files of the same day."""
    frames = {name: file.accepted for name, file in parsed.items()}
    if "clicks" in parsed and "impressions" not in parsed:
        frames |= impressions_of_clicks(frames["clicks"])
    elif "clicks" in parsed:
        frames["clicks"] = with_all_columns(frames["clicks"])
    if len(days) == 1:
        return frames
    return {name: rows.hint("rebalance", F.col("ds")) for name, rows in frames.items()}


def land_parsed(lake: Lake, config: Config, days: Sequence[dt.date], parsed: Mapping[str, ParsedFile]) -> int:
    """Write refused rows to the quarantine, then land accepted rows; prints refusals, returns the rows that landed.

    Raises ValueError for a file without a valid row; events may be without clicks.
    """
    without_clicks = days_without_clicks(parsed)
    for name, file in parsed.items():
        if name != "clicks" or not without_clicks:
            file.require_accepted_rows()
    frames = raw_frames(parsed, days)
    empty, again = features_without_values(lake, config, frames), days_to_run_again(lake, days[0], frames)
    notes = [*without_clicks, *words_for_missing(parsed), *empty, *again]
    refused = [file.refused for file in parsed.values() if file.refusals()]
    all_refused = union(refused or [empty_frame(lake.spark, tables.QUARANTINE.schema)])
    landed = land(lake, config, days, frames, refused=all_refused, on_first=("users", "items"))
    for name, file in sorted(parsed.items()):
        for reason, count in file.refusals().items():
            say(f"refused: {count:,} rows of {name}: {reason}", table=name, reason=reason, refused=count)
    print_lines(notes)
    counts = ", ".join(f"{rows:,} {name}" for name, rows in landed.items())
    say(f"landed on {days[0]}{f' to {days[-1]}' if len(days) > 1 else ''}: {counts}", landed=landed)
    return sum(landed.values())


def print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        say(line)


def main(argv: Sequence[str] | None = None) -> int | None:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days = checked_days(parser, args)
    lake, config = opened(args)
    log = opened_log(lake, config, days, args)
    with ExitStack() as stack:
        with file_errors("the files cannot be read"), expression_errors():
            parsed = {name: stack.enter_context(file.parsed.read()) for name, file in log.items()}
        if not args.dry_run:
            return land_parsed(lake, config, days, parsed)
        say(described(log, parsed, config))
        return None  # nothing has landed, so no rows are counted


if __name__ == "__main__":
    run(main)
