"""Every command of the documentation is one that its program takes: job, options, values, targets and variables.

How placeholders are written: tests/documented_commands.py.

Run by a test, as the page has them: the walks of docs/your-log.md (tests/test_your_log.py), the scripts of
examples/README.md (tests/test_examples.py, into folders of its own), and the commands of `make lint` and `make site`
that build the pages (tests/test_site.py). `batch-recall --help` and the help of each job run in
tests/jobs/cli/test_main.py, each benchmark at a tiny size in tests/benchmarks/test_smoke.py, and `make test-s3`,
`test-gpu`, `test-dist` and `test-faults` are tests themselves.

Parsed only: all other commands of `batch-recall` and `python -m jobs`, whose jobs other tests run with arguments of
their own; `spark-submit` (the launcher reads Spark's options, the job's parser the others), which
tests/test_standalone_cluster.py runs on a local cluster; and `make`, whose targets and variables must exist.
Not checked: commands of other programs (airflow, docker, pip, uvx, start-master.sh).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.cli.main import groups
from tests.documented_commands import Command, commands, options_alone
from tests.test_docs import PAGES, ROOT

JOBS = frozenset(job for found in groups().values() for job in found)
OF_OTHER_PROGRAMS = {"--no-deps"}  # of pip


def parsed(found: list[Command], options: list[str]) -> dict[str, Any]:
    """What tests/command_parsers.py says: `messages`, one per command, and `options` that nothing has."""
    request = {"commands": [(each.words, each.mentioned, each.whole) for each in found], "options": options}
    command = [sys.executable, "-m", "tests.command_parsers"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_every_command_of_the_documentation_is_one_that_its_program_takes() -> None:
    found = [(page, command) for page in PAGES for command in commands(page.read_text("utf-8"), JOBS)]
    options = {option for page in PAGES for option in options_alone(page.read_text("utf-8"))}
    assert {command.words[0] for _, command in found} == {"batch-recall", "make", "python", "spark-submit"}
    assert {page.name for page, _ in found} >= {"README.md", "cluster.md", "operations.md", "recall.md", "RESULTS.md"}
    assert {"--config", "--py-files"} <= options
    answer = parsed([command for _, command in found], sorted(options - OF_OTHER_PROGRAMS))
    faults = zip(found, answer["messages"], strict=True)
    assert [f"{page.name}: {command.text}: {message}" for (page, command), message in faults if message] == []
    assert answer["options"] == []


@pytest.fixture(scope="module")
def messages() -> dict[str, str]:
    """The message of each case of FAULTY and FAULTLESS, from one process."""
    texts = [*(text for text, _ in FAULTY), *FAULTLESS]
    found = [commands(text, JOBS) for text in texts]
    assert [len(each) for each in found] == [1] * len(texts)
    answer = parsed([each[0] for each in found], ["--lake", "--py-files", "--nothing"])
    assert answer["options"] == ["--nothing"]
    return dict(zip(texts, answer["messages"], strict=True))


FAULTY = [
    ("    batch-recall run-day --lake lake", "arguments are required: --ds"),
    ("    batch-recall run-day --lake lake --ds yesterday", "must be a day YYYY-MM-DD"),
    ("    batch-recall run-nothing --lake lake", "the job must be a subcommand"),
    ("    batch-recall run-day --lake LAKE --ds D --tables", "unrecognized arguments: --tables"),
    ("    batch-recall run-day --lake LAKE --ds D --last", "--last: expected one argument"),
    ("    batch-recall run-day --lake LAKE --ds D     # --nothing: less of it", "no option --nothing"),
    ("    batch-recall run-day --lake LAKE [--nothing 3] \\\n        --ds D", "unrecognized arguments: --nothing 3"),
    ("`run-day --nothing`", "unrecognized arguments: --nothing"),
    ("    .venv/bin/python -m jobs.train_two_tower --lake lake --ds D --seeds 3", "unrecognized arguments: --seeds"),
    ("    OMP_NUM_THREADS=1 python -m benchmarks.training.loader --nothing", "unrecognized arguments: --nothing"),
    ("    make nothing", "no target nothing"),
    ("`make test NOTHING=1`", "no variable NOTHING"),
    ("    spark-submit --nothing 3 jobs/run_day.py --lake LAKE --ds D", "Unrecognized option: --nothing"),
    ("    spark-submit --master yarn jobs/run_day.py --lake LAKE", "arguments are required: --ds"),
    ('    GO="spark-submit --nothing 3"\n    $GO jobs/x.py', "Unrecognized option: --nothing"),
    ("```sh\nbatch-recall run-day --lake lake\n```", "arguments are required: --ds"),
]
FAULTLESS = [
    "    batch-recall explain-user --lake LAKE --user U [--nearest 20]",
    "    batch-recall ingest-logs ... --map impressions.user_id=uid",
    "    time batch-recall run-day --lake LAKE --ds DAY --from JOB --config mine.toml",
    "`run_day --last`",
    "`batch-recall x`",
    "`make test-faults SEEDS=1`",
    "    spark-submit --master k8s://... --py-files ... jobs/x.py",
]


@pytest.mark.parametrize(("text", "message"), FAULTY)
def test_a_command_that_its_program_refuses_is_reported(messages: dict[str, str], text: str, message: str) -> None:
    assert message in messages[text]


@pytest.mark.parametrize("text", FAULTLESS)
def test_a_command_with_placeholders_is_not_reported(messages: dict[str, str], text: str) -> None:
    assert messages[text] == ""


@pytest.mark.parametrize(
    "text", ["`build_item_counts 2026-01-05: 1,234 rows`", "make the best of it", "`score_users`", "    x = make(3)"]
)
def test_what_is_no_command_is_not_read_as_one(text: str) -> None:
    assert commands(text, JOBS) == []


def test_a_configuration_of_the_repository_is_validated(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[training]\nnothing = 1\n", "utf-8")
    text = f"    batch-recall run-day --lake lake --ds 2026-01-31 --config {wrong}"
    assert "training.nothing" in parsed(commands(text, JOBS), [])["messages"][0]
