"""Bring a log of one's own into the raw tables: Parquet, CSV or JSON-lines files, in the form of docs/data-contract.md.

The files' rows land on the day --ds and take the place of what had landed on it. A row that breaks the contract is
counted, by reason, in the quarantine table. Without --impressions a click is its own impression; it then names its user
and item, and nothing is called unclicked. Everything is checked before anything is written.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence
from contextlib import ExitStack

from pyspark.sql import SparkSession

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized
from jobs.raw_log.encoding import union
from jobs.raw_log.files import (
    CLICKS_BY_IMPRESSION,
    CLICKS_BY_ITEM,
    Parsed,
    impressions_of_clicks,
    parse,
    read_file,
    readable,
    whole_clicks,
)
from jobs.raw_log.landing import land, raw_tables

NAMES = ("impressions", "clicks", "users", "items")


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    for name in NAMES:
        parser.add_argument(f"--{name}", metavar="PATH", help=f"file or folder of {name}")
    parser.add_argument(
        "--format",
        choices=("parquet", "csv", "jsonl"),
        help="of all files (default: by their ending .parquet .csv .jsonl .json)",
    )
    return parser


def parsed_files(args: argparse.Namespace, config: Config, spark: SparkSession) -> dict[str, Parsed]:
    """Each given file with its rows told apart: those that keep the contract and those that are refused."""
    wanted = {name: table.schema for name, table in raw_tables(config).items()}
    by_item = args.impressions is None or config.log.attribution == "user_item"
    wanted["clicks"] = CLICKS_BY_ITEM if by_item else CLICKS_BY_IMPRESSION
    files = {name: getattr(args, name) for name in NAMES if getattr(args, name) is not None}
    additional = config.log.additional_columns
    return {
        name: parse(read_file(spark, path, args.format, wanted[name], additional), wanted[name], name, path, args.ds)
        for name, path in files.items()
    }


def refuse_empty(parsed: dict[str, Parsed]) -> None:
    """Raises ValueError for a file without a row that keeps the contract; reads every file to its end."""
    for name, file in parsed.items():
        file.rows.count()
        if file.accepted.isEmpty():
            reasons = {
                row.reason: row["count"] for row in file.refused.groupBy("reason").count().collect()
            }  # a row a reason
            raise ValueError(
                f"{name} {file.source}: " + (f"every row is refused: {reasons}" if reasons else "the file has no row")
            )


def land_parsed(lake: Lake, config: Config, ds: dt.date, parsed: dict[str, Parsed]) -> int:
    """Write what was refused, then what was accepted; prints the refusals and returns the rows that landed."""
    frames = {name: file.accepted for name, file in parsed.items()}
    if "impressions" not in parsed:
        frames |= impressions_of_clicks(frames["clicks"])
    elif "clicks" in parsed:
        frames["clicks"] = whole_clicks(frames["clicks"])
    refused = union([file.refused for file in parsed.values()])
    reasons = refused.groupBy("table", "reason").count().collect()  # a row a table and reason
    lake.overwrite(tables.QUARANTINE, ds, refused)
    landed = land(lake, config, [ds], frames)
    for row in sorted(reasons):
        print(f"refused: {row['count']:,} rows of {row['table']}: {row.reason}")
    return sum(landed.values())


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.impressions is None and args.clicks is None:
        parser.error("wants --impressions or --clicks or both")
    lake, config = open_lake(args, "ingest_logs")
    parsed = parsed_files(args, config, lake.spark)
    with ExitStack() as kept_rows, readable("the files cannot be read"):
        for file in parsed.values():
            kept_rows.enter_context(materialized(file.rows))
        refuse_empty(parsed)
        return land_parsed(lake, config, args.ds, parsed)


if __name__ == "__main__":
    run(main)
