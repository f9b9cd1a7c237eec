from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import evaluate_candidates
from jobs.config.loading import Config
from jobs.evaluate_candidates import day_evaluation
from jobs.inference import evaluation
from jobs.inference.eligibility import count_too_old
from jobs.inference.evaluation import lists_of_clickers, oracle_lists, popular_lists
from jobs.inference.evaluation import ranking_metrics as metrics_of_lists
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.queries import query
from model.metrics import ranking_metrics
from tests.conftest import DAYS, SMALL

DAY = dt.date(2026, 1, 5)
AT = [1, 3, 7]
EXCLUDED = "user_id string, excluded array<int>"
RELEVANT = (
    "user_id string, item_id string, item_slice string, "
    "is_known boolean, never_clicked boolean, is_new boolean, is_cold boolean"
)


def test_the_metrics_in_sql_equal_those_of_the_model_package(spark: SparkSession) -> None:
    """`model.metrics` itself is tested against torchmetrics."""
    random = np.random.default_rng(3)
    ranked = np.array([random.permutation(30)[:7] for _ in range(60)])
    relevant = [random.choice(30, size=random.integers(1, 9), replace=False) for _ in range(60)]
    lists = spark.createDataFrame(
        [(f"u{n}", [f"i{i}" for i in row]) for n, row in enumerate(ranked)], "user_id string, item_ids array<string>"
    )
    pairs = [(f"u{n}", f"i{i}", "head", True, False, False, False) for n, row in enumerate(relevant) for i in row]
    clicked = spark.createDataFrame(pairs, RELEVANT)
    found = metrics_of_lists(clicked, lists, AT)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in relevant])])
    wanted = ranking_metrics(ranked, (np.concatenate(relevant), offsets), AT)
    rows = {f"{row.metric}@{row.k}": row for row in found.where("slice = 'all'").collect()}
    assert set(rows) == set(wanted)
    for name, values in wanted.items():
        assert rows[name].value == pytest.approx(np.nanmean(values), abs=1e-12), name
        assert rows[name].users == 60


def analyzed(rows: DataFrame) -> str:
    return str(rows._jdf.queryExecution().analyzed().toString())


def optimized(rows: DataFrame) -> str:
    return str(rows._jdf.queryExecution().optimizedPlan().toString())


def test_lists_of_users_without_a_click_are_not_shuffled(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of tables too large for Spark to broadcast them without being told to."""
    key = "spark.sql.autoBroadcastJoinThreshold"
    before = spark.conf.get(key)
    spark.conf.set(key, "-1")
    try:
        lists = spark.range(1_000).selectExpr("concat('u', id) as user_id", "array('a') as item_ids")
        clicked = spark.range(20).selectExpr("concat('u', id % 5 * 400) as user_id", "concat('i', id) as item_id")
        kept = lists_of_clickers(lists, clicked, 20)
        plan = kept._jdf.queryExecution().executedPlan().toString()  # type: ignore[operator]
        joins = [name for name in ("BroadcastHashJoin", "ShuffledHashJoin", "SortMergeJoin") if name in plan]
        assert joins == ["BroadcastHashJoin"]
        assert sorted(row.user_id for row in kept.collect()) == ["u0", "u400", "u800"]
    finally:
        spark.conf.set(key, before)
    monkeypatch.setattr(evaluation, "MAX_BROADCAST_USERS", 5)
    assert "ResolvedHint (strategy=broadcast)" in analyzed(lists_of_clickers(lists, clicked, 20))  # of five users
    monkeypatch.setattr(evaluation, "MAX_BROADCAST_USERS", 4)
    kept = lists_of_clickers(lists, clicked, 20)
    assert "ResolvedHint" not in analyzed(kept)
    assert sorted(row.user_id for row in kept.collect()) == ["u0", "u400", "u800"]


def test_slices_look_only_at_their_own_clicks(spark: SparkSession) -> None:
    lists = spark.createDataFrame([("u1", ["a", "b"])], "user_id string, item_ids array<string>")
    clicked = spark.createDataFrame(
        [
            ("u1", "a", "head", True, False, True, False),
            ("u1", "z", "tail", True, True, False, False),
            ("u2", "b", "head", True, False, False, True),
        ],
        RELEVANT,
    )
    found = metrics_of_lists(clicked, lists, AT)
    recall = {row.slice: (row.value, row.users) for row in found.where("metric = 'recall' and k = 3").collect()}
    assert recall == {
        "all": (0.25, 2),
        "head": (0.5, 2),
        "tail": (0.0, 1),
        "never_clicked": (0.0, 1),
        "new_items": (1.0, 1),
        "warm_users": (0.5, 1),
        "cold_users": (0.0, 1),
    }


@pytest.fixture
def probabilities(spark: SparkSession) -> DataFrame:
    clicks = {"a": 50, "b": 20, "c": 20, "d": 5, "e": 5, "f": 0}
    rows = [(DAY, item, n, count, *[0.0] * 5) for n, (item, count) in enumerate(clicks.items(), 2)]
    return spark.createDataFrame(rows, tables.ITEM_SAMPLING_PROBS.schema)


@pytest.fixture
def slices(spark: SparkSession, probabilities: DataFrame) -> DataFrame:
    shares = {"head_share": 0.5, "middle_share": 0.3}
    return query(spark, "evaluation/item_slices", {"item_sampling_probs": probabilities}, **shares)


def test_items_fall_into_slices_by_the_clicks_before_them(slices: DataFrame) -> None:
    assert {row.item_id: row.slice for row in slices.collect()} == {
        "a": "head",
        "b": "middle",
        "c": "middle",
        "d": "tail",
        "e": "tail",
        "f": "tail",
    }


def test_coverage_of_clicked_items_counts_each_item_once_and_no_list_of_users_without_clicks(
    spark: SparkSession,
) -> None:
    lists = spark.createDataFrame([("u1", ["a", "b", "c"]), ("u3", ["d"])], "user_id string, item_ids array<string>")
    clicked = spark.createDataFrame(
        [
            ("u1", "a", "head", True, False, False, False),
            ("u2", "a", "head", True, False, False, False),
            ("u2", "c", "tail", True, True, True, False),
            ("u2", "d", "tail", True, True, False, False),
            ("u2", "unknown", "tail", False, False, False, False),
        ],
        RELEVANT,
    )
    frames = {"relevant": clicked, "lists": lists_of_clickers(lists, clicked, 5)}
    coverage = query(spark, "evaluation/clicked_item_coverage", frames, k=2)
    assert optimized(coverage).count("LeftSemi") == 1  # the lists are filtered once
    assert {row.slice: (row.value, row.users) for row in coverage.collect()} == {
        "all": (pytest.approx(2 / 3), 2),
        "never_clicked": (0.5, 1),
        "new_items": (1.0, 1),
    }


def test_popularity_leaves_out_what_was_clicked_and_what_is_gone(spark: SparkSession, slices: DataFrame) -> None:
    items = spark.createDataFrame([(item, item != "b") for item in "abcdef"], "item_id string, available boolean")
    relevant = spark.createDataFrame([("u1", "x"), ("u2", "y")], "user_id string, item_id string")
    histories = spark.createDataFrame([("u1", [2, 4])], EXCLUDED)
    rows = {row.user_id: row.item_ids for row in popular_lists(relevant, slices, items, histories, 3).collect()}
    assert rows == {"u1": ["d", "e", "f"], "u2": ["a", "c", "d"]}


def test_popularity_has_full_lists_whatever_the_number_of_exclusions(spark: SparkSession) -> None:
    """Also around the lengths at which a user gets twice as much of the shared ranking."""
    names = [f"i{n:03}" for n in range(200)]
    ranking = [(name, n, 1000 - n, "tail") for n, name in enumerate(names)]
    slices = spark.createDataFrame(ranking, "item_id string, item_index int, clicks long, slice string")
    items = spark.createDataFrame([(name, True) for name in names], "item_id string, available boolean")
    counts = [0, 1, 2, 3, 4, 9, 10, 93, 94, 190, 198, 200]
    relevant = spark.createDataFrame([(f"u{n}", "x") for n in counts], "user_id string, item_id string")
    histories = spark.createDataFrame([(f"u{n}", list(range(n))) for n in counts if n], EXCLUDED)
    rows = {row.user_id: row.item_ids for row in popular_lists(relevant, slices, items, histories, 3).collect()}
    assert rows == {f"u{n}": names[n : n + 3] for n in counts}


def test_popularity_hashes_the_exclusions_of_a_user_once(spark: SparkSession, slices: DataFrame) -> None:
    """Within the filter's function Spark would do it for each item: a minute for a user with 100,000 exclusions."""
    items = spark.createDataFrame([("a", True)], "item_id string, available boolean")
    relevant = spark.createDataFrame([("u1", "a")], "user_id string, item_id string")
    histories = spark.createDataFrame([("u1", [2])], EXCLUDED)
    lists = popular_lists(relevant, slices, items, histories, 3)
    plan = optimized(lists)
    assert plan.count("array_except(") == 1
    assert "transform(array(slice(array_except(" in plan


def test_coverage_and_shares_of_lists_are_those_of_their_items(spark: SparkSession, slices: DataFrame) -> None:
    items = spark.createDataFrame([(item, item != "e") for item in "abcdef"], "item_id string, available boolean")
    lists = spark.createDataFrame([("u1", ["a", "f"]), ("u2", ["a", "b"])], "user_id string, item_ids array<string>")
    rows = query(
        spark, "evaluation/list_metrics", {"lists": lists, "item_slices": slices, "item_snapshot": items}, k=2
    ).collect()
    assert {(row.metric, row.slice): row.value for row in rows} == {
        ("item_coverage", "all"): 3 / 5, ("never_clicked_share", "all"): 0.25,
        ("list_share", "head"): 0.5, ("list_share", "middle"): 0.25, ("list_share", "tail"): 0.25,
    }  # fmt: skip


def test_an_item_that_is_no_longer_available_does_not_count_as_coverage(spark: SparkSession, slices: DataFrame) -> None:
    """Lists that were made before a limit of age was set have more items than are available with it."""
    items = spark.createDataFrame([(item, item == "a") for item in "abcdef"], "item_id string, available boolean")
    lists = spark.createDataFrame([("u1", ["a", "b"]), ("u2", ["c", "d"])], "user_id string, item_ids array<string>")
    rows = query(
        spark, "evaluation/list_metrics", {"lists": lists, "item_slices": slices, "item_snapshot": items}, k=2
    ).collect()
    assert {row.metric: row.value for row in rows}["item_coverage"] == 1.0


def test_a_day_is_evaluated_on_the_items_that_its_lists_could_have(simulated_copy: Lake, config: Config) -> None:
    """Half of the items were too old by a limit that is not set any more; a limit of today changes nothing."""
    lake, is_old, table = simulated_copy, F.col("item_index") % 2 == 0, tables.item_snapshot(config)
    ancient = lake.day(table, DAYS[1]).withColumn("published_at", F.to_timestamp(F.lit("2020-01-01")))
    lake.overwrite(table, DAYS[1], ancient.localCheckpoint())
    embedded = lake.day(tables.ITEM_EMBEDDINGS, DAYS[1]).withColumn("available", F.col("available") & ~is_old)
    lake.overwrite(tables.ITEM_EMBEDDINGS, DAYS[1], embedded.localCheckpoint())
    young = {row.item_id for row in lake.day(tables.ITEM_EMBEDDINGS, DAYS[1]).where("available").collect()}
    limited = config.model_copy(update={"scoring": config.scoring.model_copy(update={"max_item_age_days": 1})})
    old, total = count_too_old(lake, limited, DAYS[1]) or (0, 0)
    assert old == total > len(young) > 0, "the control"
    listed = {item.item_id for row in lake.day(tables.CANDIDATES, DAYS[1]).collect() for item in row.candidates}
    with day_evaluation(lake, limited, DAYS[1], DAYS[2], DAYS[2]) as rows:
        coverage = {row.channel: row.value for row in rows.where("metric = 'item_coverage'").collect()}
    assert coverage["candidates"] == pytest.approx(len(listed & young) / len(young))
    assert coverage["popularity"] > 0
    assert coverage["oracle"] > 0


def test_the_oracle_names_what_lists_could_have_in_its_own_order(spark: SparkSession, slices: DataFrame) -> None:
    """Neither what is not available or too old, nor what the user clicked; nor is a user listed who has no click."""
    items = spark.createDataFrame([(item, item != "e") for item in "abcdef"], "item_id string, available boolean")
    relevant = spark.createDataFrame([("u1", "x"), ("u2", "y"), ("u2", "z")], "user_id string, item_id string")
    named = [("u1", [*"fedcba"]), ("u2", [*"edab"]), ("u3", [*"abc"])]
    oracle = spark.createDataFrame(named, "user_id string, item_ids array<string>")
    histories = spark.createDataFrame([("u1", [3, 5])], EXCLUDED)  # b and d
    rows = oracle_lists(oracle, relevant, slices, items, histories, 3).collect()
    assert {row.user_id: row.item_ids for row in rows} == {"u1": ["f", "c", "a"], "u2": ["d", "a", "b"]}


def test_a_day_is_not_evaluated_on_itself_or_on_days_that_have_not_landed(
    simulated: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--lake", simulated.uri, "--config", SMALL, "--ds", str(DAYS[2])]
    with pytest.raises(SystemExit):
        evaluate_candidates.main([*arguments, "--against", str(DAYS[2])])
    assert "after --ds 2026-03-01" in capsys.readouterr().err
    with pytest.raises(NoSuchDay, match="interactions has no row for 2026-03-02"):
        evaluate_candidates.main(arguments)
