"""Own columns and expressions become the contract's, and what cannot be used is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.config.loading import Config, load_config
from jobs.config.mapping import Mapping, with_assignments
from jobs.raw_log.mapping.table_mapping import FAULT, mapped, prepared

FIELDS = ["impression_id", "request_id", "user_id", "item_id", "position", "impressed_at"]


@pytest.fixture(scope="module")
def rows(spark: SparkSession) -> DataFrame:
    schema = "uid string, `device.type` string, rating string, n int, items array<int>, prices array<double>, ts string"
    return spark.createDataFrame(
        [("u1", "tv", "2.5", 1, [7, 8], [0.5, 1.5], "1767607200"), ("u2", "pc", "4", None, [9], [2.5], "soon")], schema
    ).coalesce(1)


def config_with(*assignments: str) -> Mapping:
    return with_assignments(load_config().mapping, assignments)


def landed(rows: DataFrame, *assignments: str, fields: list[str] = FIELDS) -> list[Row]:
    section = config_with(*(f"impressions.{text}" for text in assignments)).impressions
    key = "mapping.impressions"
    got = mapped(prepared(rows, section, key), section, key, fields)
    return (got.rows if got.faults else got.rows.withColumn(FAULT, F.lit(None))).collect()


def test_columns_by_name_and_by_expression(rows: DataFrame) -> None:
    first, second = landed(rows, "user_id=uid", "item_id=device.type", "request_id=concat(uid, '-', n)", "position=n+1")
    assert (first.user_id, first.item_id, first.request_id, first.position) == ("u1", "tv", "u1-1", 2)
    assert (second.request_id, second.position) == (None, None)
    assert (first.rating, first.uid, first[FAULT]) == ("2.5", "u1", None)  # the file's own columns follow


def test_lists_are_exploded_together(rows: DataFrame) -> None:
    assignments = (
        "explode.item=items",
        "explode.price=prices",
        "item_id=item",
        "position=list_position",
        "request_id=price",
    )
    got = [(row.uid, row.item_id, row.request_id, row.position) for row in landed(rows, *assignments)]
    assert got == [("u1", 7, 0.5, 1), ("u1", 8, 1.5, 2), ("u2", 9, 2.5, 1)]
    assert "items" not in landed(rows, *assignments)[0].asDict()  # which each element would repeat


def test_a_text_is_exploded_as_the_contract_reads_it_and_one_that_is_no_list_stays(spark: SparkSession) -> None:
    texts = [("a", '["x, y", "z"]'), ("b", "x|y"), ("c", "[]"), ("d", None), ("e", '["x"')]
    rows = spark.createDataFrame(texts, "user_id string, shown string").coalesce(1)
    got = [(row.user_id, row.item_id) for row in landed(rows, "explode.item_id=shown")]
    assert got == [("a", "x, y"), ("a", "z"), ("b", "x"), ("b", "y"), ("e", '["x"')]
    rows = spark.createDataFrame([("f", "[{]")], "user_id string, shown string")
    assert [(row.user_id, row.item_id) for row in landed(rows, "explode.item_id=shown")] == [("f", None)]


def test_a_list_that_is_missing_beside_another_is_empty_and_one_that_is_none_refuses_its_row(
    spark: SparkSession,
) -> None:
    texts = [("a", ["x", "y"], None), ("b", None, "1"), ("c", ["x", "y"], "[{]"), ("d", None, None), ("e", [], "")]
    rows = spark.createDataFrame(texts, "user_id string, shown array<string>, prices string").coalesce(1)
    got = landed(rows, "explode.item_id=shown", "explode.price=prices")
    assert [(row.user_id, row.item_id) for row in got] == [("a", "x"), ("a", "y"), ("b", None), ("c", None)]
    got = landed(rows, "explode.item_id=from_json(prices, 'array<string>')")
    assert [(row.user_id, row.item_id) for row in got] == [("b", None), ("c", None)]  # Spark would lose them


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("user_id=uidd", "impressions.user_id: there is no column 'uidd'; did you mean uid\\?; the file has \\['uid', 'dev"),
        ("user_id=upper(device.type)", "there is no column 'device.type'; did you mean `device.type`"),
        ("user_id=upper(uidd)", "there is no column 'uidd'; did you mean uid"),
        ("usr_id=uid", "mapping.impressions.usr_id: the contract has no such column; did you mean user_id\\?"),
        ("user_id=upper(uid", "must be a column or an expression of Spark SQL, got 'upper\\(uid'"),
        ("user_id=uid, n", "must be a column or an expression of Spark SQL"),
        ("user_id=*", "must be a column or an expression"),
        ("user_id=uppr(uid)", "Spark SQL has no function `uppr`"),
        ("user_id=uid + items", "must be a column or an expression.*ARRAY"),
        ("position=max(n)", "must give one value per row"),
        ("position=row_number() over (order by n)", "must give one value per row"),
        ("position=(select 1)", "must give one value per row"),
        ("position=n in (select 1)", "must give one value per row"),
        ("item_id=explode(items)", "must give one value per row"),
        ("position=rand()", "must give the same value whenever"),
        ("user_id=uuid()", "must give the same value whenever"),
        ("impressed_at=now()", "must give the same value whenever"),
        ("impressed_at=current_timestamp", "must give the same value whenever"),
        ("impressed_at=timestamp'today'", "must give the same value whenever"),
        ("impressed_at=coalesce(try_cast(ts as timestamp), 'now')", "must give the same value whenever"),
        ("position=hour('Now UTC')", "must give the same value whenever"),
        ("impressed_at=to_date('today')", "must give the same value whenever"),
        ("position=unix_timestamp()", "must give the same value whenever"),
        ("where=n + 1", "mapping.impressions.where must be a condition, got int"),
        ("explode.item=n", "mapping.impressions.explode.item must be a list, got int"),
        ("explode.uid=items", "uid and list_position must be new names"),
        ('impressed_at={column = "tss", unit = "s"}', "there is no column 'tss'; did you mean ts"),
        ('impressed_at={column = "items", unit = "s"}', "must be a number, got array<int>"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_a_reason(rows: DataFrame, assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        landed(rows, assignment)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("user_id", "--map must be KEY=EXPRESSION"),
        ("impressions.user_id= ", "--map must be KEY=EXPRESSION"),
        ("impresions.user_id=uid", "mapping.impresions: no such key; did you mean impressions\\?; it has"),
        ("impressions.impressed_at={column = 'ts', unit = 'h'}", "'s', 'ms', 'us' or 'ns'"),
        ("impressions.impressed_at={column", "must be a table of TOML"),
        ("time_zone.x=y", "time_zone has no keys"),
        ("impressions.explode.Item=items", "String should match pattern"),
    ],
)
def test_assignments_of_another_form_are_refused(assignment: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config_with(assignment)


def test_the_mapping_of_the_configuration_survives_a_variant(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[mapping.items]\nitem_id = "movieId"\nyear = { column = "y", unit = "ms" }\n', "utf-8")
    config = load_config(str(own)).with_variant("uncorrected")
    assert config.mapping.items.columns == load_config(str(own)).mapping.items.columns
    assert config.mapping.items.columns["item_id"] == "movieId"
    own.write_text("[mapping.items]\nitem_id = 3\n", "utf-8")
    with pytest.raises(ValueError, match=r"mapping.items.item_id.*must be an expression of Spark SQL, or"):
        load_config(str(own))


def test_a_value_that_a_try_function_cannot_read_refuses_the_row(rows: DataFrame, spark: SparkSession) -> None:
    texts = spark.createDataFrame([("1",), ("x",), (None,)], "n string").coalesce(1)
    assert [row[FAULT] for row in landed(texts, "position=try_cast(n as int)")] == [
        None, "position cannot be computed from n", None,
    ]  # fmt: skip
    assert [row[FAULT] for row in landed(texts, "position=nullif(n, 'x')")] == [None, None, None]  # meant


def test_a_try_function_reads_an_empty_text_and_nan_as_missing(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("", float("nan")), ("1", 2.5)], "t string, x double").coalesce(1)
    assert [row[FAULT] for row in landed(rows, "position=try_cast(t as int)", "request_id=try_to_number(x, '9')")] == [
        None, "request_id cannot be computed from x",
    ]  # fmt: skip


def test_a_condition_that_a_try_function_cannot_read_refuses_the_row(spark: SparkSession) -> None:
    rows = spark.createDataFrame([("a", "5"), ("b", "four"), ("c", "1"), ("d", None)], "uid string, n string").coalesce(
        1
    )
    got = landed(rows, "user_id=uid", "where=try_cast(n as int) >= 4")
    assert [(row.uid, row[FAULT]) for row in got] == [
        ("a", None), ("b", "mapping.impressions.where cannot be computed from n"),
    ]  # fmt: skip


def test_rows_that_cannot_be_parsed_survive_a_condition_and_a_list(spark: SparkSession) -> None:
    rows = spark.createDataFrame(
        [("a", [1], None), (None, None, "{broken"), ("b", [], None)],
        "user_id string, items array<int>, _corrupt_record string",
    ).coalesce(1)
    got = landed(rows, "explode.item=items", "where=user_id = 'a'")
    assert [(row.user_id, row._corrupt_record) for row in got] == [("a", None), (None, "{broken")]


def test_no_expression_is_evaluated_on_a_row_that_cannot_be_parsed(spark: SparkSession) -> None:
    """Its cells may be shifted, and the error of one value stops the job."""
    rows = spark.createDataFrame([("1", "2", None), ("b", "c", "a,b,c")], "n string, m string, _corrupt_record string")
    got = landed(rows.coalesce(1), "position=n + 1", "where=m > 1", "explode.item_id=array(int(n))")
    assert [(row.position, row.item_id) for row in got] == [(2, 1), (None, None)]


def test_a_strict_contract_sees_the_columns_that_nothing_reads(rows: DataFrame) -> None:
    section = config_with("impressions.user_id=upper(uid)", "impressions.where=uid <> 'rating'").impressions
    file = prepared(rows, section, "mapping.impressions")
    got = mapped(file, section, "mapping.impressions", FIELDS, only_known=True).rows.columns
    assert "uid" not in got
    assert "rating" in got


def test_the_default_configuration_maps_nothing(config: Config) -> None:
    assert (config.mapping.time_zone, config.mapping.events.columns, config.mapping.items.columns) == ("UTC", {}, {})
