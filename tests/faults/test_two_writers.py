"""Two processes write the same day or index at the same time: one succeeds, the other fails with a one-line error."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs import build_vocabularies
from jobs.cli.run import TRY_AGAIN
from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL
from tests.faults.steps import Stages, Step, changed, commits, of_day, rows, written
from tests.processes import PATIENCE, first_line, isolated_process, living_processes, wait_until

THIRD, FOURTH = DAYS[2:]


# A rollback that stops itself between its data file and its commit.
ROLLBACK = """
import os, signal, sys
from jobs import publish_candidates
from jobs.cli.run import run
from jobs.lake.writing import one_row

def stopped(*arguments):
    write(*arguments)
    print("written", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

write, one_row._write_file = one_row._write_file, stopped
run(lambda _: publish_candidates.main(sys.argv[1:]))
"""


@contextmanager
def stopped_before_its_commit(arguments: list[str], then: signal.Signals) -> Iterator[subprocess.Popen]:
    """Run a rollback as a process that stops itself; it gets the signal `then` when the block ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with isolated_process([sys.executable, "-c", ROLLBACK, *arguments], **pipes) as job:
        assert first_line(job) == "written\n"
        assert wait_until(lambda: is_stopped(job.pid))
        yield job
        job.send_signal(then)
        job.said, job.errors = job.communicate(timeout=PATIENCE)  # type: ignore[attr-defined]


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@contextmanager
def stopped_at_its_first_file(step: Step, lake: str) -> Iterator[subprocess.Popen]:
    """Run the step as a process, stopped at its first file; it continues when the block ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with isolated_process(step.command(lake), **pipes) as job:
        before = written(lake, "file")
        assert first_line(job) == "ready\n"
        wait_until(lambda: written(lake, "file") != before or job.poll() is not None, interval=0.001)
        for signalled in (signal.SIGSTOP, signal.SIGCONT):
            for pid in living_processes(job.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signalled)
            if signalled == signal.SIGSTOP:
                yield job
        job.said, job.errors = job.communicate(timeout=PATIENCE)  # type: ignore[attr-defined]


def assert_conflict_in_one_line(job: subprocess.Popen, message: str, code: int = TRY_AGAIN) -> None:
    errors = job.errors  # type: ignore[attr-defined]
    assert job.returncode == code, errors
    assert message in errors
    assert "Traceback" not in errors
    assert errors.count("error: ") == 1


def test_of_two_writers_of_a_day_one_fails(simulated_copy: Lake) -> None:
    lake, step = simulated_copy.uri, of_day("build_item_counts", THIRD)
    before, version = rows(lake, "daily_item_counts"), commits(lake)["daily_item_counts"]
    with stopped_at_its_first_file(step, lake) as job:
        step.run(lake)
    assert_conflict_in_one_line(
        job, f"error: another writer changed {lake}/daily_item_counts in the meantime; nothing was written"
    )
    assert commits(lake)["daily_item_counts"] == version + 1
    assert rows(lake, "daily_item_counts") == before


def test_of_two_publishers_one_fails(simulated_copy: Lake) -> None:
    """The other publisher commits after the first has read the last publication and written its row."""
    lake, step = simulated_copy.uri, Step("publish_candidates", ("--rollback", "--config", SMALL))
    with stopped_before_its_commit(step.argv(lake), signal.SIGCONT) as job:
        step.run(lake)
    # not to be retried as it is: a second rollback would go back one publication too far
    assert_conflict_in_one_line(
        job, "error: another publisher has added publication 4; nothing was published by this run", code=2
    )
    publications = simulated_copy.read(tables.PUBLICATIONS).orderBy("publication").collect()
    assert [row.follows for row in publications] == [None, 1, 2, 3]


def test_a_rollback_that_is_killed_before_its_commit_changes_nothing(simulated_copy: Lake) -> None:
    lake, step = simulated_copy.uri, Step("publish_candidates", ("--rollback", "--config", SMALL))
    before, files = rows(lake, "publications"), written(lake, "file")
    with stopped_before_its_commit(step.argv(lake), signal.SIGKILL) as job:
        assert len(written(lake, "file") - files) == 1
    assert job.returncode == -signal.SIGKILL
    assert rows(lake, "publications") == before
    assert sorted(row.publication for row in simulated_copy.rows(tables.PUBLICATIONS)) == [1, 2, 3]
    step.run(lake)
    assert simulated_copy.read(tables.PUBLICATIONS).count() == 4


@pytest.mark.slow
def test_of_two_creators_of_a_table_one_fails(simulated: Lake, simulated_copy: Lake) -> None:
    """The first commit of a table: there is no day yet to replace."""
    lake, step = simulated_copy.uri, of_day("build_item_counts", THIRD)
    day = simulated.day(tables.DAILY_ITEM_COUNTS, THIRD).count()
    shutil.rmtree(f"{lake}/daily_item_counts")
    with stopped_at_its_first_file(step, lake) as job:
        step.run(lake)
    assert_conflict_in_one_line(job, "error: another writer changed")
    assert len(rows(lake, "daily_item_counts")) == day


@pytest.mark.slow
def test_the_daily_run_conflicts_with_a_back_fill_of_the_day_before(stages: Stages, tmp_path: Path) -> None:
    """Late clicks make the daily run rebuild the day before, while another process runs that day."""
    number = stages.number("rebuild_days")
    step, old, new = stages.steps[number], stages.before(number), stages.before(number + 1)
    lake = str(shutil.copytree(old, tmp_path / "lake"))
    with stopped_at_its_first_file(step, lake) as job:
        of_day("build_interactions", THIRD).run(lake)
    assert_conflict_in_one_line(job, f"error: another writer changed {lake}/interactions in the meantime")
    assert rows(lake, "interactions") == rows(new, "interactions")
    step.run(lake)  # as a scheduler would
    for table in changed(old, new):
        assert rows(lake, table) == rows(new, table), table


@pytest.mark.slow
def test_no_index_is_given_twice(spark: SparkSession, stages: Stages, tmp_path: Path) -> None:
    number = stages.number("build_vocabularies")
    step, old, new = stages.steps[number], stages.before(number), stages.before(number + 1)
    lake = Lake(spark, str(shutil.copytree(old, tmp_path / "lake")))
    seen_early, early = lake.read(tables.VOCABULARIES), lake.version(tables.VOCABULARIES)
    with stopped_at_its_first_file(step, lake.uri) as job:
        add_items(lake, seen_early, early, "of-another")
    assert_conflict_in_one_line(
        job, f"error: another writer committed first to {lake.uri}/vocabularies; nothing was written"
    )
    before = lake.version(tables.VOCABULARIES)
    with pytest.raises(KeyConflict, match=f"committed to .*/vocabularies after version {early}"):  # both had read it
        add_items(lake, seen_early, early, "too-late", "and-another")
    assert lake.version(tables.VOCABULARIES) == before
    step.run(lake.uri)
    existing = lake.read(tables.VOCABULARIES).collect()
    assert len({(row.feature, row["index"]) for row in existing}) == len({(row.feature, row.value) for row in existing})
    assert len(existing) == len({(row.feature, row.value) for row in existing}) == len(rows(new, "vocabularies")) + 1


def add_items(lake: Lake, existing: DataFrame, version: int, *values: str) -> None:
    """Add items to the vocabularies, of which that version was read into `existing`."""
    unseen = lake.spark.createDataFrame(
        [("item_id", value, 0) for value in values], "feature string, value string, bucket int"
    )
    rows = build_vocabularies.with_indices(unseen, existing, THIRD)
    build_vocabularies.add_to_vocabularies(lake, rows, THIRD, version)
