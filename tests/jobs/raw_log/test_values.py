"""Text, numbers and lists in the types of the contract: what was meant, or null, so that the row is refused."""

from __future__ import annotations

import csv
import datetime as dt
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from tests.jobs.raw_log.reading import ITEMS, parsed, read, utc

REFUSED = object()
CELLS: dict[str, dict[str, Any]] = {
    "available": {"yes": True, "1.0": True, "0": False, " TRUE ": True, "": True, "NULL": True, "off": REFUSED, "2": REFUSED},
    "published_at": {
        "NaT": None, "\\N": None, "2026-01-05": dt.datetime(2026, 1, 5), "2026-01-05 10:00": dt.datetime(2026, 1, 5, 10), "2026-01-05T10:00:00.1234567Z": dt.datetime(2026, 1, 5, 10, 0, 0, 123456),
        "2026-01-05 10:00:00+0130": dt.datetime(2026, 1, 5, 8, 30), "2026-07-5 1:2:3 Europe/Berlin": dt.datetime(2026, 7, 4, 23, 2, 3), "1850-06-01": dt.datetime(1850, 6, 1),
        "now": REFUSED, "today": REFUSED, "10:00": REFUSED, "T10:00": REFUSED, "2026": REFUSED, "2026-01": REFUSED, "1767607200": REFUSED, "2026-01-05 24:00": REFUSED,
        "2026-02-30": REFUSED, "0000-01-01": REFUSED, "12026-01-01": REFUSED, "-2026-01-01": REFUSED, "05/01/2026": REFUSED, "2026-01-05 10:00 CST": REFUSED,
    },
    "position": {"None": None, "1": 1, "1.0": 1, " 007 ": 7, "-3": -3, "1.5": REFUSED, "2147483648": REFUSED, "first": REFUSED, "1e3": REFUSED},
    "year": {"NA": None, " null ": None, "#N/A": None, "1e3": 1000.0, " 7 ": 7.0, ".5": 0.5, "-inf": -math.inf, "1d": REFUSED, "0x1p3": REFUSED, "1,5": REFUSED, "1_0": REFUSED, "true": REFUSED},
    "genres": {
        "a|b": ["a", "b"], "a": ["a"], '["a", "b"]': ["a", "b"], "['a', 'b']": ["a", "b"], '["a|b", "x]"]': ["a|b", "x]"], "[]": [], "": None, '[1, "x"]': ["1", "x"],
        "[a]": REFUSED, '["a"],["b"]': REFUSED, '["a"': ['["a"'], "a||b": REFUSED, "NA": ["NA"], "[REC]": REFUSED, '{"a": 1}': REFUSED, '{"a|b": 1}': REFUSED, '["a", {"b": 1}]': REFUSED, "a|[1]": REFUSED, '["a", null]': REFUSED, '[["a"]]': REFUSED,
    },
    "vector": {
        "0.5|2": [0.5, 2.0], "[0.5, 2, 1e2]": [0.5, 2.0, 100.0], '["0.5"]': [0.5], "0.1|abc|0.3": REFUSED, '[1, "x"]': REFUSED, "[0.5 2.0]": REFUSED, "[1, null]": REFUSED, "NA": None, '{"a": 1}': REFUSED,
    },
}  # fmt: skip


def test_each_cell_is_read_as_it_was_meant_or_its_row_refused(spark: SparkSession, tmp_path: Path) -> None:
    names = ITEMS.fieldNames()[1:]
    cells = [(name, cell) for name, values in CELLS.items() for cell in values]
    with open(tmp_path / "items.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({"item_id": f"{number}", name: cell} for number, (name, cell) in enumerate(cells))
    with parsed(spark, tmp_path / "items.csv", ITEMS, "items").read() as found:
        rows = {int(row.item_id): row for row in utc(found.rows).collect()}
    got = {cell: REFUSED if rows[n].reason else rows[n][cell[0]] for n, cell in enumerate(cells)}
    wanted = {cell: CELLS[cell[0]][cell[1]] for cell in cells}
    assert {cell: got[cell] for cell in cells if got[cell] != wanted[cell]} == {}
    assert {row.reason for row in rows.values() if row.reason} == {
        *(f"{name} is not of type {ITEMS[name].dataType.simpleString()}" for name in CELLS),
        "genres has an element that is missing or not of type string",
        "genres has an element that is a list or an object",
        "vector has an element that is missing or not of type float",
    }


def test_numbers_of_parquet_are_read_as_whole_numbers_and_truth_values(spark: SparkSession, tmp_path: Path) -> None:
    """pandas makes a column of integers or truth values with a missing one a column of fractions."""
    whole = {
        "item_id": [1, 2, 3, 4],
        "available": [1.0, 0.0, None, 2.0],
        "position": [1.0, None, 2.0, 1.0],
        "year": [1, 2, 3, 4],
    }
    frame = pd.DataFrame({**whole, "genres": [["a"], [], ["c", None], None], "vector": [[1.5], [2.0], [3.0], [4.0]]})
    frame["published_at"] = pd.to_datetime("2026-01-01")
    frame.to_parquet(tmp_path / "items.parquet")
    rows, refused = read(spark, tmp_path / "items.parquet", ITEMS, "clicks")
    day = dt.datetime(2026, 1, 1)
    assert rows == [("1", True, day, 1, 1.0, ["a"], [1.5]), ("2", False, day, None, 2.0, [], [2.0])]
    assert refused == {
        "available is not of type boolean": 1,
        "genres has an element that is missing or not of type string": 1,
    }


def test_elements_of_parquet_lists_that_cannot_be_cast_refuse_their_row(spark: SparkSession, tmp_path: Path) -> None:
    table = {
        "item_id": ["a", "b"],
        "year": [1.0, 1.0],
        "genres": [["x"], ["y"]],
        "vector": [["0.5", "x"], ["0.5", "1"]],
    }
    pq.write_table(pa.table(table), tmp_path / "items.parquet")
    rows, refused = read(spark, tmp_path / "items.parquet", ITEMS, "clicks")
    assert [(row[0], row[-1]) for row in rows] == [("b", [0.5, 1.0])]
    assert refused == {"vector has an element that is missing or not of type float": 1}


def test_of_several_rows_of_an_item_the_greatest_counts(spark: SparkSession, tmp_path: Path) -> None:
    rows = [
        ["i1", "false", "2000"],
        ["i1", "true", "1999"],
        ["i1", "true", "2000"],
        ["i1", "true", "2000"],
        ["i2", "", ""],
        ["", "", ""],
        ["", "", ""],
    ]
    for number, order in enumerate(
        (rows, rows[::-1])
    ):  # not by their order, which is lost when a file is read in parts
        path = tmp_path / f"{number}.csv"
        pd.DataFrame(order, columns=["item_id", "available", "year"]).assign(genres="", vector="").to_csv(
            path, index=False
        )
        accepted, refused = read(spark, path, ITEMS, "items")
        assert [(row[0], row[1], row[4]) for row in accepted] == [("i1", True, 2000.0), ("i2", True, None)]
        assert refused == {"another row of this item_id was used": 3, "item_id is missing": 2}
