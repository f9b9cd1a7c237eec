"""This process and those that it has started, directly or not: their CPU time and their peak memory (Linux).

The JVM of Spark is one of them, and so are Python's workers on its executors (a local session) and the trainer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.memory import peak_mib

TICKS = os.sysconf("SC_CLK_TCK")  # of the CPU times in /proc, a second


@dataclass(frozen=True)
class Used:
    """What a process has used, in ticks; waited_for: by the processes that it started and whose end it has seen."""

    parent: int
    own: int
    waited_for: int


def used(jvm: int) -> dict[int, Used]:
    """By its number, what this process and each one that it has started have used; of `jvm` the own time is 0."""
    found = {}
    for pid, stat in _tree(os.getpid()):
        own, waited_for = int(stat[11]) + int(stat[12]), int(stat[13]) + int(stat[14])
        found[pid] = Used(int(stat[1]), 0 if pid == jvm else own, waited_for)
    return found


def cpu_seconds_between(before: dict[int, Used], after: dict[int, Used]) -> float:
    """CPU seconds of all these processes between two moments, at each of which `used` was called.

    What a process that has ended had used before is in the one that waited for it; of a process for which none waited,
    such as a worker that Spark stops, only its last moments are lost.
    """
    total = sum(one.own + one.waited_for for one in after.values())
    total -= sum(one.own + one.waited_for for one in before.values())
    ended: dict[int, int] = {}  # by the nearest process above that still runs
    for pid, one in before.items():
        if pid not in after:
            above = one.parent
            while above not in after and above in before:
                above = before[above].parent
            ended[above] = ended.get(above, 0) + one.own + one.waited_for
    for pid, ticks in ended.items():
        seen = after[pid].waited_for - before[pid].waited_for if pid in before and pid in after else 0
        total += max(ticks - seen, 0)
    return total / TICKS


def largest_worker_mib(jvm: int) -> float:
    """Peak resident memory in MiB of the largest process below `jvm`, such as a Python worker; 0 without any."""
    return max((_peak(pid) for pid, _ in _tree(jvm) if pid != jvm), default=0.0)


def _peak(pid: int) -> float:
    try:
        return peak_mib(pid)
    except (OSError, TypeError):  # it has ended
        return 0.0


def _tree(root: int) -> Iterator[tuple[int, list[str]]]:
    """The process `root` and all below it, with the fields of /proc/PID/stat after the name."""
    stats: dict[int, list[str]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stats[int(folder.name)] = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
    below: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        below.setdefault(int(stat[1]), []).append(pid)
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            yield pid, stats[pid]
        waiting += below.get(pid, [])
