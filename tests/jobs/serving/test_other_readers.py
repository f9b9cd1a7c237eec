"""The ways to read a table without Spark that the data contract names, as its text has them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from deltalake import DeltaTable

from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.log_files import DAY

PAGE = Path(__file__).parents[3] / "docs" / "data-contract.md"


@pytest.fixture
def written(lake: Lake) -> Lake:
    """Interactions of a day that was written twice: only the second rows count."""
    for ids in ("a", "bcd"):
        rows = [(None, name, None, "u", "i", 1, None, name == "b", None, None, None, True) for name in ids]
        lake.overwrite(tables.INTERACTIONS, DAY, lake.spark.createDataFrame(rows, tables.INTERACTIONS.schema))
    return lake


def test_the_snippets_of_the_data_contract_read_the_newest_version(written: Lake) -> None:
    section = PAGE.read_text("utf-8").split("## Any table without Spark")[1]
    code = re.findall(r"^    (.*)$", section.split("\n## ")[0], re.MULTILINE)
    names: dict[str, object] = {}
    results = []
    for line in (line.replace('"lake/', f'"{written.uri}/') for line in code):
        if line.startswith(("pl.", "duckdb.")):
            results.append(eval(line, names))
        else:
            exec(line, names)
    rows, clicked, counts = results
    assert sorted(rows["impression_id"]) == sorted(rows.to_pandas()["impression_id"]) == ["b", "c", "d"]
    assert list(clicked["impression_id"]) == ["b"]
    assert counts.rows() == [(DAY, 3)]


def test_the_methods_that_the_data_contract_warns_of_still_fail(written: Lake) -> None:
    table = DeltaTable(written.table_path(tables.INTERACTIONS))
    for method in (table.to_pandas, table.to_pyarrow_table, table.to_pyarrow_dataset):
        with pytest.raises(TypeError, match="takes at least 2 positional arguments"):
            method()
