"""One user's list among all: how long a look-up takes, and what it reads.

    python -m benchmarks.scoring --users 1000000 --als-users 0 --rounds 1 --lake /tmp/scored
    python -m benchmarks.lookup --lake /tmp/scored

The lake is published as it is; each look-up is that of another user.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import urlparse

import numpy as np

from benchmarks.scored_world import DAY
from jobs.cli.clock import now
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.serving import read_candidates
from jobs.serving.lookup import PublishedCandidates, SortedFile
from jobs.serving.publishing import newest_target, publish


def publish_newest(lake: str) -> None:
    """A publication of the newest candidates."""
    spark = spark_session("lookup")
    there = Lake(spark, lake)
    publish(there, {**newest_target(there, DAY), "users": 0}, now(), republish=True)
    spark.stop()


def milliseconds(look_up: Callable[[str], object], users: list[str]) -> np.ndarray:
    taken = []
    for user in users:
        began = time.perf_counter()
        look_up(user)
        taken.append(1_000 * (time.perf_counter() - began))
    return np.array(taken)


def size(file: SortedFile, groups: Iterable[int]) -> int:
    """Bytes of these row groups of a file."""
    return sum(file.opened.metadata.row_group(number).total_byte_size for number in groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lake", required=True, help="a lake that benchmarks.scoring has left")
    parser.add_argument("--lookups", type=int, default=2_000)
    args = parser.parse_args()
    publish_newest(args.lake)
    published = PublishedCandidates.current(args.lake)
    footers = {file.uri: file.opened.metadata for file in published.files}
    users = sum(footer.num_rows for footer in footers.values())
    groups = sum(footer.num_row_groups for footer in footers.values())
    on_disk = sum(Path(urlparse(uri).path).stat().st_size for uri in footers)
    chosen = np.random.default_rng(1).choice(users, args.lookups, replace=False)
    ids = [f"user{number}" for number in chosen]
    print(f"{users:,} users in {len(footers)} files of {on_disk / 1e6:,.0f} MB, {groups:,} row groups")
    reads = [list(published.row_groups([user])) for user in ids]
    files = max(map(len, reads))
    groups_of_one = max(sum(len(numbers) for _, numbers in read) for read in reads)
    read_bytes = max(sum(size(file, numbers) for file, numbers in read) for read in reads)
    share = read_bytes / sum(size(file, range(file.opened.num_row_groups)) for file in published.files)
    print(f"a look-up reads at most {files} files and {groups_of_one} row groups, {share:.2%} of the bytes\n")
    print("| look-up of one user | median, ms | 99th percentile, ms |\n|---|---|---|")
    warm = milliseconds(lambda user: published.lists_for([user]), ids)[100:]
    once = milliseconds(lambda user: read_candidates(args.lake, [user]), ids[:100])
    for name, taken in (("PublishedCandidates, opened once", warm), ("read_candidates, opened each time", once)):
        print(f"| {name} | {np.median(taken):.1f} | {np.percentile(taken, 99):.1f} |")


if __name__ == "__main__":
    main()
