"""Exports into Redis and into a folder: users a second, and the memory of the server.

    python -m benchmarks.serving.export --users 1000000

The lists are drawn, and written as scoring writes them. The server is one of this machine, started empty and ended by
this program; `--to` names another one, whose database must be empty.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import redis

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.redis_server import redis_server
from benchmarks.worlds.scored_world import DAY
from jobs.cli.clock import now
from jobs.config.outputs import Export, Format
from jobs.lake import tables
from jobs.lake.file_layout import row_group_size, sorted_files
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from jobs.serving.export.exporting import export, open_target
from jobs.serving.publications import last_publication
from jobs.serving.publishing import add_publication

ITEMS = 200_000
IN_REDIS: tuple[Format, ...] = ("json", "hash")
IN_FOLDER: tuple[Format, ...] = ("parquet", "jsonl")


def publish_drawn_lists(lake: Lake, users: int, k: int, seed: int) -> None:
    """Write and publish lists of `k` items; ids have 12 characters."""
    item = f"concat('item', lpad(pmod(xxhash64(id, n, {seed}), {ITEMS}), 8, '0'))"
    drawn = f"transform(sequence(1, {k}), n -> struct({item} as item_id, "
    drawn += "float(pow(0.97, n) * (0.5 + rand())) as score, int(n) as rank, 'two_tower' as source, "
    drawn += "float(1 - n / 1000 + rand() / 1000) as channel_score))"
    rows = lake.spark.range(users).selectExpr("concat('user', lpad(id, 8, '0')) as user_id", "id")
    lists = sorted_files(rows, "user_id", users).selectExpr(
        "user_id", f"{drawn} as candidates", "'m' as model_version", "current_timestamp() as scored_at"
    )
    with row_group_size(lake.spark, USERS_PER_ROW_GROUP):
        lake.overwrite(tables.CANDIDATES, DAY, lists)
    target = {"ds": DAY, "model_version": "m", "candidates_version": lake.version(tables.CANDIDATES), "users": users}
    others = {"item_embeddings_version": 0, "user_embeddings_version": 0}
    add_publication(lake, last_publication(lake), {**target, **others}, now())


def seconds_of_export(lake: Lake, target: str, format_: Format, batch_users: int) -> float:
    settings = Export(
        target=target, format=format_, prefix="recall", batch_users=batch_users, keep_versions=1, ttl_hours=0
    )
    began = time.perf_counter()
    opened, name = open_target(lake, settings)
    export(lake, opened, name, settings.keep_versions)
    return time.perf_counter() - began


@contextlib.contextmanager
def server(args: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The URI of an empty server."""
    if args.to:
        yield args.to
        return
    with redis_server(folder, "--maxmemory", "0") as uri:
        yield uri


def report(lake: Lake, folder: Path, args: argparse.Namespace) -> None:
    """Print a table with a row per target and format."""
    rows = []
    for format_ in [name for name in IN_REDIS if name in args.formats]:
        with server(args, folder / format_) as uri:
            client = redis.Redis.from_url(uri, decode_responses=True)
            before = client.info("memory")["used_memory"]  # bytes
            first = seconds_of_export(lake, uri, format_, args.batch_users)
            memory = client.info("memory")["used_memory"] - before
            again = seconds_of_export(lake, uri, format_, args.batch_users)
            rows.append((f"Redis, {format_}", first, f"{memory / 1e6:,.0f}", again))
    for format_ in [name for name in IN_FOLDER if name in args.formats]:
        first = seconds_of_export(lake, str(folder / "lists"), format_, args.batch_users)
        written = sum(file.stat().st_size for file in (folder / "lists").glob(f"*-{format_}-*/*/part-*"))
        again = seconds_of_export(lake, str(folder / "lists"), format_, args.batch_users)
        rows.append((f"folder, {format_}", first, f"{written / 1e6:,.0f}", again))
    print("\n| target | export, s | users a second | MB | the same again, s |\n|---|---|---|---|---|")
    for name, first, size, again in rows:
        print(f"| {name} | {first:.1f} | {args.users / first:,.0f} | {size} | {again:.2f} |")


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=100, help="items of a list")
    parser.add_argument("--batch-users", type=int, default=500)
    formats = [*IN_REDIS, *IN_FOLDER]
    parser.add_argument("--formats", nargs="+", choices=formats, default=formats, help="what is exported: all")
    parser.add_argument("--to", help="redis://HOST:PORT/DB of an empty database")
    args = parse(parser, argv, users=300, k=5)
    with tempfile.TemporaryDirectory(prefix="export-") as folder:
        lake = Lake(spark_session("export"), f"{folder}/lake")
        publish_drawn_lists(lake, args.users, args.k, seed=1)
        report(lake, Path(folder), args)


if __name__ == "__main__":
    main()
