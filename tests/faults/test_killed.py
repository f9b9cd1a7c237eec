"""kill -9 of a job: every table is the old or the new one, and a second run completes the day.

`make test` kills three jobs, and `make test-faults` every job at its first file, at its first commit and at seeded
moments, which takes more than an hour.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.steps import DAY, OTHERS, QUICK, Stages, changed, commits, published, rows, run_and_kill

SEEDS = int(os.environ.get("FAULT_SEEDS", "0"))  # moments of every job, set by `make test-faults`
FEW = [("build_interactions", "file", 1), ("score_users", "commit", 2), ("publish_candidates", "file", 3)]
POSITIONS = {step.job: number for number, step in enumerate(QUICK)}
ALL = [
    pytest.param(number, moment, 100 * number + seed, id=f"{number}-{step.job}-{moment}-{100 * number + seed}")
    for number, step in enumerate((*DAY, *OTHERS))
    for moment, seed in [("file", 0), ("commit", 1), *(("time", 2 + seed) for seed in range(SEEDS))]
    if SEEDS
]


@pytest.mark.parametrize(("job", "moment", "seed"), FEW)
def test_a_killed_job_leaves_old_or_new_tables_and_a_second_run_completes_it(
    stages: Stages, tmp_path: Path, job: str, moment: str, seed: int
) -> None:
    kill_and_run_again(stages, POSITIONS[job], moment, seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "moment", "seed"), ALL)
def test_every_job_of_a_day(whole_day: Stages, tmp_path: Path, number: int, moment: str, seed: int) -> None:
    kill_and_run_again(whole_day, number, moment, seed, tmp_path)


def kill_and_run_again(stages: Stages, number: int, moment: str, seed: int, folder: Path) -> None:
    step, old, new = stages.steps[number], stages.before(number), stages.before(number + 1)
    lake = str(shutil.copytree(old, folder / "lake"))
    victim = run_and_kill(step, lake, moment, stages.seconds[number], seed)
    touched = {table for table in changed(lake, old) if table in commits(old) or rows(lake, table)}
    print(f"killed: {step.job} | {moment} | {seed} | {victim} | {len(touched)} of {len(changed(old, new))} committed")
    assert touched <= set(changed(old, new))
    for table in touched:
        assert rows(lake, table) in (rows(old, table), rows(new, table)), f"{table} is neither the old nor the new one"
    assert published(lake) in (published(old), published(new))
    step.run(lake)
    for table in set(changed(old, new)) | touched:
        assert rows(lake, table) == rows(new, table), table
    assert published(lake) == published(new)
