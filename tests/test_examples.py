"""The scripts of examples/ run to their end as their index says, on one lake that the first one makes."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest

from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import PublishedCandidates, read_candidates
from tests.no_session import no_session

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: object) -> str:
    """Run a script of examples/ as a process of its own; returns what it prints."""
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def run_block(page: str, begins: str) -> Any:
    """Run the indented Python block of a page that begins with a line; returns the value of its last line."""
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE)
    (block,) = (textwrap.dedent(block) for block in blocks if block.strip().startswith(begins))
    code = ast.parse(block.replace("LAKE/", "lake/"))
    names: dict[str, Any] = {}
    last = code.body.pop()
    assert isinstance(last, ast.Expr)
    exec(compile(code, page, "exec"), names)
    return eval(compile(ast.Expression(last.value), page, "eval"), names)


def names_of(name: str) -> dict[str, Any]:
    """What a script of examples/ defines."""
    return runpy.run_path(str(EXAMPLES / name))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The lake of own_log.py, read only, and what the script prints."""
    folder = tmp_path_factory.mktemp("examples")
    return folder / "lake", run_example("own_log.py", "--folder", folder)


@pytest.fixture
def lake_copy(printed: tuple[Path, str], tmp_path: Path) -> Path:
    """A copy that an example may change."""
    return Path(shutil.copytree(printed[0], tmp_path / "lake"))


def test_each_example_is_in_the_index_and_in_a_test() -> None:
    index = (EXAMPLES / "README.md").read_text("utf-8")
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts >= {"own_log.py", "read_lists.py", "compare_schemes.py", "tune.py"}
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    for name in scripts:
        assert f"[{name}]({name})" in index
        assert f"{name}" in tests
    assert set(re.findall(r"\.venv/bin/python examples/(\w+\.py)", index)) == scripts
    assert [path.name for path in EXAMPLES.glob("*.py") if len(path.read_text("utf-8").splitlines()) > 110] == []


def test_a_log_of_its_own_shape_is_published_and_its_lists_match_what_readers_like(printed: tuple[Path, str]) -> None:
    lake, text = printed
    log, lists = names_of("own_log.py"), read_candidates(str(lake))
    assert lists["user_id"].nunique() == log["READERS"]
    assert Lake(no_session, str(lake)).snapshot(tables.QUARANTINE).rows == 0  # type: ignore[union-attr]
    assert [line.split()[0] for line in text.strip().splitlines()[-5:]] == ["1", "2", "3", "4", "5"]
    best = lists[lists["rank"] <= 3]
    article, reader = best["item_id"].str[1:].astype(int), best["user_id"].str[1:].astype(int)
    assert (article % 6 == reader % 6).mean() > 0.5  # at random it is a sixth; readers click their own topic
    assert (article < log["ARTICLES"] - log["NOTICES"]).mean() > 0.95  # nobody clicks notices


def test_pandas_polars_duckdb_and_spark_read_the_same_rows(printed: tuple[Path, str]) -> None:
    lake, _ = printed
    text = run_example("read_lists.py", "--lake", lake)  # which compares them
    assert re.findall(r"by_(\w+): the ([\d,]+) rows", text) == [
        (name, "6,000") for name in ("polars", "duckdb", "spark")
    ]


def test_the_python_of_the_pages_reads_the_lake(printed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(printed[0].parent)  # the pages call it `lake`
    lists = run_block("README.md", "from batch_recall import read_candidates")
    comment = re.search(r"read_candidates\(.*# (.*)$", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert comment is not None
    assert [*lists.columns] == comment[1].split(", ")
    by_day = run_block("docs/data-contract.md", "import duckdb, polars as pl")
    assert sorted(by_day.rows()) == [(day, 3_000) for day in names_of("own_log.py")["DAYS"].date[:3]]
    assert run_block("docs/operations.md", "import duckdb; from deltalake") == []  # no rule failed


@pytest.mark.slow
def test_the_schemes_are_compared_on_the_same_clicks(lake_copy: Path) -> None:
    before = PublishedCandidates.current(str(lake_copy)).publication
    text = run_example("compare_schemes.py", "--lake", lake_copy)
    found = names_of("compare_schemes.py")["comparison"](lake_copy, "2026-01-30")
    assert found["scheme"].to_list() == ["popularity", "in_batch", "mns", "cbns", "mixed"]
    assert all(scheme in text for scheme in found["scheme"])
    popularity, *models = found["ndcg"].to_list()
    assert min(models) > popularity
    assert len(set(map(tuple, found.select("recall@10", "recall@100", "ndcg").rows()))) == 5  # five models
    assert PublishedCandidates.current(str(lake_copy)).publication == before


@pytest.mark.slow
def test_the_next_day_has_the_settings_of_a_search(lake_copy: Path) -> None:
    run_example("tune.py", "--lake", lake_copy, "--trials", 3)
    overlay = lake_copy / "tuning/2026-01-30/overlay.toml"
    chosen = tomllib.loads(overlay.read_text("utf-8"))["training"]
    published = PublishedCandidates.current(str(lake_copy)).publication
    assert str(published["ds"]) == "2026-01-31"
    assert chosen["epochs"] < load_config(EXAMPLES / "own_log.toml").training.epochs
    model = lake_copy / "models" / published["model_version"] / "model.json"
    trained = json.loads(model.read_text("utf-8"))["configuration"]["training"]
    assert {key: trained[key] for key in chosen} == chosen
