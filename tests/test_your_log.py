"""The walks of docs/your-log.md, by exactly the commands of the page, from real logs to their publications."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from tests.no_session import no_session

ROOT = Path(__file__).resolve().parents[1]
COMMAND = ".venv/bin/batch-recall "


def commands(heading: str) -> list[list[str]]:
    """The arguments of each command below a heading of the page."""
    page = (ROOT / "docs/your-log.md").read_text("utf-8")
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].replace("\\\n", " ")
    lines = re.findall(rf"^    {re.escape(COMMAND)}(.*)$", section, flags=re.MULTILINE)
    return [shlex.split(line) for line in lines]


def run_command(arguments: list[str], data: Path, lake: Path) -> str:
    """Run a command of the page, whose paths of data are below `data`; returns what it prints."""
    words = [str(lake) if word == "lake" else word.replace("docs/", f"{ROOT}/docs/") for word in arguments]
    command = [sys.executable, "-m", "jobs.cli.main", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=data, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "users", "impressions", "clicks"),
    [("MovieLens", 671, 100_004, 51_568), ("EB-NeRD", 38, 10_848, 1_047)],
)
def test_a_walk_of_the_page_ends_with_a_publication(
    tmp_path: Path, data: Path, heading: str, users: int, impressions: int, clicks: int
) -> None:
    walk = commands(heading)
    assert 1 <= len(walk) <= 3
    for arguments in walk:
        run_command(arguments, data, tmp_path / "lake")
    lake = Lake(no_session, str(tmp_path / "lake"))
    landed = [lake.snapshot(table) for table in (tables.IMPRESSIONS, tables.CLICKS, tables.QUARANTINE)]
    assert [0 if found is None else found.rows for found in landed] == [impressions, clicks, 0]
    assert lake.rows(tables.PUBLICATIONS)
    assert read_candidates(lake.uri)["user_id"].nunique() == users
