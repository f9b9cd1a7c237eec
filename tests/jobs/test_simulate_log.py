from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from pyspark.sql import functions as F

from jobs import simulate_log
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.simulator import World, requests
from tests.conftest import DAYS, SMALL


def test_clicks_follow_the_stated_model() -> None:
    world = World(users=4_000, items=500, seed=3)
    log = requests(world, np.arange(4_000), day=0)
    affinity = np.sqrt(world.factors) * np.einsum(
        "rz,rz->r", world.user_factors(log["user"]), world.item_factors()[log["item"]]
    )
    expected = log["position"] ** -world.examination * world.click_probability(affinity)
    for first, last in ((1, 1), (2, 5), (6, 20)):
        places = (log["position"] >= first) & (log["position"] <= last)
        assert log["clicked"][places].mean() == pytest.approx(expected[places].mean(), rel=0.05)


@pytest.mark.parametrize("taste", [0.5, 2.0, 4.0])
def test_the_oracle_recalls_nearly_all_clicks_that_can_be_recalled(taste: float) -> None:
    """On half of each user's 1,200 requests, its lists are compared with the most clicked items of the other half."""
    users, items, k = 30, 300, 10
    world = World(users, items, seed=3, taste=taste, new_items_a_day=1e-9)  # one catalogue for all days
    clicks = np.zeros((2, users, items))
    for day in range(1_200):
        log = requests(world, np.arange(users), day)
        clicked = log["clicked"]
        np.add.at(clicks[day % 2], (log["user"][clicked], log["item"][clicked]), 1)

    def caught(lists: np.ndarray) -> float:
        return float(np.take_along_axis(clicks[1], lists, axis=1).sum() / clicks[1].sum())

    best = caught(np.argsort(-clicks[1], axis=1)[:, :k])  # with hindsight: nobody can catch more
    oracle = caught(world.best_items(world.user_factors(np.arange(users)), 0, k))
    assert oracle >= caught(np.argsort(-clicks[0], axis=1)[:, :k])
    assert oracle >= 0.96 * best
    assert oracle > 1.1 * caught(np.tile(np.argsort(-clicks[0].sum(axis=0))[:k], (users, 1)))


def test_the_best_items_are_those_of_the_whole_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpopular items that cannot be among the best are left out of the computation."""
    world = World(users=60, items=3_000, seed=3)
    users, looked_at = world.user_factors(np.arange(60)), []
    proposed = 1 - (1 - world.popularity()) ** world.proposals
    examined = world.examined_on_grid(users, world.item_factors(), proposed)
    clicks = world._expected_clicks(users, world.item_factors(), proposed, examined)
    expected = np.argsort(-clicks, axis=1)[:, :20]
    compute = World._expected_clicks

    def counted(self: World, users: np.ndarray, factors: np.ndarray, *values: np.ndarray) -> np.ndarray:
        looked_at.append(len(factors))
        return compute(self, users, factors, *values)

    monkeypatch.setattr(World, "_expected_clicks", counted)
    assert np.array_equal(world.best_items(users, 1_000, 20), expected)
    assert 20 < max(looked_at) < 1_000
    assert world.best_items(users, 1_000, 5_000).shape == (60, 3_000)


def test_the_dwell_time_grows_with_the_affinity_as_stated() -> None:
    world = World(users=4_000, items=500, seed=3)
    log = requests(world, np.arange(4_000), day=0)
    affinity = np.sqrt(world.factors) * np.einsum(
        "rz,rz->r", world.user_factors(log["user"]), world.item_factors()[log["item"]]
    )
    clicked = log["clicked"]
    logs = np.log(log["dwell"][clicked] / world.dwell)
    slope, level = np.polyfit(affinity[clicked], logs, 1)
    assert (slope, level) == pytest.approx((world.dwell_growth, 0), abs=0.03)
    assert np.std(logs - slope * affinity[clicked]) == pytest.approx(world.dwell_growth, rel=0.05)


def test_every_click_that_lands_has_a_reward(simulated: Lake) -> None:
    clicks = simulated.read(tables.CLICKS)
    assert clicks.where("reward > 0 and reward < 1e6").count() == clicks.count() > 0
    assert clicks.select("reward").distinct().count() > 100


def test_a_slate_holds_distinct_items_of_the_days_catalogue() -> None:
    world = World(users=500, items=300, seed=3)
    log = requests(world, np.arange(500), day=2)
    slates = log["item"].reshape(-1, world.slate)
    assert all(len(set(slate)) == world.slate for slate in slates)
    assert world.first_days()[log["item"]].max() <= 2
    assert (world.first_days() == 1).sum() > 0


def test_users_are_the_same_whatever_partition_asks() -> None:
    world = World(users=5_000, items=10, seed=3)
    everyone = world.user_factors(np.arange(5_000))
    some = np.array([4_999, 0, 2_001])
    assert np.array_equal(world.user_factors(some), everyone[some])


def test_days_landed_one_by_one_equal_days_landed_together(simulated: Lake, lake: Lake) -> None:
    world = ["--config", SMALL, "--users", "400", "--items", "300", "--late", "0.1"]
    simulate_log.main(["--lake", lake.uri, "--ds", str(DAYS[0]), "--days", "4", *world])
    for name in ("impressions", "clicks", "items"):
        one, other = (some.spark.read.format("delta").load(some.path(name)) for some in (simulated, lake))
        assert one.exceptAll(other).isEmpty(), name
        assert other.exceptAll(one).isEmpty(), name


def test_some_rows_land_twice_and_some_clicks_late(simulated: Lake) -> None:
    impressions = simulated.read(tables.IMPRESSIONS)
    rows, distinct = impressions.count(), impressions.select("impression_id").distinct().count()
    assert rows / distinct == pytest.approx(1.01, abs=0.005)
    clicks = simulated.read(tables.CLICKS)
    late = clicks.where(F.to_date("clicked_at") < F.col("ds")).count()
    assert late / clicks.count() == pytest.approx(0.1, abs=0.03)


def test_the_oracle_and_the_click_model_are_printed(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    simulate_log.main(["--lake", lake.uri, "--config", SMALL, "--ds", "2026-01-01", "--users", "50", "--items", "100"])
    printed = capsys.readouterr().out
    assert "click model: P(click | position r, affinity a) = r^-0.6 * sigmoid(-1.5 + 2.0 a)" in printed
    assert "oracle: Recall@20 0." in printed
    lists = lake.day(tables.ORACLE, dt.date(2026, 1, 1)).collect()
    assert len(lists) == 50
    assert all(len(set(row.item_ids)) == len(row.item_ids) for row in lists)
