"""Look-up of one user's published list: how long it takes, and what it reads.

    python -m benchmarks.serving.scoring --users 1000000 --als-users 0 --rounds 1 --lake /tmp/scored
    python -m benchmarks.serving.lookup --lake /tmp/scored

The newest lists of the lake are published first. Each look-up is of another user.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds import scored_world
from benchmarks.worlds.scored_world import DAY
from jobs import score_users
from jobs.cli.clock import now
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.serving import read_candidates
from jobs.serving.lookup import PublishedCandidates, SortedFile
from jobs.serving.publishing import newest_target, publish


def publish_newest(lake: Lake) -> None:
    publish(lake, {**newest_target(lake, DAY), "users": 0}, now(), republish=True)


def write_and_score(lake: Lake, folder: Path) -> None:
    """A tiny lake with the lists of 300 users."""
    config_file = folder / "lookup.toml"
    config_file.write_text('[index]\nbackend = "exact"\nbuild_backends = ["exact"]\n', "utf-8")
    scored_world.write(lake, load_config(config_file), users=300, items=200, dim=8, excluded=5)
    score_users.main(["--lake", lake.uri, "--ds", str(DAY), "--config", str(config_file)])


def milliseconds(look_up: Callable[[str], object], users: list[str]) -> np.ndarray:
    """The time of each look-up."""
    taken = []
    for user in users:
        began = time.perf_counter()
        look_up(user)
        taken.append(1_000 * (time.perf_counter() - began))
    return np.array(taken)


def size(file: SortedFile, groups: Iterable[int]) -> int:
    """Bytes of these row groups of a file."""
    return sum(file.opened.metadata.row_group(number).total_byte_size for number in groups)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lake", help="a lake that benchmarks.serving.scoring wrote (required without --smoke)")
    parser.add_argument("--lookups", type=int, default=2_000)
    args = parse(parser, argv, lookups=200)
    if args.smoke:
        with tempfile.TemporaryDirectory(prefix="lookup-") as folder:
            lake = Lake(spark_session("lookup"), f"{folder}/lake")
            write_and_score(lake, Path(folder))
            publish_newest(lake)
            report(lake.uri, args.lookups)
    elif args.lake is None:
        parser.error("--lake is required without --smoke")
    else:
        spark = spark_session("lookup")
        publish_newest(Lake(spark, args.lake))
        spark.stop()  # look-ups run without Spark
        report(args.lake, args.lookups)


def report(lake: str, lookups: int, prefix: str = "user") -> None:
    """Print what look-ups read, and how long they take. prefix: of the users' ids, before a number from 0 on."""
    published = PublishedCandidates.current(lake)
    footers = {file.uri: file.opened.metadata for file in published.files}
    users = sum(footer.num_rows for footer in footers.values())
    groups = sum(footer.num_row_groups for footer in footers.values())
    on_disk = sum(Path(urlparse(uri).path).stat().st_size for uri in footers)
    chosen = np.random.default_rng(1).choice(users, lookups, replace=False)
    ids = [f"{prefix}{number}" for number in chosen]
    print(f"{users:,} users in {len(footers)} files of {on_disk / 1e6:,.0f} MB, {groups:,} row groups")
    reads = [list(published.row_groups([user])) for user in ids]
    files = max(map(len, reads))
    groups_of_one = max(sum(len(numbers) for _, numbers in read) for read in reads)
    read_bytes = max(sum(size(file, numbers) for file, numbers in read) for read in reads)
    share = read_bytes / sum(size(file, range(file.opened.num_row_groups)) for file in published.files)
    print(f"a look-up reads at most {files} files and {groups_of_one} row groups, {share:.2%} of the bytes\n")
    print("| look-up of one user | median, ms | 99th percentile, ms |\n|---|---|---|")
    warm = milliseconds(lambda user: published.lists_for([user]), ids)[100:]
    once = milliseconds(lambda user: read_candidates(lake, [user]), ids[:100])
    for name, taken in (("PublishedCandidates, opened once", warm), ("read_candidates, opened each time", once)):
        print(f"| {name} | {np.median(taken):.1f} | {np.percentile(taken, 99):.1f} |")


if __name__ == "__main__":
    main()
