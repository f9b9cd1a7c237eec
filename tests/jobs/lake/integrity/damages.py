"""Ways to damage a log of twelve commits with a checkpoint at 10, and the fault and the last version of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.lake.integrity.delta_log import HINT, commit_name

FIRST = dt.date(2024, 2, 28)  # over a leap day
LAST = 11  # version n writes n + 1 rows of day n % 3
CHECKPOINT = f"{10:020d}.checkpoint.parquet"
Damage = Callable[[Path], None]


def day(version: int) -> dt.date:
    return FIRST + dt.timedelta(days=version % 3)


def row_count(version: int) -> int:
    """The number of rows of the table at a version."""
    return sum(number + 1 for number in range(max(version - 2, 0), version + 1))


def cut(name: str, keep: Callable[[bytes], bytes], checksum: bool) -> Damage:
    """Change a file. checksum: its Hadoop checksum file, which only a local disk has, stays as it was."""

    def damage(log: Path) -> None:
        (log / name).write_bytes(keep((log / name).read_bytes()))
        if not checksum:
            (log / f".{name}.crc").unlink()

    return damage


def lose(*names: str, traces: bool = True) -> Damage:
    """Delete files. traces: their Hadoop checksum files stay."""

    def damage(log: Path) -> None:
        for name in names:
            (log / name).unlink()
            if not traces:
                (log / f".{name}.crc").unlink()

    return damage


def all_of(*damages: Damage) -> Damage:
    def damage(log: Path) -> None:
        for one in damages:
            one(log)

    return damage


def half(text: bytes) -> bytes:
    return text[: len(text) // 2]


def first_line(text: bytes) -> bytes:
    return text.splitlines(keepends=True)[0]


def without_last_line(text: bytes) -> bytes:
    return b"".join(text.splitlines(keepends=True)[:-1])


def without_add(text: bytes) -> bytes:
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b'{"add"'))


def zeros_inside(text: bytes) -> bytes:
    return text[:4] + bytes(len(text) // 2) + text[4 + len(text) // 2 :]


def empty(text: bytes) -> bytes:
    return b""


GARBLED_CHECKPOINT = cut(CHECKPOINT, zeros_inside, False)
HALF_A_CHECKPOINT = cut(CHECKPOINT, half, False)
HALF_A_COMMIT = cut(commit_name(11), half, False)
HALF_OF_COMMIT_5 = cut(commit_name(5), half, False)
NO_CHECKPOINT = lose(HINT, CHECKPOINT, traces=False)
NO_OLD_COMMITS = lose(
    *(name for number in range(6) for name in (commit_name(number), f"{number:020d}.crc")), traces=False
)
ONLY_CHECKSUMS = lose(commit_name(11), f"{11:020d}.crc")
# name: damage, fault, last whole version
COMMITS: dict[str, tuple[Damage, str, int]] = {
    "half a commit": (HALF_A_COMMIT, "commit 11 is cut short", 10),
    "half, on a local disk": (cut(commit_name(11), half, True), "commit 11 does not match its checksum", 10),
    "an empty commit": (cut(commit_name(11), empty, True), "commit 11 is empty", 10),
    "an empty commit, no checksum": (cut(commit_name(11), empty, False), "commit 11 is empty", 10),
    "one line of three": (cut(commit_name(11), first_line, False), "it lists 0 of the 1 files that it removed", 10),
    "two lines of three": (
        cut(commit_name(11), without_last_line, False),
        "it lists 0 of the 1 files that it removed",
        10,
    ),
    "no file added": (cut(commit_name(11), without_add, False), "it lists 0 of the 12 rows that it wrote", 10),
    "the newest is missing": (lose(commit_name(11)), "commit 11 is missing", 10),
    "only its checksums are left": (ONLY_CHECKSUMS, "commit 11 is missing", 10),
    "a gap": (all_of(NO_CHECKPOINT, lose(commit_name(5))), "commit 5 is missing", 4),
    "an old commit": (all_of(NO_CHECKPOINT, HALF_OF_COMMIT_5), "commit 5 is cut short", 4),
    "both": (all_of(HALF_A_CHECKPOINT, HALF_OF_COMMIT_5), "checkpoint 10 is cut short", 4),
}
# name: damage, fault
CHECKPOINTS: dict[str, tuple[Damage, str]] = {
    "half a checkpoint": (HALF_A_CHECKPOINT, "checkpoint 10 is cut short"),
    "half a checkpoint, on a local disk": (cut(CHECKPOINT, half, True), "checkpoint 10"),
    "an empty checkpoint": (cut(CHECKPOINT, empty, False), "checkpoint 10 is empty"),
    "no checkpoint": (lose(CHECKPOINT), "names checkpoint 10, which does not exist"),
    "half a hint": (cut(HINT, half, False), "_last_checkpoint is not readable"),
    "half a hint, on a local disk": (cut(HINT, half, True), "_last_checkpoint is not readable"),
    "a hint to nowhere": (cut(HINT, lambda text: b'{"version":99}', False), "names checkpoint 99"),
}


def cases(damages: dict[str, tuple], quick: set[str]) -> list:
    """Parameters of a test: one for each damage; all but the `quick` ones are slow."""
    assert quick <= damages.keys()
    return [
        pytest.param(*values, id=name, marks=() if name in quick else pytest.mark.slow)
        for name, values in damages.items()
    ]
