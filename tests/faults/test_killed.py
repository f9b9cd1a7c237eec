"""kill -9 of a job at seeded moments: every table is the old or the new one, and a second run makes it good.

A few moments by default. `make test-faults` strikes every job at its first file, at its first commit and at seeded
moments of its time.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.faults.steps import DAY, OTHERS, QUICK, Stages, changed, commits, published, rows, strike

SEEDS = int(os.environ.get("FAULT_SEEDS", "0"))  # moments of every job; 0: a few strikes in all
STEPS = (*DAY, *OTHERS) if SEEDS else QUICK
FEW = [("build_interactions", "file", 1), ("score_users", "commit", 2), ("publish_candidates", "file", 3)]
ALL = [
    (number, what, 100 * number + seed)
    for number in range(len(STEPS))
    for what, seed in [("file", 0), ("commit", 1), *(("moment", 2 + seed) for seed in range(SEEDS))]
]
NUMBERS = {step.job: number for number, step in enumerate(STEPS)}
STRUCK = ALL if SEEDS else [(NUMBERS[job], what, seed) for job, what, seed in FEW]
NAMES = [f"{number}-{STEPS[number].job}-{what}-{seed}" for number, what, seed in STRUCK]


@pytest.fixture
def struck(request: pytest.FixtureRequest) -> Stages:
    return request.getfixturevalue("whole_day" if SEEDS else "stages")


@pytest.mark.parametrize(("number", "what", "seed"), STRUCK, ids=NAMES)
def test_a_job_that_is_killed_leaves_old_or_new_and_is_made_good(
    struck: Stages, tmp_path: Path, number: int, what: str, seed: int
) -> None:
    step, old, new = struck.steps[number], struck.before(number), struck.before(number + 1)
    lake = str(shutil.copytree(old, tmp_path / "lake"))
    victim = strike(step, lake, what, struck.seconds[number], seed)
    touched = {table for table in changed(lake, old) if table in commits(old) or rows(lake, table)}
    print(f"struck: {step.job} | {what} | {seed} | {victim} | {len(touched)} of {len(changed(old, new))} committed")
    assert touched <= set(changed(old, new))
    for table in touched:
        assert rows(lake, table) in (rows(old, table), rows(new, table)), f"{table} is neither the old nor the new one"
    assert published(lake) in (published(old), published(new))
    step.run(lake)
    for table in set(changed(old, new)) | touched:
        assert rows(lake, table) == rows(new, table), table
    assert published(lake) == published(new)
