from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs import build_item_counts
from jobs.lake import tables
from jobs.lake.checks import CheckFailed, RowRules, findings, literal, overwrite_checked
from jobs.lake.errors import WriteConflict
from jobs.lake.files import NoSuchLake
from jobs.lake.integrity.delta_log import actions, commit_name
from jobs.lake.lake import Lake
from jobs.lake.session.settings import MARK

DAY = dt.date(2026, 1, 5)
COUNTS = tables.DAILY_ITEM_COUNTS


def test_a_day_that_breaks_a_rule_is_not_written(lake: Lake, spark: SparkSession) -> None:
    good = spark.createDataFrame([(DAY, "i2", 2, 5, 5, 3, 3)], COUNTS.schema)
    assert overwrite_checked(lake, COUNTS, DAY, good) == 1
    bad = spark.createDataFrame([(DAY, "i2", 2, 5, 5, 9, 3), (DAY, "i2", 2, 1, 1, 0, 4)], COUNTS.schema)
    with pytest.raises(CheckFailed, match="daily_item_counts of 2026-01-05 was not written: ") as failed:
        overwrite_checked(lake, COUNTS, DAY, bad)
    for rule in ("items with more than one row: 1", "items with more clicks or exposures than impressions: 1", "items with more examples than clicks: 1"):  # fmt: skip
        assert rule in str(failed.value)
    assert lake.day(COUNTS, DAY).collect() == good.collect()
    assert lake.version(COUNTS) == 0


def test_a_warning_is_said_and_the_day_is_written(
    lake: Lake, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    time = dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    row = (DAY, "a", "r", "u", "i", 1, time, False, None, None, time, True)
    overwrite_checked(lake, tables.INTERACTIONS, DAY, spark.createDataFrame([row], tables.INTERACTIONS.schema))
    assert "warning: interactions of 2026-01-05: a day without a single click: 1" in capsys.readouterr().out
    assert lake.day(tables.INTERACTIONS, DAY).count() == 1


def test_row_rules_are_checked_during_the_write(
    lake: Lake, spark: SparkSession, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are not cached, and nothing of a day that breaks a rule is committed."""
    monkeypatch.setattr("jobs.lake.checks.materialized", None)
    table, time = tables.INTERACTIONS, dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    shown = (DAY, "a", "r", "u", "i", 1, time, False, None, None, time, True)
    assert overwrite_checked(lake, table, DAY, spark.createDataFrame([shown], table.schema)) == 1
    assert "warning: interactions of 2026-01-05: a day without a single click: 1" in capsys.readouterr().out
    late = (DAY, "b", "r", "", "i", 2, time, True, time + dt.timedelta(hours=1), 2.0, time, True)
    unclicked = (DAY, "c", "r", "u", "i", 2, time, False, None, 2.0, time, True)
    with pytest.raises(CheckFailed, match="interactions of 2026-01-05 was not written: ") as failed:
        overwrite_checked(lake, table, DAY, spark.createDataFrame([late, unclicked, shown], table.schema))
    for rule in ("without a user or an item: 1", "after their attribution window: 1", "rewards without a click: 1"):
        assert rule in str(failed.value)
    assert lake.version(table) == 0
    assert [row.impression_id for row in lake.day(table, DAY).collect()] == ["a"]


def test_rules_that_compare_rows_are_checked_in_files_that_are_not_committed_yet(
    lake: Lake, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are neither cached nor computed twice, and no reader sees a day that breaks a rule."""
    monkeypatch.setattr("jobs.lake.checks.materialized", None)
    sound = spark.createDataFrame([(DAY, f"i{n}", n, 5, 5, 3, 3) for n in (2, 3)], COUNTS.schema)
    assert overwrite_checked(lake, COUNTS, DAY, sound) == 2  # also the first commit of a table
    computed = spark.sparkContext.accumulator(0)
    once = F.udf(lambda item: computed.add(1) or item, "string").asNondeterministic()
    twice = sound.withColumn("item_id", once("item_id")).withColumn("item_index", F.lit(2)).repartition(3)
    assert overwrite_checked(lake, COUNTS, DAY, twice) == 2
    assert computed.value == 2
    with pytest.raises(CheckFailed, match="items with more than one row: 1"):
        overwrite_checked(lake, COUNTS, DAY, twice.withColumn("item_id", F.lit("i2")).repartition(3))
    assert lake.version(COUNTS) == 1
    assert sorted(row.item_id for row in lake.day(COUNTS, DAY).collect()) == ["i2", "i3"]
    assert overwrite_checked(lake, COUNTS, DAY, sound.where("false")) == 0
    assert not lake.has_day(COUNTS, DAY)


def test_a_writer_who_commits_between_check_and_commit_is_not_overwritten(lake: Lake, spark: SparkSession) -> None:
    mine, theirs = (spark.createDataFrame([(DAY, item, 2, 5, 5, 3, 3)], COUNTS.schema) for item in ("i2", "i3"))
    for version in range(2):  # the first commit of a table, and a later one
        with pytest.raises(WriteConflict, match=r"another writer changed .*daily_item_counts in the meantime"):
            lake.overwrite(COUNTS, DAY, mine, lambda _: Lake(spark, lake.uri).overwrite(COUNTS, DAY, theirs) and None)
        assert lake.version(COUNTS) == version
        assert [row.item_id for row in lake.day(COUNTS, DAY).collect()] == ["i3"]


def test_a_commit_after_checks_says_what_a_commit_of_spark_says(lake: Lake, spark: SparkSession) -> None:
    rows, infos = spark.createDataFrame([(DAY, "i2", 2, 5, 5, 3, 3)], COUNTS.schema), []
    spark.conf.set(MARK, "of this run")
    try:
        for check in (None, None, lambda _: None):  # the first one makes the table
            lake.overwrite(COUNTS, DAY, rows, check)
            log = Path(lake.table_path(COUNTS), "_delta_log", commit_name(lake.version(COUNTS)))
            infos += [action["commitInfo"] for action in actions(log.read_bytes()) if "commitInfo" in action]
    finally:
        spark.conf.unset(MARK)
    for name in ("operation", "operationParameters", "userMetadata", "isBlindAppend"):
        assert infos[1][name] == infos[2][name]
    numbers = [{key: info["operationMetrics"][key] for key in ("numFiles", "numOutputRows")} for info in infos[1:]]
    assert numbers[0] == numbers[1]


def test_rows_are_checked_whatever_the_name_of_the_lake(spark: SparkSession, tmp_path: Path) -> None:
    """Spark would expand a `[` in the name of a written file, so the rows are materialized first."""
    lake = Lake(spark, str(tmp_path / "[x]"))
    rows = [(DAY, "i2", 2, 5, 5, 3, 3)]
    assert overwrite_checked(lake, COUNTS, DAY, spark.createDataFrame(rows, COUNTS.schema)) == 1
    with pytest.raises(CheckFailed, match="items with more than one row: 1"):
        overwrite_checked(lake, COUNTS, DAY, spark.createDataFrame(rows * 2, COUNTS.schema))
    assert lake.row_count(COUNTS, DAY) == 1


def test_a_rule_is_not_applied_to_rows_that_a_query_leaves_out(lake: Lake, spark: SparkSession) -> None:
    table, time = tables.INTERACTIONS, dt.datetime.combine(DAY, dt.time(9), dt.UTC)
    good = (DAY, "a", "r", "u", "i", 1, time, False, None, None, time, True)
    bad = (DAY, "b", "r", "", "", 2, time, False, None, None, time, True)
    rows = spark.createDataFrame([good, bad], table.schema)
    left_out = spark.createDataFrame([("b",)], "impression_id string")
    assert overwrite_checked(lake, table, DAY, rows.join(left_out, "impression_id", "left_anti")) == 1


def test_which_checks_need_no_second_pass() -> None:
    rules = RowRules.of("interactions")
    assert rules is not None
    assert len(rules.violated) == 4
    assert list(rules.warnings) == ["#warn a day without a single click"]
    assert RowRules.of("daily_item_counts") is None  # items are compared with each other
    assert RowRules.of("unclicked_items") is None
    assert RowRules.of("item_sampling_probs") is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unclicked_items", {"exposures": 0}),
        ("item_sampling_probs", {"q": float("nan"), "u": 1.0, "p": 0.0, "q_before": 0.0, "q_last": 0.0}),
        ("item_sampling_probs", {"q": 1.0, "u": 0.5, "p": 0.0, "q_before": 1.0, "q_last": 1.0}),
        ("vocabularies", {"index": 1}),
        ("training_examples", {"weight": -1.0}),
        ("user_histories", {"history": [0]}),
        ("daily_item_pairs", {"other_index": 2}),
        ("daily_item_pairs", {"weight": 0.0}),
    ],
)
def test_each_table_knows_its_faults(spark: SparkSession, name: str, values: dict[str, object]) -> None:
    sound = {
        "ds": DAY, "user_id": "u", "item_id": "i", "item_index": 2, "user_index": 2, "index": 2, "feature": "f", "value": "v",
        "exposures": 3, "clicks": 1, "weight": 1.0, "unclicked": [3], "history": [2], "other_index": 3,
    }  # fmt: skip
    counts = spark.createDataFrame([("i9", 1)], "item_id string, clicks int")
    frames = {"window_item_counts": counts} if name == "unclicked_items" else {}

    def found(row: dict[str, object]) -> list[str]:
        rows = spark.createDataFrame([row], ", ".join(f"{key} {kind(value)}" for key, value in row.items()))
        return [finding.rule for finding in findings(rows, name, frames) if finding.level == "#fail "]

    clicked = {"clicked": None} if name == "user_histories" else {}
    row = {**sound, **clicked}
    if name != "item_sampling_probs":
        assert found(row) == []
    else:
        assert found({**row, "q": 1.0, "q_before": 1.0, "q_last": 0.0, "u": 1.0, "p": 1.0}) == []
    assert found({**row, **values}) != []


def kind(value: object) -> str:
    kinds = {int: "int", float: "double", str: "string", dt.date: "date", list: "array<int>"}
    return kinds.get(type(value), "array<struct<ds: date, item_indices: array<int>>>")


def test_each_table_that_a_day_makes_has_checks() -> None:
    for name in (
        "interactions", "reconciliation", "vocabularies", "user_snapshot", "item_snapshot", "training_examples",
        "user_histories", "daily_item_pairs", "daily_item_counts", "window_item_counts", "unclicked_items",
        "item_sampling_probs", "item_neighbours",
    ):  # fmt: skip
        text = sql.read(f"{name}/checks")
        assert "`#fail " in text, name


def test_a_job_says_what_is_wrong_in_one_line(lake: Lake, spark: SparkSession) -> None:
    with pytest.raises(NoSuchLake, match=f"there is no lake at {lake.uri}"):
        build_item_counts.main(["--lake", lake.uri, "--ds", str(DAY)])
    overwrite_checked(lake, COUNTS, DAY, spark.createDataFrame([(DAY, "i2", 2, 5, 5, 3, 3)], COUNTS.schema))
    with pytest.raises(ValueError, match="interactions has no row for 2026-01-05"):
        build_item_counts.main(["--lake", lake.uri, "--ds", str(DAY)])


@pytest.mark.parametrize(
    ("fail", "condition"),
    [("count_if(a in (1, 2))", "a in (1, 2)"), ("count_if(a = ')(')", "a = ')('"), ("count_if(a) - count_if(b)", None)],
)
def test_only_a_count_of_one_condition_is_checked_row_by_row(
    fail: str, condition: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql, "read", lambda name: f"select\n  {fail} as `#fail an item's rule`\nfrom {{rows}}")
    rules = RowRules.of("some_table")
    assert (None if rules is None else rules.violated) == (condition and {"an item's rule": condition})


def test_a_text_in_sql_keeps_its_quotes() -> None:
    assert literal("an item's \\ rule") == r"'an item\'s \\ rule'"
