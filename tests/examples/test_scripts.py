"""The scripts of examples/ run to their end as their index says, on one lake that the first one makes."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from pyspark.sql import SparkSession

from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import PublishedCandidates, read_candidates
from tests.examples.scripts import EXAMPLES, ROOT, VARIABLES, run_example, started_example
from tests.no_session import no_session


def run_block(page: str, begins: str, replaced: dict[str, str]) -> Any:
    """Run the indented Python block of a page that begins with a line; returns the value of its last line.

    replaced: texts of the block that another lake needs.
    """
    blocks = re.findall(r"(?:^ {4}.*\n|^\n(?= {4}))+", (ROOT / page).read_text("utf-8"), flags=re.MULTILINE)
    (block,) = (textwrap.dedent(block) for block in blocks if block.strip().startswith(begins))
    for text, other in replaced.items():
        assert text in block
        block = block.replace(text, other)
    code = ast.parse(block)
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
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r"""_example\("(\w+\.py)\"""", tests)) == scripts
    assert [name for name in scripts if f"[{name}]({name})" not in index] == []
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


def test_a_lake_that_is_there_is_not_written_over(printed: tuple[Path, str]) -> None:
    folder = printed[0].parent
    before = (folder / "views.parquet").stat().st_mtime_ns
    error = run_example("own_log.py", "--folder", folder, returncode=2)
    assert f"{folder}/lake must not exist: delete it, or give another --folder" in error
    assert (folder / "views.parquet").stat().st_mtime_ns == before


def test_the_python_of_the_pages_reads_the_lake(printed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(printed[0].parent)  # the pages call it `lake`
    ids = {'"user-1"': '"r0"', '"user-2"': '"r1"'}
    lists = run_block("README.md", "from batch_recall import read_candidates", ids)
    comment = re.search(r"read_candidates\(.*# (.*)$", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert comment is not None
    assert [*lists.columns] == comment[1].split(", ")
    assert lists["user_id"].value_counts().to_dict() == {"r0": 20, "r1": 20}
    by_day = run_block("docs/data-contract.md", "import duckdb, polars as pl", {})
    assert sorted(by_day.rows()) == [(day, 3_000) for day in names_of("own_log.py")["DAYS"].date[:3]]


def test_the_query_of_the_page_finds_the_failed_rules_of_a_day(
    printed: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(printed[0].parent)
    page, first = "docs/operations.md", "import duckdb; from deltalake"
    replaced = {"LAKE/": "lake/", "2026-01-31": "2026-01-30"}
    assert run_block(page, first, replaced) == []
    passed = run_block(page, first, replaced | {"not passed": "passed"})  # so the day has rules
    assert "coverage" in {rule for rule, *_ in passed}


def test_spark_reads_the_lists_as_the_page_says(
    printed: tuple[Path, str], spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = "from batch_recall import read_candidates      # so"
    lists = run_block("docs/data-contract.md", first, {'"lake"': f'"{printed[0]}"'})
    assert lists.sparkSession is spark
    assert lists.count() == 300


def test_a_service_goes_on_from_the_first_example(printed: tuple[Path, str], tmp_path: Path) -> None:
    """By the commands of the index, which name the folders of the default."""
    folders = {"examples/out/lake": str(printed[0]), "examples/out/online": str(tmp_path / "online")}
    index = (EXAMPLES / "README.md").read_text("utf-8")
    for text, other in folders.items():
        index = index.replace(text, other)
    export = re.search(r"^    \.venv/bin/batch-recall (export-user-tower .*)$", index, flags=re.MULTILINE)
    service = re.search(r"^    \.venv/bin/python examples/serve_nearest_items\.py (\S+)$", index, flags=re.MULTILINE)
    request = re.search(r"^    curl -d '(.*)' http://127\.0\.0\.1:8000$", index, flags=re.MULTILINE)
    assert export is not None
    assert service is not None
    assert request is not None
    command = [sys.executable, "-m", "batch_recall", *export[1].split()]
    subprocess.run(command, env=VARIABLES, check=True)
    with started_example("serve_nearest_items.py", service[1], "--port", "0") as address:
        answer = urlopen(Request(address, request[1].encode()), timeout=60).read()
    found = [item["item_id"] for item in json.loads(answer)["items"]]
    assert len(found) == 5
    assert not {*json.loads(request[1])["history"]} & {*found}
    assert sum(int(item[1:]) % 6 == 0 for item in found) >= 3  # of the reader's own topic


@pytest.mark.slow
def test_the_schemes_are_compared_on_the_same_clicks(lake_copy: Path) -> None:
    before = PublishedCandidates.current(str(lake_copy)).publication
    text = run_example("compare_schemes.py", "--lake", lake_copy)
    found = names_of("compare_schemes.py")["comparison"](lake_copy, "2026-01-30")
    assert found["scheme"].to_list() == ["popularity", "in_batch", "mns", "cbns", "mixed"]
    assert all(scheme in text for scheme in found["scheme"])
    popularity, *models = found["ndcg"].to_list()
    assert min(models) > popularity
    assert len(set(map(tuple, found.drop("scheme").rows()))) == 5  # five models
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
