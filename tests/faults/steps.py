"""A day job by job, with the lake before and after each job; and jobs that are killed while they run."""

from __future__ import annotations

import importlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from jobs.serving import read_candidates
from tests.conftest import DAYS, SMALL, WORLD
from tests.processes import PATIENCE, first_line, isolated_process, living_processes, wait_until

THIRD, FOURTH = DAYS[2:]
FIFTH = "2026-03-03"
FORGOTTEN_USERS = ("u1", "u7")
# What may differ between two runs of a job: when it ran, how long it took, and what was therefore the fastest.
RUN_SPECIFIC_COLUMNS = {
    "scored_at", "seconds", "published_at", "build_seconds", "users_per_second", "is_chosen", "inserted", "folder",
}  # fmt: skip
CHILD = """
import importlib, sys
from jobs.cli.run import run
from jobs.lake.session import spark_session

job = importlib.import_module("jobs." + sys.argv[1])
spark_session(sys.argv[1], small_days=True)
print("ready", flush=True)
run(lambda _: job.main(sys.argv[2:]))
"""


@dataclass(frozen=True)
class Step:
    """A job and its arguments. LAKE in an argument is replaced by the lake's path."""

    job: str
    arguments: tuple[str, ...]

    def argv(self, lake: str) -> list[str]:
        return ["--lake", lake, *(argument.replace("LAKE", lake) for argument in self.arguments)]

    def run(self, lake: str) -> None:
        importlib.import_module(f"jobs.{self.job}").main(self.argv(lake))

    def command(self, lake: str) -> list[str]:
        return [sys.executable, "-c", CHILD, self.job, *self.argv(lake)]


def of_day(job: str, ds: object, *more: str) -> Step:
    return Step(job, ("--ds", str(ds), "--config", SMALL, *more))


DAY = (
    *(of_day(job, FOURTH) for job in (
        "build_interactions", "rebuild_days", "build_reconciliation", "build_vocabularies", "build_snapshots",
        "build_training_examples", "build_histories", "build_item_pairs", "build_item_counts", "build_window_counts",
        "choose_settings", "build_negative_pools", "build_sampling_probs", "build_item_neighbours", "build_popular_items",
        "train_two_tower", "build_user_embeddings", "build_item_index", "score_users",
    )),
    of_day("evaluate_candidates", THIRD, "--if-any"),
    *(of_day(job, FOURTH) for job in ("gate_candidates", "publish_candidates", "report_run")),
)  # fmt: skip
OTHERS = (
    of_day("simulate_log", FIFTH, *WORLD),
    Step("forget_users", ("--users", "LAKE/forgotten.txt")),
    Step("maintain_tables", ()),
)
# Takes a fraction of the time: the fourth day changes the third, which is then published again.
QUICK = (
    *(of_day(job, FOURTH) for job in ("build_interactions", "rebuild_days", "build_vocabularies")),
    *(of_day(job, THIRD) for job in ("score_users", "gate_candidates", "publish_candidates")),
)


@dataclass
class Stages:
    """Copies of a lake before each step of a day, built when a test needs them. Read only: copy a lake to change it."""

    folder: Path
    first: str
    steps: Sequence[Step]
    seconds: list[float] = field(default_factory=list)

    def before(self, number: int) -> str:
        """The folder of the lake before step `number`, which is the lake after step `number` - 1."""
        if not (self.folder / "0").exists():
            shutil.copytree(self.first, self.folder / "0")
            (self.folder / "0" / "forgotten.txt").write_text("\n".join(FORGOTTEN_USERS))
        for done in range(len(self.seconds), number):
            lake = shutil.copytree(self.folder / str(done), self.folder / str(done + 1))
            began = time.monotonic()
            self.steps[done].run(str(lake))
            self.seconds.append(time.monotonic() - began)
        return str(self.folder / str(number))

    def number(self, job: str) -> int:
        return next(number for number, step in enumerate(self.steps) if step.job == job)


def commits(lake: str) -> dict[str, int]:
    """The newest version of each table, by its path under the lake."""
    root = Path(lake)
    found: dict[str, int] = {}
    for file in root.rglob("_delta_log/*.json"):
        if file.stem.isdigit():
            table = str(file.parent.parent.relative_to(root))
            found[table] = max(found.get(table, -1), int(file.stem))
    return found


def rows(lake: str, table: str) -> list[str]:
    """A table's rows as sorted text, without RUN_SPECIFIC_COLUMNS, read without Spark. Empty if there is no table."""
    if not (Path(lake) / table / "_delta_log").is_dir():
        return []
    frame = pl.read_delta(str(Path(lake) / table))
    columns = sorted(set(frame.columns) - RUN_SPECIFIC_COLUMNS)
    # threads add in any order, so the last digits of a float differ between runs
    return sorted(re.sub(r"(\d\.\d{3})\d+(e-?\d+)?", r"\1", str(row)) for row in frame.select(columns).rows())


def published(lake: str) -> list[str]:
    """The published candidates as sorted text."""
    lists = read_candidates(lake)
    return sorted(re.sub(r"(\.\d{3})\d+", r"\1", str(row)) for row in lists.itertuples(index=False))


def changed(one: str, other: str) -> list[str]:
    """The tables whose versions differ between two copies of a lake."""
    left, right = commits(one), commits(other)
    return sorted(table for table in left | right if left.get(table) != right.get(table))


def written(lake: str, what: str) -> set[str]:
    """The files of a lake under their final names: its commits (`commit`) or all others (`file`)."""
    found = set()
    for folder, _, names in os.walk(lake):
        if folder.endswith("_delta_log") == (what == "commit"):
            found |= {f"{folder}/{name}" for name in names if not name.startswith(("_", ".")) or what == "file"}
    return found


def run_and_kill(step: Step, lake: str, moment: str, seconds: float, seed: int) -> str:
    """Run a step as a process and kill, as the seed decides, its driver, its JVM or all of its processes.

    moment: `file` or `commit`: when the step writes its first one; `time`: at a seeded moment of the `seconds` that it
    takes. Returns what was killed, or `ended` if the step had ended before. Checks that none of its processes is left.
    """
    chance = random.Random(seed)
    victim = chance.choice(("all", "driver", "JVM"))
    with isolated_process(step.command(lake), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as job:
        before = written(lake, moment)
        assert first_line(job) == "ready\n"
        if moment == "time":
            wait_until(lambda: job.poll() is not None, chance.uniform(0, 1.5 * seconds), interval=0.002)
        else:
            wait_until(lambda: job.poll() is not None or written(lake, moment) != before, interval=0.002)
        if job.poll() is not None:
            return "ended"
        members = living_processes(job.pid)
        chosen = {"all": members, "driver": [job.pid], "JVM": [pid for pid in members if is_jvm(pid)]}[victim]
        for pid in chosen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.wait(PATIENCE)
        wait_until(lambda: not living_processes(job.pid), 60)
        left = living_processes(job.pid)
        assert not left, f"{step.job}: {len(left)} processes outlive their {victim}"
    return victim


def is_jvm(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == "java"
    except OSError:
        return False


def versions(lake: str, table: str) -> int:
    return DeltaTable(f"{lake}/{table}").version()
