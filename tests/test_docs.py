"""Everything that the documentation names exists: files, links, modules, targets, keys and messages."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/RESULTS.md", "examples/README.md")),
    *ROOT.glob("docs/**/*.md"),
]
FOLDERS = "batch_recall|benchmarks|dags|docs|examples|jobs|model|requirements|sql|tests"
PACKAGES = "batch_recall|benchmarks|jobs|model|sql|tests"
PLACEHOLDER = "x"  # `jobs.x` and `jobs/x.py` stand for any job


def problems(text: str, page: Path) -> list[str]:
    """One message for each name in `text`, the content of `page`, that does not exist in the repository."""
    code = _code(text)
    return [
        *_links(text, page),
        *_files(code),
        *_modules(code),
        *_targets(code),
        *_jobs(code),
        *_keys(code),
        *_messages(code),
    ]


def _code(text: str) -> list[str]:
    """Code spans, and the lines of indented and fenced code blocks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4}(.*)$", prose, flags=re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^ {4}.*$", "", prose, flags=re.MULTILINE))
    return [*spans, *indented, *(line for block in fenced for line in block.splitlines())]


def _links(text: str, page: Path) -> list[str]:
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            found.append(f"link to {target}: no such file")
        elif anchor and anchor not in _anchors(text if file == page else file.read_text("utf-8")):
            found.append(f"link to {target}: no such heading")
    return found


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _files(code: list[str]) -> list[str]:
    """Paths below a folder of the repository, and names of Python files: `<name>` matches any name.

    What is below a folder that git ignores, such as benchmarks/out, is made by commands.
    """
    made = tuple(re.findall(r"^/(.+/)$", (ROOT / ".gitignore").read_text("utf-8"), flags=re.MULTILINE))
    paths = [path for span in code for path in re.findall(rf"(?<![\w/.<(-])(?:{FOLDERS})/[\w<>*./-]*", span)]
    paths += [span for span in code if re.fullmatch(r"\w+\.py", span)]
    wanted = {re.sub(r"<\w+>", "*", path).rstrip("/.") for path in paths} - {f"jobs/{PLACEHOLDER}.py"}
    kept = sorted(path for path in wanted if not f"{path}/".startswith(made))
    return [f"{path}: no such file" for path in kept if not any(ROOT.glob(path))]


def _modules(code: list[str]) -> list[str]:
    """`python -m module`, and dotted names that begin with a package, down to a name inside a module."""
    names = [name for span in code for name in re.findall(rf"(?<![\w./-])((?:{PACKAGES})(?:\.\w+)+)", span)]
    wanted = {name for name in names if not name.endswith((".py", ".md", ".toml", ".sql")) and name not in _all_keys()}
    return [f"{name}: no such module or name" for name in sorted(wanted) if not _is_known(name)]


def _is_known(name: str) -> bool:
    parts = name.split(".")
    if parts[1] == PLACEHOLDER:
        return True
    for length in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:length])
        file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
        if file.exists():
            return not parts[length:] or re.search(rf"\b{parts[length]}\b", file.read_text("utf-8")) is not None
    return False


def _targets(code: list[str]) -> list[str]:
    known = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    named = {target for span in code for target in re.findall(r"(?:^|\s)make ([a-z][a-z0-9-]*)", span)}
    return [f"make {target}: no such target" for target in sorted(named - known)]


def _jobs(code: list[str]) -> list[str]:
    """Subcommands of `batch-recall`."""
    named = {job for span in code for job in re.findall(r"(?:^|[\s/])batch-recall ([a-z][a-z-]*)", span)}
    return [
        f"batch-recall {job}: no such job"
        for job in sorted(named)
        if job != PLACEHOLDER and not (ROOT / "jobs" / f"{job.replace('-', '_')}.py").exists()
    ]


def _all_keys() -> set[str]:
    """`section.key` of every key in recall.toml."""
    sections = tomllib.loads((ROOT / "recall.toml").read_text("utf-8"))
    return {f"{section}.{key}" for section, values in sections.items() for key in values}


def _keys(code: list[str]) -> list[str]:
    keys = _all_keys()
    sections = {key.split(".")[0] for key in keys} - {"features", "variants", "model"}  # model: also a package
    pattern = rf"({'|'.join(sorted(sections))})\.(\w+)( = .*)?"
    named = {f"{match[1]}.{match[2]}" for span in code if (match := re.fullmatch(pattern, span))}
    return [f"{key}: no such key in recall.toml" for key in sorted(named - keys)]


def _messages(code: list[str]) -> list[str]:
    """Messages of jobs. Capitals, numbers and `...` are placeholders for parts that differ."""
    quoted = [span for span in code if re.match(r"error( \[\w+\])?: |table NAME |X is |X lies ", span)]
    parts = {message: re.split(r"\b[A-Z]+\b|\.\.\.|\d[\d.]*", message) for message in quoted}
    source = _source()
    return [
        f"{message}: no such message"
        for message, texts in parts.items()
        if not all(re.sub(r"^error( \[\w+\])?: ", "", text).strip(" ,;:") in source for text in texts)
    ]


@cache
def _source() -> str:
    """The code of the jobs, with string literals over several lines joined."""
    text = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "jobs").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert problems(page.read_text("utf-8"), page) == []


def test_the_picture_names_jobs_that_exist() -> None:
    lines = re.findall(r'<text class="jobs"[^>]*>([^<]*)<', (ROOT / "docs/flow.svg").read_text("utf-8"))
    named = {name for line in lines for name in re.findall(r"[a-z]+_[a-z_]+", line)}
    assert named
    assert {name for name in named if not (ROOT / f"jobs/{name}.py").exists()} == set()


def test_links_of_the_changelog_lead_somewhere() -> None:
    page = ROOT / "CHANGELOG.md"  # it names things that were removed, so only its links are checked
    assert _links(page.read_text("utf-8"), page) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("see [this](docs/nowhere.md)", "link to docs/nowhere.md: no such file"),
        ("see [this](docs/operations.md#nothing)", "link to docs/operations.md#nothing: no such heading"),
        ("see [this](#nothing)", "link to #nothing: no such heading"),
        ("in `jobs/lake/nowhere.py`", "jobs/lake/nowhere.py: no such file"),
        ("in `nowhere.py`", "nowhere.py: no such file"),
        ("in `sql/<table>/nowhere.sql`", "sql/*/nowhere.sql: no such file"),
        ("run\n\n    spark-submit jobs/nowhere.py --ds 2026-01-31", "jobs/nowhere.py: no such file"),
        ("run\n\n    python -m jobs.nowhere --lake lake", "jobs.nowhere: no such module or name"),
        ("```sh\npython -m model.nowhere\n```", "model.nowhere: no such module or name"),
        ("`jobs.serving.read_nothing`", "jobs.serving.read_nothing: no such module or name"),
        ("run\n\n    .venv/bin/batch-recall run-nothing --lake lake", "batch-recall run-nothing: no such job"),
        ("`make nothing`", "make nothing: no such target"),
        ("run\n\n    make nothing LAKE=lake", "make nothing: no such target"),
        ("`training.nothing`", "training.nothing: no such key in recall.toml"),
        ('`training.nothing = "warm"`', "training.nothing: no such key in recall.toml"),
        ("`error: nobody answers PATH`", "error: nobody answers PATH: no such message"),
        ("`model.nothing`", "model.nothing: no such module or name"),
    ],
)
def test_a_page_that_names_what_does_not_exist_is_reported(text: str, message: str) -> None:
    assert problems(text, ROOT / "README.md") == [message]


@pytest.mark.parametrize(
    "text",
    [
        "[operations](docs/operations.md#exit-codes), [elsewhere](https://example.org/nothing.md)",
        "`jobs/run_day.py`, `sql/<table>/checks.sql`, `jobs/lake/`, `models/<version>/model.json`, `jobs.x`, `jobs/x.py`",
        "`python -m jobs.run_day --lake lake`, `batch-recall run-day --lake lake`, `batch-recall x`, `jobs.serving.read_candidates`, `model.share_item_table`",
        "`error: no space to write PATH; free space: ...`",
        '`make test`, `training.preset`, `training.start = "warm"`; make nothing of it',
    ],
)
def test_a_page_that_names_what_exists_is_not_reported(text: str) -> None:
    assert problems(text, ROOT / "README.md") == []
