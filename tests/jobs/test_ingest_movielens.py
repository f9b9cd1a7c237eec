from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from jobs import ingest_movielens
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.movielens import movielens_100k, movielens_csv, spread

DAY = dt.date(2026, 1, 1)


def test_each_users_sequence_is_spread_in_order_over_the_days() -> None:
    ratings, users, items = movielens_100k(DAY)
    assert (len(ratings), len(users), len(items)) == (100_000, 943, 1_682)
    assert ratings["ds"].nunique() == 10
    for _, own in ratings.groupby("user_id"):
        own = own.sort_values("at")
        assert own["timestamp"].is_monotonic_increasing
        assert own["at"].is_unique
        assert own["ds"].value_counts().agg(lambda sizes: sizes.max() - sizes.min()) <= 1
        assert (own["at"].dt.date == own["ds"]).all()


def test_spreading_does_not_depend_on_the_order_of_the_file() -> None:
    ratings = pd.DataFrame(
        {"user_id": ["a"] * 5, "item_id": list("vwxyz"), "rating": ["3"] * 5, "timestamp": ["5", "5", "1", "2", "5"]}
    )
    one, other = spread(ratings, DAY, 2), spread(ratings[::-1], DAY, 2)
    assert list(one["item_id"]) == list(other["item_id"]) == ["x", "y", "v", "w", "z"]
    assert list(one["ds"]) == [DAY, DAY, DAY, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=1)]


@pytest.mark.slow
def test_all_ten_days_land_with_their_features(lake: Lake) -> None:
    ingest_movielens.main(["--lake", lake.uri, "--ds", str(DAY), "--config", "movielens"])
    impressions = lake.read(tables.IMPRESSIONS)
    assert impressions.count() == impressions.select("impression_id").distinct().count() == 100_000
    clicks = lake.read(tables.CLICKS)
    assert (
        clicks.count() == clicks.where("reward is null").count() == 55_375
    )  # ratings of 4 and 5; a rating is not a reward
    toy_story = lake.spark.read.format("delta").load(lake.path("items")).where("item_id = '1'").first()
    assert toy_story is not None
    assert (toy_story.year, toy_story.genres, toy_story.available) == (
        1995.0,
        ["Animation", "Children's", "Comedy"],
        True,
    )
    user = lake.spark.read.format("delta").load(lake.path("users")).where("user_id = '1'").first()
    assert user is not None
    assert (user.age, user.gender, user.occupation) == (24.0, "M", "technician")


def test_real_times_land_on_their_own_days(data: Path) -> None:
    folder = data / "ml-latest-small"
    day = dt.date(2000, 7, 31)
    ratings, users, movies = movielens_csv(folder, day, backlog=False)
    assert set(ratings["at"].dt.date) == {day}
    assert set(users["user_id"]) == set(ratings["user_id"])
    assert movies.set_index("item_id").loc["1", "year"] == "1995"
    backlog, _, _ = movielens_csv(folder, day, backlog=True)
    assert len(backlog) > len(ratings)
    assert backlog["at"].dt.date.max() == day
    assert set(backlog["ds"]) == {day}


def test_a_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"must have ratings\.csv and movies\.csv, got no ratings\.csv and no movies\.csv"
    ):
        ingest_movielens.main(["--lake", str(tmp_path / "lake"), "--ds", str(DAY), "--source", str(tmp_path)])
    assert not (tmp_path / "lake").exists()
