"""Raw tables from your own log: Parquet, CSV or JSON lines files in the form of docs/data-contract.md.

The rows of the files land on the day --ds and replace what landed on it before. A row that breaks the contract is
written to the table quarantine with its reason. Without --impressions each click is its own impression; it must then
name its user and item, and nothing counts as unclicked. Everything is checked before anything is written.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from pyspark.sql import DataFrame, SparkSession

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import materialized
from jobs.raw_log.click_logs import impressions_of_clicks, with_all_columns
from jobs.raw_log.contract import CLICKS_BY_IMPRESSION, CLICKS_BY_ITEM, ParsedFile, parse, require_columns
from jobs.raw_log.encoding import union
from jobs.raw_log.files import FORMATS, file_errors, read_file
from jobs.raw_log.landing import land, raw_tables

NAMES = ("impressions", "clicks", "users", "items")


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    for name in NAMES:
        parser.add_argument(f"--{name}", metavar="PATH", help=f"file or folder of {name}")
    parser.add_argument(
        "--format", choices=FORMATS, help="format of all files (default: by their ending .parquet .csv .jsonl .json)"
    )
    return parser


def parsed_files(args: argparse.Namespace, config: Config, spark: SparkSession) -> dict[str, ParsedFile]:
    """Each given file, parsed. Raises ValueError if a file cannot be read or its columns break the contract."""
    schemas = {name: table.schema for name, table in raw_tables(config).items()}
    by_item = args.impressions is None or config.log.attribution == "user_item"
    schemas["clicks"] = CLICKS_BY_ITEM if by_item else CLICKS_BY_IMPRESSION
    parsed = {}
    for name in NAMES:
        if (path := getattr(args, name)) is not None:
            rows = read_file(spark, path, args.format)
            require_columns(rows, schemas[name], path, config.log.additional_columns)
            parsed[name] = parse(rows, schemas[name], name, path, args.ds)
    return parsed


def raw_frames(parsed: Mapping[str, ParsedFile]) -> dict[str, DataFrame]:
    """The accepted rows, by raw table."""
    frames = {name: file.accepted for name, file in parsed.items()}
    if "impressions" not in parsed:
        frames |= impressions_of_clicks(frames["clicks"])
    elif "clicks" in parsed:
        frames["clicks"] = with_all_columns(frames["clicks"])
    return frames


def require_accepted_rows(parsed: Mapping[str, ParsedFile]) -> None:
    """Raises ValueError for a file without a valid row; reads every file to its end."""
    for name, file in parsed.items():
        file.rows.count()
        if file.accepted.isEmpty():
            counts = file.refused.groupBy("reason").count().collect()  # one row per reason
            reasons = {row.reason: row["count"] for row in counts}
            fault = f"every row is refused: {reasons}" if reasons else "the file has no row"
            raise ValueError(f"{name} {file.source}: {fault}")


def land_parsed(lake: Lake, config: Config, ds: dt.date, parsed: Mapping[str, ParsedFile]) -> int:
    """Write refused rows to the quarantine, then land accepted rows; prints refusals, returns the rows that landed."""
    refused = union([file.refused for file in parsed.values()])
    reasons = refused.groupBy("table", "reason").count().collect()  # one row per table and reason
    lake.overwrite(tables.QUARANTINE, ds, refused)
    landed = land(lake, config, [ds], raw_frames(parsed))
    for row in sorted(reasons):
        print(f"refused: {row['count']:,} rows of {row['table']}: {row.reason}")
    return sum(landed.values())


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.impressions is None and args.clicks is None:
        parser.error("give --impressions, --clicks or both")
    lake, config = open_lake(args, "ingest_logs")
    parsed = parsed_files(args, config, lake.spark)
    with ExitStack() as stack, file_errors("the files cannot be read"):
        for file in parsed.values():
            stack.enter_context(materialized(file.rows))
        require_accepted_rows(parsed)
        return land_parsed(lake, config, args.ds, parsed)


if __name__ == "__main__":
    run(main)
