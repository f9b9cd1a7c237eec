"""Pairs of items that one user clicked, the neighbours that they make, and the channel of a day's lists."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict
from pathlib import Path

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs import (
    build_item_index,
    build_item_neighbours,
    build_item_pairs,
    build_user_embeddings,
    rebuild_days,
    run_day,
    score_users,
)
from jobs.build_item_neighbours import item_neighbours
from jobs.build_item_pairs import item_pairs
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from tests.conftest import SMALL
from tests.jobs.scoring_runs import FIRST, FOURTH, SECOND, THIRD, K, candidate_rows, run, settings

DAY = dt.date(2026, 1, 5)
ONE = 1_000_000  # the weight of a pair of a user with one click
Pairs = dict[tuple[int, int], int]
Examples = list[tuple[str, int, list[int]]]  # user, clicked item, earlier clicks, in the order of the day


def examples(spark: SparkSession, rows: Examples) -> DataFrame:
    columns = "impression_id string, user_id string, impressed_at timestamp, item_index int, history array<int>"
    start = dt.datetime.combine(DAY, dt.time(), dt.UTC)
    made = [
        (f"{number:05}", user, start + dt.timedelta(seconds=number // 2), item, history + [0] * (6 - len(history)))
        for number, (user, item, history) in enumerate(rows)
    ]  # two rows have the same time
    return spark.createDataFrame(made, columns)


def pairs(spark: SparkSession, rows: Examples, span: int = 3, most: int = 100) -> Pairs:
    made = item_pairs(examples(spark, rows), span, most).collect()
    assert len(made) == len({(row.item_index, row.other_index) for row in made})
    return {(row.item_index, row.other_index): row.weight for row in made}


def by_hand(rows: Examples, span: int, most: int) -> Pairs:
    """The rule of sql/daily_item_pairs/query.sql as a loop."""
    found: Pairs = defaultdict(int)
    for user in {user for user, *_ in rows}:
        last = [(item, history) for one, item, history in rows if one == user][-(most // span) :]
        for item, history in last:
            for other in {*history[-span:]} - {item}:
                found[min(item, other), max(item, other)] += round(ONE / math.log2(1 + len(last)))
    return dict(found)


def neighbours(
    spark: SparkSession,
    weights: Pairs,
    per_item: int = 10,
    shrinkage: float = 0.0,
    hidden: frozenset[int] = frozenset(),
) -> dict[int, list[tuple[int, float]]]:
    rows = spark.createDataFrame([(a, b, w) for (a, b), w in weights.items()], "item_index int, other_index int, weight long")  # fmt: skip
    known = sorted({item for pair in weights for item in pair})
    items = spark.createDataFrame([(item, item not in hidden) for item in known], "item_index int, available boolean")
    made = item_neighbours(rows, items, per_item, shrinkage).collect()
    return {row.item_index: [(one.item_index, one.similarity) for one in row.neighbours] for row in made}


def test_a_click_is_paired_with_the_users_last_clicks_and_never_with_itself(spark: SparkSession) -> None:
    found = pairs(spark, [("a", 5, [9, 2, 3, 4, 3]), ("b", 7, [7, 8]), ("c", 6, [])])
    assert found == {(3, 5): ONE, (4, 5): ONE, (7, 8): ONE}


def test_pairs_of_users_are_added_and_those_with_many_clicks_count_less(spark: SparkSession) -> None:
    one, heavy = ("a", 5, [4]), [("b", 5, [4]), ("b", 6, [4, 5]), ("b", 4, [5, 6])]
    third = round(ONE / math.log2(4))  # of a user with three clicks
    assert pairs(spark, [one]) == {(4, 5): ONE}
    assert pairs(spark, [one, *heavy]) == {(4, 5): ONE + 2 * third, (4, 6): 2 * third, (5, 6): third}


def test_a_user_has_at_most_so_many_pairs_a_day_those_of_the_last_clicks(spark: SparkSession) -> None:
    robot: Examples = [("robot", 100 + n, [n + 2, n + 3, n + 4]) for n in range(500)]
    found = pairs(spark, robot, span=3, most=20)
    assert len(found) == 18  # six clicks are paired whole
    assert min(b for _, b in found) == 100 + 494
    assert sum(found.values()) == 18 * round(ONE / math.log2(7))


def test_pairs_are_those_of_a_loop(spark: SparkSession) -> None:
    rows: Examples = [(f"u{n * n % 7}", 2 + n * 5 % 9, [2 + (n + k) * 3 % 11 for k in range(n % 6)]) for n in range(60)]
    for span, most in ((2, 6), (5, 1000)):
        assert pairs(spark, rows, span, most) == by_hand(rows, span, most)


def test_similarity_is_the_cosine_of_totals_with_shrinkage(spark: SparkSession) -> None:
    weights = {(2, 3): 3 * ONE, (2, 4): ONE, (3, 5): 2 * ONE}  # totals: 2 has 4, 3 has 5, 4 has 1, 5 has 2
    plain = neighbours(spark, weights)
    assert [item for item, _ in plain[2]] == [3, 4]
    assert plain[2] == [(3, pytest.approx(3 / math.sqrt(20))), (4, pytest.approx(1 / 2))]
    assert plain[5] == [(3, pytest.approx(2 / math.sqrt(10)))]
    shrunk = neighbours(spark, weights, shrinkage=2.0)
    assert shrunk[2] == [(3, pytest.approx(3 / (math.sqrt(20) + 2))), (4, pytest.approx(1 / 4))]
    assert neighbours(spark, {(2, 3): ONE}) == {2: [(3, 1.0)], 3: [(2, 1.0)]}


def test_popular_items_are_held_back(spark: SparkSession) -> None:
    """Item 3 is paired with 2 as often as 4 is, but also with everything else."""
    weights = {(2, 3): ONE, (2, 4): ONE} | {(3, other): ONE for other in range(10, 40)}
    found = neighbours(spark, weights)[2]
    assert [item for item, _ in found] == [4, 3]
    assert found[1][1] == pytest.approx(1 / math.sqrt(2 * 31))


def test_ties_are_broken_by_index_and_the_lists_are_cut(spark: SparkSession) -> None:
    weights = {(2, other): ONE for other in (9, 5, 7, 3, 8)}
    assert [item for item, _ in neighbours(spark, weights, per_item=3)[2]] == [3, 5, 7]


def test_items_that_may_not_be_shown_are_no_neighbours_but_have_some(spark: SparkSession) -> None:
    found = neighbours(spark, {(2, 3): ONE, (2, 4): ONE}, hidden=frozenset({3}))
    assert [item for item, _ in found[2]] == [4]
    assert [item for item, _ in found[3]] == [2]


OVER = "[scoring]\nneighbour_quota = 10\n[neighbours]\nspan = 5\nshrinkage = 0.5\n"
JOBS = (build_user_embeddings, build_item_index, score_users)


def stored(lake: Lake, table: tables.Table, ds: dt.date) -> set[str]:
    return {str(row) for row in lake.day(table, ds).collect()}


def test_nothing_is_built_without_a_quota(simulated_copy: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    for job in (build_item_pairs, build_item_neighbours):
        assert job.main(["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(THIRD)]) == 0
    assert "because scoring.neighbour_quota is 0" in capsys.readouterr().out
    assert not simulated_copy.has(tables.DAILY_ITEM_PAIRS)
    assert not simulated_copy.has(tables.ITEM_NEIGHBOURS)


def test_an_older_lake_goes_on_and_then_has_neighbours_in_its_lists(
    simulated_copy: Lake, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, over = simulated_copy, settings(tmp_path, OVER)
    with pytest.raises(NoSuchDay, match=r"built without scoring\.neighbour_quota: run build_item_index again"):
        run(lake, THIRD, over, score_users)
    run(lake, THIRD, over, *JOBS)  # without the tables: the towers fill the positions
    assert f"warning: item_neighbours has no row for {THIRD}" in capsys.readouterr().out
    assert {row.source for row in candidate_rows(lake, THIRD).select("source").distinct().collect()} == {
        "two_tower", "popular"
    }  # fmt: skip
    run(lake, THIRD, over, build_item_pairs, build_item_neighbours)
    assert "warning: 2 of 3 days of the window have no pairs of items" in capsys.readouterr().out
    for day in (FIRST, SECOND):
        run(lake, day, over, build_item_pairs)
    run(lake, THIRD, over, build_item_neighbours, *JOBS)
    check_neighbours(lake, config)
    check_lists(lake)
    pairs_before, before = stored(lake, tables.DAILY_ITEM_PAIRS, THIRD), stored(lake, tables.ITEM_NEIGHBOURS, THIRD)
    run(lake, THIRD, over, build_item_pairs, build_item_neighbours)
    assert stored(lake, tables.DAILY_ITEM_PAIRS, THIRD) == pairs_before
    assert stored(lake, tables.ITEM_NEIGHBOURS, THIRD) == before
    assert build_item_pairs in rebuild_days.OUTCOME_JOBS


def check_neighbours(lake: Lake, config: Config) -> None:
    """The neighbours are those of all examples of the window, counted day by day in a loop."""
    total: Pairs = defaultdict(int)
    for day in (FIRST, SECOND, THIRD):
        ordered = lake.day(tables.training_examples(config), day).orderBy("impressed_at", "impression_id").collect()
        rows = [(row.user_id, row.item_index, [item for item in row.history if item]) for row in ordered]
        for pair, weight in by_hand(rows, 5, 1000).items():
            total[pair] += weight
    assert len(total) > 1000
    sums: dict[int, int] = defaultdict(int)
    near: dict[int, dict[int, int]] = defaultdict(dict)
    for (a, b), weight in total.items():
        near[a][b] = near[b][a] = weight
        sums[a], sums[b] = sums[a] + weight, sums[b] + weight
    found = {row.item_index: row.neighbours for row in lake.day(tables.ITEM_NEIGHBOURS, THIRD).collect()}
    assert set(found) == set(near)
    for item, others in near.items():
        worth = {
            other: w / (math.sqrt(float(sums[item]) * float(sums[other])) + 0.5 * ONE) for other, w in others.items()
        }
        best = sorted(worth, key=lambda other: (-worth[other], other))[:100]
        assert [one.item_index for one in found[item]] == best
        assert [one.similarity for one in found[item]] == pytest.approx([worth[other] for other in best], rel=1e-6)


def check_lists(lake: Lake) -> None:
    """Warm users have a full quota of neighbours of their last clicks; nobody has an item that they clicked."""
    lists = candidate_rows(lake, THIRD)
    histories = lake.day(tables.USER_HISTORIES, THIRD)
    counted = lists.join(histories, "user_id").groupBy("user_id").agg(
        F.count_distinct("item_id").alias("items"), F.count_if(F.col("source") == "neighbours").alias("near")
    )  # fmt: skip
    rows = counted.collect()
    assert {row["items"] for row in rows} == {K}
    assert max(row.near for row in rows) == 10
    assert sum(row.near == 10 for row in rows) > 0.9 * len(rows) > 100
    indices = lake.day(tables.ITEM_EMBEDDINGS, THIRD).select("item_id", "item_index")
    near = lists.where("source = 'neighbours'").join(indices, "item_id").select("user_id", "item_index")
    clicks = histories.select("user_id", F.explode(F.slice(F.reverse("history"), 1, 10)).alias("click"))
    links = lake.day(tables.ITEM_NEIGHBOURS, THIRD).select(
        F.col("item_index").alias("click"), F.explode("neighbours.item_index").alias("item_index")
    )
    assert near.join(clicks.join(links, "click"), ["user_id", "item_index"], "left_anti").isEmpty()
    clicked = histories.select("user_id", F.explode("clicked").alias("day")).select(
        "user_id", F.explode("day.item_indices").alias("item_index")
    )
    assert lists.join(indices, "item_id").join(clicked, ["user_id", "item_index"], "left_semi").isEmpty()


@pytest.mark.slow
def test_a_day_with_neighbours_is_trained_calibrated_scored_evaluated_and_reported(
    simulated_copy: Lake, tmp_path: Path
) -> None:
    """The calibration counts lists with the neighbours of the day before; late clicks change the pairs of their day."""
    lake, over = simulated_copy, settings(tmp_path, OVER + '[training]\nvalidation = "last_day"\nepochs = 1\n')
    for day in (FIRST, SECOND, THIRD):
        run(lake, day, over, build_item_pairs, build_item_neighbours)
    before = stored(lake, tables.DAILY_ITEM_PAIRS, THIRD)
    run_day.main(["--lake", lake.uri, "--ds", str(FOURTH), *over])
    assert stored(lake, tables.DAILY_ITEM_PAIRS, THIRD) != before
    model = lake.rows(tables.MODEL_VERSIONS, FOURTH)[0].model_version
    manifest = Path(lake.path("models", model, "model.json")).read_text("utf-8")
    assert '"neighbours"' in manifest
    assert '"item_neighbours"' in manifest  # the version of the table that the calibration has read
    sources = {row.source for row in candidate_rows(lake, FOURTH).select("source").distinct().collect()}
    assert sources == {"two_tower", "popular", "neighbours"}
    page = Path(lake.path("reports", str(FOURTH), "index.html")).read_text("utf-8")
    assert "neighbours" in page
    assert "daily_item_pairs" in page
