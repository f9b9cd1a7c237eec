"""Every command of the documentation is one that its program takes: job, options, values, targets and variables.

The documentation: the pages, and the first docstring of each script of examples/.

How placeholders are written: tests/documented_commands.py.

Run by a test, as the page has them: the walks of docs/your-log.md (tests/test_your_log.py), the scripts of
examples/README.md (tests/examples/, into folders of its own), and the commands of `make lint` and `make site`
that build the pages (tests/test_site.py). `batch-recall --help` and the help of each job run in
tests/jobs/cli/test_main.py, each benchmark at a tiny size in tests/benchmarks/test_smoke.py, and `make test-s3`,
`test-gpu`, `test-dist` and `test-faults` are tests themselves.

Parsed only: all other commands of `batch-recall` and `python -m jobs`, whose jobs other tests run with arguments of
their own; `spark-submit` (the launcher reads Spark's options, the job's parser the others), which
tests/test_standalone_cluster.py runs on a local cluster; and `make`, whose targets and variables must exist.
Not checked: commands of other programs (airflow, docker, pip, uvx, start-master.sh).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from jobs.cli.main import groups
from tests.documented_commands import Command, commands, lines, options_alone
from tests.test_docs import PAGES, ROOT

JOBS = frozenset(job for found in groups().values() for job in found)
OF_OTHER_PROGRAMS = {"--no-deps"}  # of pip
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
LOOKS_LIKE_A_COMMAND = re.compile(r"(?<![\w-])(?:batch-recall [a-z]|python\S* -m [a-z]|spark-submit )")
NOT_READ = {  # beginnings of lines with a command that is not read from them, and why
    'SUBMIT="spark-submit ': "read where the page says $SUBMIT",
    "RUN python3.11 -m venv ": "a line of a Dockerfile",
    "batch-recall sample-log --lake LAKE --ds D --days 7": "its comment names another way to run it",
}


def parsed(found: list[Command], options: list[str]) -> dict[str, Any]:
    """What tests/command_parsers.py says: `messages`, one per command, and `options` that nothing has."""
    request = {"commands": [(each.words, each.mentioned, each.whole) for each in found], "options": options}
    command = [sys.executable, "-m", "tests.command_parsers"]
    done = subprocess.run(command, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def documented() -> dict[str, str]:
    """The text of each page, and the docstring of each script of examples/, by file name."""
    texts = {str(page.relative_to(ROOT)): page.read_text("utf-8") for page in PAGES}
    docstrings = {script.name: ast.get_docstring(ast.parse(script.read_text("utf-8"))) for script in SCRIPTS}
    return texts | {name: docstring or "" for name, docstring in docstrings.items()}


def not_read(text: str) -> list[str]:
    """Lines of code blocks, as a reader of Markdown finds these, with more commands than `commands` reads from them."""
    blocks = [token.content for token in MarkdownIt().parse(text) if token.type in ("fence", "code_block")]
    code = re.sub(r"\\\n\s*", "", "\n".join(blocks))
    read = {line.strip() for line, whole in lines(text) if whole}
    found = []
    for line in map(str.strip, code.splitlines()):
        words = [f"{' '.join(command.words)} " for command in commands(f"    {line}", JOBS)] if line in read else []
        if len(LOOKS_LIKE_A_COMMAND.findall(line)) > len([*filter(LOOKS_LIKE_A_COMMAND.match, words)]):
            found.append(line)
    return found


def test_every_command_of_the_documentation_is_one_that_its_program_takes() -> None:
    texts = documented()
    found = [(name, command) for name, text in texts.items() for command in commands(text, JOBS)]
    options = {option for text in texts.values() for option in options_alone(text)}
    assert {command.words[0] for _, command in found} == {"batch-recall", "make", "python", "spark-submit"}
    named = {name.rpartition("/")[2] for name, _ in found}
    assert named >= {"README.md", "cluster.md", "operations.md", "recall.md", "RESULTS.md"}
    assert named >= {script.name for script in SCRIPTS}
    assert {"--config", "--py-files"} <= options
    answer = parsed([command for _, command in found], sorted(options - OF_OTHER_PROGRAMS))
    faults = zip(found, answer["messages"], strict=True)
    assert [f"{name}: {command.text}: {message}" for (name, command), message in faults if message] == []
    assert answer["options"] == []


def test_every_line_that_looks_like_a_command_is_read_as_one() -> None:
    found = [(name, line) for name, text in documented().items() for line in not_read(text)]
    assert [(name, line) for name, line in found if not line.startswith(tuple(NOT_READ))] == []
    assert {start for start in NOT_READ for _, line in found if line.startswith(start)} == NOT_READ.keys()


@pytest.mark.parametrize(
    "text",
    [
        "~~~sh\nbatch-recall run-day --lake lake --ds D\n~~~",
        "1. First:\n\n   ```\n   batch-recall run-day --lake lake --ds D\n   ```",
        "    nohup batch-recall run-day --lake lake --ds D",
        "    for day in $DAYS; do batch-recall run-day --lake lake --ds $day; done",
        "    cat log | python -m jobs.ingest_logs --lake lake",
        "    batch-recall --help && sudo spark-submit jobs/x.py",
    ],
)
def test_a_command_that_would_not_be_checked_is_reported(text: str) -> None:
    assert len(not_read(text)) == 1


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
    ("    .venv/bin/python examples/tune.py --nothing", "unrecognized arguments: --nothing"),
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
