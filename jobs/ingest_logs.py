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
from jobs.raw_log.click_logs import impressions_of_clicks, with_all_columns
from jobs.raw_log.contract import (
    CLICKS_BY_IMPRESSION,
    CLICKS_BY_ITEM,
    ParsedFile,
    parse,
    require_columns,
    required_columns,
)
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
    parser.add_argument("--encoding", help="encoding of CSV and JSON lines, such as windows-1252 (default: UTF-8)")
    return parser


def parsed_files(args: argparse.Namespace, config: Config, spark: SparkSession) -> dict[str, ParsedFile]:
    """Each given file, parsed. Raises ValueError if a file cannot be read or its columns break the contract."""
    schemas = {name: table.schema for name, table in raw_tables(config).items()}
    by_item = args.impressions is None or config.log.attribution == "user_item"
    schemas["clicks"] = CLICKS_BY_ITEM if by_item else CLICKS_BY_IMPRESSION
    parsed = {}
    for name in NAMES:
        if (path := getattr(args, name)) is not None:
            required = required_columns(schemas[name])
            rows = read_file(spark, path, args.format, required=required, encoding=args.encoding)
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


def land_parsed(lake: Lake, config: Config, ds: dt.date, parsed: Mapping[str, ParsedFile]) -> int:
    """Write refused rows to the quarantine, then land accepted rows; prints refusals, returns the rows that landed."""
    lake.overwrite(tables.QUARANTINE, ds, union([file.refused for file in parsed.values()]))
    landed = land(lake, config, [ds], raw_frames(parsed))
    for name, file in sorted(parsed.items()):
        for reason, count in file.refusals().items():
            print(f"refused: {count:,} rows of {name}: {reason}")
    return sum(landed.values())


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    if args.impressions is None and args.clicks is None:
        parser.error("give --impressions, --clicks or both")
    lake, config = open_lake(args, "ingest_logs")
    parsed = parsed_files(args, config, lake.spark)
    with ExitStack() as stack:
        with file_errors("the files cannot be read"):
            parsed = {name: stack.enter_context(file.read()) for name, file in parsed.items()}
        for file in parsed.values():
            file.require_accepted_rows()
        return land_parsed(lake, config, args.ds, parsed)


if __name__ == "__main__":
    run(main)
