"""Intervals of an evaluation, and evaluations of a sample of the users."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.evaluate_candidates import day_evaluation
from jobs.inference.evaluation import CANDIDATES, of_sample, ranking_metrics
from jobs.inference.exclusions import excluded_items
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving.verdicts import wilson
from tests.conftest import DAYS
from tests.jobs.test_evaluate_candidates import RELEVANT


def measured(
    spark: SparkSession, clicks: list[tuple[str, str, bool]], metric: str, k: int
) -> dict[str, tuple[float, ...]]:
    """(value, low, high) of a metric at k by slice. clicks: the user, the slice, and whether the item is in the list."""
    rows = [(user, str(number), part, True, False, False, False) for number, (user, part, _) in enumerate(clicks)]
    lists: dict[str, list[str]] = {}
    for number, (user, _, is_hit) in enumerate(clicks):
        lists.setdefault(user, []).extend([str(number)] * is_hit)
    listed = spark.createDataFrame([*lists.items()], "user_id string, item_ids array<string>")
    of_metric = (
        ranking_metrics(spark.createDataFrame(rows, RELEVANT), listed, [k]).where(F.col("metric") == metric).collect()
    )
    return {row.slice: (row.value, row.interval_low, row.interval_high) for row in of_metric}


def test_the_interval_of_a_share_of_users_is_wilsons(spark: SparkSession) -> None:
    rows = [(f"a{n}", "head", n < 3) for n in range(20)] + [(f"b{n}", "middle", False) for n in range(9)]
    found = measured(spark, [*rows, ("c", "tail", True)], "hit_rate", 1)
    assert found["head"] == pytest.approx((0.15, *wilson(0.15, 19)))  # a sample's variance is that of 19 trials
    assert found["middle"] == pytest.approx((0.0, *wilson(0.0, 9)))  # no hit of nine users: at most .3, not 0
    assert found["tail"] == (1.0, None, None)


def test_the_interval_has_the_mean_of_all_users_19_times_of_20(spark: SparkSession) -> None:
    """100 samples of 40 users with four clicks, which are hits together: as independent trials they promise too much."""
    random, clicks, tastes = np.random.default_rng(5), [], (0.0, 0.1, 0.9)  # the chance of a hit, by kind of user
    for sample in range(100):
        for user in range(40):
            hits = random.random(4) < tastes[random.integers(3)]
            clicks += [(f"{sample}-{user}", f"s{sample}", bool(hit)) for hit in hits]
    truth = float(np.mean(tastes))
    found = {part: row for part, row in measured(spark, clicks, "recall", 4).items() if part.startswith("s")}
    inside = [low <= truth <= high for _, low, high in found.values()]
    assert len(inside) == 100
    assert 0.9 <= np.mean(inside) <= 0.99
    narrow = [low <= truth <= high for low, high in (wilson(value, 160) for value, _, _ in found.values())]
    assert np.mean(narrow) < 0.8


def test_a_sample_has_the_same_users_in_every_table_and_those_of_a_smaller_one(spark: SparkSession) -> None:
    users = spark.range(20_000).select(F.concat(F.lit("u"), "id").alias("user_id"))
    small, large = ({row.user_id for row in of_sample(users, share).collect()} for share in (0.1, 0.3))
    assert len(small) == pytest.approx(2_000, abs=4 * np.sqrt(2_000 * 0.9))
    assert len(large) == pytest.approx(6_000, abs=4 * np.sqrt(6_000 * 0.7))
    assert small < large
    other = users.where("id % 2 = 0").withColumn("x", F.lit(1))
    assert {row.user_id for row in of_sample(other, 0.1).collect()} == {
        user for user in small if int(user[1:]) % 2 == 0
    }


def rows_of(frame: DataFrame) -> dict[tuple[str, str, str, int], tuple[float, int]]:
    return {(row.channel, row.slice, row.metric, row.k): (row.value, row.users) for row in frame.collect()}


def test_a_configured_sample_is_evaluated_like_a_lake_with_its_users_alone(simulated: Lake, config: Config) -> None:
    first, second = DAYS[:2]
    half = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"sample_share": 0.5})})
    with day_evaluation(simulated, half, first, second, second) as rows:
        assert {row.sample_share for row in rows.select("sample_share").distinct().collect()} == {0.5}
        found = rows_of(rows)
    with day_evaluation(simulated, config, first, second, second) as rows:
        whole = rows_of(rows)
    lists = of_sample(simulated.day(tables.CANDIDATES, first), 0.5)
    coverage = (CANDIDATES, "all", "item_coverage", 50)
    assert found[coverage][1] == lists.where("size(candidates) > 0").count() < whole[coverage][1]
    excluded = excluded_items(simulated.day(tables.USER_HISTORIES, first))
    items = simulated.day(tables.ITEM_SAMPLING_PROBS, first).select("item_id", "item_index")
    clicks = of_sample(simulated.day(tables.INTERACTIONS, second), 0.5).where("clicked")
    clicks = (
        clicks.select("user_id", "item_id").distinct().join(items, "item_id", "left").join(excluded, "user_id", "left")
    )
    clicks = clicks.where("not coalesce(array_contains(excluded, item_index), false)")
    listed = lists.selectExpr("user_id", "slice(candidates.item_id, 1, 10) as item_ids")
    hits = clicks.join(listed, "user_id").selectExpr("user_id", "int(array_contains(item_ids, item_id)) as hit")
    recalls = [row["avg(hit)"] for row in hits.groupBy("user_id").avg("hit").collect()]
    value, users = found[CANDIDATES, "all", "recall", 10]
    assert value == pytest.approx(sum(recalls) / users)
    assert len(recalls) <= users < whole[CANDIDATES, "all", "recall", 10][1]
