"""What an error says beside its message: each page and heading that it names exists, and each error that it is for."""

from __future__ import annotations

import ast
import datetime as dt
import importlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.cli.advice import CLASSES, CODES, ENVIRONMENT, PLACES, Advice, advice_for, fields, lines
from jobs.config.loading import load_config
from jobs.config.mapping import with_assignments
from jobs.inference.references import model_row
from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.files import NoSuchLake
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.tables.writers import WRITERS
from jobs.raw_log.files.names import require_named
from jobs.raw_log.preconditions import DayStopped
from jobs.serving.export.redis_address import checked_address
from tests.no_session import no_session
from tests.test_docs import _links

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [path.read_text("utf-8") for folder in ("jobs", "model") for path in (ROOT / folder).rglob("*.py")]


def raised(cause: Callable[[], object]) -> ValueError:
    """The error that a call raises, with its traceback."""
    try:
        cause()
    except ValueError as error:
        return error
    raise AssertionError("no error was raised")


@pytest.mark.parametrize("see", sorted({advice.see for advice in [*(CODES | CLASSES | PLACES).values(), ENVIRONMENT]}))
def test_each_page_and_heading_that_an_error_names_exists(see: str) -> None:
    assert _links(f"[page]({see})", ROOT / "README.md") == []


def test_a_heading_that_does_not_exist_would_be_found() -> None:
    assert _links("[page](docs/operations.md#no-such-heading)", ROOT / "README.md")


def test_each_class_code_and_place_with_advice_exists() -> None:
    defined = {node.name for text in SOURCES for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ClassDef)}
    assert set(CLASSES) <= defined
    codes = {code for text in SOURCES for code in re.findall(r'(?:DayStopped\(|^ +\()"(\w+)", ', text, re.MULTILINE)}
    assert set(CODES) <= codes
    assert all((ROOT / place).exists() for place in PLACES)


def test_each_way_in_which_a_day_stops_is_documented() -> None:
    raised = {code for text in SOURCES for code in re.findall(r'DayStopped\("(\w+)"', text)}
    assert {"empty_day", "day_not_run", "gate"} <= raised <= set(CODES)
    section = (
        (ROOT / "docs" / "operations.md").read_text("utf-8").partition("## A day that stops")[2].partition("\n## ")[0]
    )
    assert [code for code in CODES if f"`{code}`" not in section] == []


def test_an_error_is_looked_up_by_its_code_its_class_and_the_code_that_raised_it(tmp_path: Path) -> None:
    assert advice_for(DayStopped("day_not_run", "x")) == CODES["day_not_run"]
    assert advice_for(NoSuchLake("x")) == CLASSES["NoSuchLake"]
    assert advice_for(KeyConflict("x")) == CLASSES["WriteConflict"]  # its base class
    own = tmp_path / "own.toml"
    own.write_text("[training]\ntemperature = -1\n", "utf-8")
    assert advice_for(raised(lambda: load_config(own))) == PLACES["jobs/config"]
    mapping = load_config().mapping
    assert advice_for(raised(lambda: with_assignments(mapping, ["x"]))) == PLACES["jobs/config/mapping.py"]
    assert advice_for(raised(lambda: require_named("x", ["a"], ["b"]))) == CLASSES["MissingColumns"]
    assert advice_for(raised(lambda: checked_address("redis://"))) == PLACES["jobs/serving/export/redis_address.py"]
    assert PLACES["jobs/serving/export"].do is PLACES["jobs/inference"].do is None  # their messages say what to do
    assert advice_for(ValueError("from nowhere")) is None


def test_the_job_that_builds_a_missing_day_is_named(tmp_path: Path) -> None:
    lake, day = Lake(no_session, str(tmp_path)), dt.date(2026, 1, 5)
    found = [raised(lambda: model_row(lake, day)), raised(lambda: lake.require_day(tables.CANDIDATES, day))]
    jobs = [(advice_for(error) or CLASSES["NoSuchDay"]).do for error in found]
    assert jobs == [
        f"run {job} of the day, or the whole day with run-day" for job in ("train_two_tower", "score_users")
    ]
    assert advice_for(NoSuchDay(f"nothing is published in {tmp_path}")) == CLASSES["NoSuchDay"]


@pytest.mark.parametrize(("table", "job"), WRITERS.items())
def test_a_job_that_is_named_for_a_table_writes_it(table: str, job: str) -> None:
    documented = importlib.import_module(f"jobs.{job}").__doc__ or ""
    assert re.search(rf"\b{table}\b", documented)


def test_advice_is_two_lines_for_people_and_two_fields_for_programs() -> None:
    assert lines(Advice("wait", "docs/x.md")) == ["  what to do: wait", "  documented in docs/x.md"]
    assert fields(Advice("wait", "docs/x.md")) == {"do": "wait", "see": "docs/x.md"}
    assert lines(Advice(None, "docs/x.md")) == ["  documented in docs/x.md"]
    assert fields(Advice(None, "docs/x.md")) == {"see": "docs/x.md"}
    assert (lines(None), fields(None)) == ([], {})
