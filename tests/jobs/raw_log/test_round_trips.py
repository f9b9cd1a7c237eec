"""Random rows, written by every usual writer in files that differ, are read as they were or refused: never as others."""

from __future__ import annotations

import datetime as dt
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from jobs.lake.tables.table import DATE, STRING, struct
from jobs.raw_log.values import MISSING_WORDS
from tests.jobs.raw_log.reading import ITEMS, parsed, utc
from tests.jobs.raw_log.writers import WRITERS

CONTRACT = struct(ds=DATE, user_id=STRING, **{field.name: field.dataType for field in ITEMS if field.name != "ds"})
COLUMNS = CONTRACT.fieldNames()[1:]
MAY_BE_ABSENT = ["available", "published_at", "position"]
ADDITIONAL = ["device.type", "a `quoted` name", "item_id "]
ROWS = 120  # of a file
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TEXT = ANY_TEXT | st.text("\"',\\\n\r\t |[]{}=;#ab01.e+-ü\ufffd\0\ufeff", max_size=8)
NUMBER = st.integers(-(2**20), 2**20).map(lambda number: number / 64)  # exact in 32 bits, and in few digits
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "user_id": TEXT | st.integers(-(2**70), 2**70).map(str) | st.sampled_from(["", None, "12.0", "007", "nan", "NULL"]),
    "available": st.sampled_from([True, False, None]),
    "published_at": st.none() | st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)),
    "position": st.none() | st.integers(-(2**31), 2**31 - 1),
    "year": st.none() | NUMBER,
    "genres": st.none() | st.lists(TEXT, max_size=3),
    "vector": st.none() | st.lists(NUMBER, max_size=3),
}
POOLS = st.fixed_dictionaries({name: st.lists(value, min_size=10, max_size=40) for name, value in VALUES.items()})


def without_nul(pools: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """The values of a CSV file, which is refused as a whole if it has the character NUL."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(element) for element in value]
        return value.replace("\0", "0") if isinstance(value, str) else value

    return {name: [cleaned(value) for value in values] for name, values in pools.items()}


def rows_of(pools: Mapping[str, list[Any]], first: int) -> list[dict[str, Any]]:
    """Rows that combine the values of the pools; item_id is their number."""
    numbers = range(first, first + ROWS)
    additional = dict.fromkeys(ADDITIONAL, "x")
    return [
        {"item_id": str(n), **additional, **{name: pool[n % len(pool)] for name, pool in pools.items()}}
        for n in numbers
    ]


def must_be_refused(row: Mapping[str, Any]) -> bool:
    is_fraction = re.fullmatch(r"-?(\d+\.0+|\d(\.\d+)?[eE]\+\d+)", row["user_id"] or "", re.ASCII)
    texts = [row["user_id"] or "", *(row["genres"] or [])]
    return (
        row["user_id"] in ("", None, *MISSING_WORDS)
        or bool(is_fraction)
        or "" in texts
        or any(map(is_structure, texts))
    )


def is_structure(text: str) -> bool:
    """Whether a text is a list or an object in JSON."""
    try:
        return isinstance(json.loads(text), list | dict)
    except ValueError:
        return False


def is_bracketed(text: str) -> bool:
    """Whether a text may be a list or an object as some program prints it."""
    return text.lstrip()[:1] in ("[", "{")


def may_be_refused(row: Mapping[str, Any], form: str) -> bool:
    """In CSV a \\r may be part of a line end, and lists as Python prints them have its escapes and quotes."""
    texts = [row["user_id"] or "", *(row["genres"] or [])]
    return any(map(is_bracketed, texts)) or (
        form == "csv" and any("\r" in text or not text.isalnum() for text in texts)
    )


def expected(row: Mapping[str, Any], columns: list[str], form: str) -> dict[str, Any]:
    value = {name: row[name] if name in columns else None for name in COLUMNS}
    value["available"] = True if value["available"] is None else value["available"]
    return value


def check(spark: SparkSession, form: str, data: st.DataObject) -> None:
    written, number = {}, 0
    with tempfile.TemporaryDirectory() as folder:
        for writer in WRITERS[form]:
            pools = data.draw(POOLS)
            rows = rows_of(without_nul(pools) if form == "csv" else pools, number)
            absent = data.draw(st.sets(st.sampled_from(MAY_BE_ABSENT)))
            columns = [name for name in COLUMNS if name not in absent]
            names = data.draw(st.permutations(columns + data.draw(st.lists(st.sampled_from(ADDITIONAL), unique=True))))
            writer(spark, Path(folder, str(number)), rows, names)
            written |= {row["item_id"]: (row, expected(row, columns, form)) for row in rows}
            number += ROWS
        with parsed(spark, Path(folder), CONTRACT, "clicks", file_format=form.split()[0]).read() as file:
            accepted = {row.item_id: row.asDict() for row in utc(file.accepted.drop("ds")).collect()}
            refused = sum(file.refusals().values())
    others = [
        {
            name: (written[item_id][1][name], value)
            for name, value in found.items()
            if value != written[item_id][1][name]
        }
        for item_id, found in accepted.items()
    ]
    assert [other for other in others if other][:5] == []
    assert len(accepted) + refused >= len(written)
    for item_id, (row, _) in written.items():
        if must_be_refused(row):
            assert item_id not in accepted, row
        elif not may_be_refused(row, form):
            assert item_id in accepted, row


SCALARS = TEXT | st.integers(-(2**70), 2**70) | st.booleans()
KINDS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2))
WORD = st.text("ab01", min_size=1, max_size=4)
MIXED: dict[str, st.SearchStrategy[Any]] = {
    "user_id": WORD | KINDS,
    "year": NUMBER | st.none() | st.sampled_from(["NA", "1.5", {}, {"a": 1}, [1]]),
    "genres": WORD | st.lists(WORD) | st.none() | KINDS,
    "vector": st.lists(NUMBER, max_size=2) | NUMBER | st.none() | st.sampled_from(["NA", "1.5", {}, [{"a": 1}], [[1]]]),
}
MIXED_POOLS = st.fixed_dictionaries({n: st.lists(value, min_size=20 + 3 * len(n)) for n, value in MIXED.items()})


def text_of(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def meant(row: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a row may land with, if it lands; KeyError if it must not. A scalar is a list of one."""
    lists = {name: row[name] if isinstance(row[name], list) else [row[name]] for name in ("genres", "vector")}
    if any(
        isinstance(value, list | dict) for value in (row["user_id"], row["year"], *lists["genres"], *lists["vector"])
    ):
        raise KeyError(f"a list or an object in the place of one value: {row}")
    genres = None if row["genres"] is None else [text_of(value) for value in lists["genres"]]
    return {"user_id": text_of(row["user_id"]), "genres": genres}


def check_mixed(spark: SparkSession, pools: Mapping[str, list[Any]], landed: list[int]) -> None:
    """Values of another kind in each line land as they were meant, or their rows are refused: never as other text.

    Adds the number of rows that landed to `landed`.
    """
    rows = [{"item_id": str(n), **{name: pool[n % len(pool)] for name, pool in pools.items()}} for n in range(5 * ROWS)]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
        with parsed(spark, Path(folder), CONTRACT, "clicks").read() as file:
            accepted = {int(row.item_id): row for row in utc(file.accepted).collect()}
    for number, found in accepted.items():
        wanted = meant(rows[number])
        assert found.user_id == wanted["user_id"], rows[number]
        is_plain = not isinstance(rows[number]["genres"], str) or rows[number]["genres"].isalnum()
        assert not is_plain or found.genres == wanted["genres"], rows[number]
    landed.append(len(accepted))


FEW = settings(
    max_examples=2, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],  # not to shrink: a read by Spark takes about a second, however few rows it has
)  # fmt: skip


@pytest.mark.parametrize("form", WRITERS)
def test_rows_are_read_as_they_were_written_or_refused(spark: SparkSession, form: str) -> None:
    FEW(given(st.data())(lambda data: check(spark, form, data)))()


def test_json_values_of_mixed_kinds_land_as_they_were_meant_or_not_at_all(spark: SparkSession) -> None:
    landed: list[int] = []
    FEW(given(MIXED_POOLS)(lambda pools: check_mixed(spark, pools, landed)))()
    assert max(landed) > 20


@pytest.mark.slow
def test_many_json_values_of_mixed_kinds(spark: SparkSession) -> None:
    settings(FEW, max_examples=25)(given(MIXED_POOLS)(lambda pools: check_mixed(spark, pools, [])))()


@pytest.mark.slow
@pytest.mark.parametrize("form", WRITERS)
def test_many_rows_are_read_as_they_were_written_or_refused(spark: SparkSession, form: str) -> None:
    settings(FEW, max_examples=25)(given(st.data())(lambda data: check(spark, form, data)))()
