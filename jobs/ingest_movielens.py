"""Bring MovieLens into the raw tables: a rating is an exposure, 4 and above a click.

Without --source: MovieLens-100K, out of the registry package that carries it. Its users rate in one sitting, so each
user's sequence is spread in order over ten logical days, the first of which is --ds.
With --source FOLDER: a folder of ratings.csv and movies.csv with their real times; the ratings of the day --ds land,
and with --backlog all earlier ones too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.raw_log.landing import land, raw_tables

CLICK_RATING = 4.0
LOGICAL_DAYS = 10
INSIDE = "recbole/dataset_example/ml-100k/ml-100k"
DATA = Path(sys.prefix) / "share" / "batch-recall" / "data"


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--source", type=Path, help="folder with ratings.csv and movies.csv")
    parser.add_argument("--backlog", action="store_true", help="let all ratings before --ds land on it too")
    return parser


def movielens_100k(first_day: dt.date, folder: Path = DATA) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(ratings, users, items) of MovieLens-100K; ratings carry `ds` and `at`, spread over ten logical days."""
    wheels = sorted(folder.glob("recbole-*.whl"))
    if not wheels:
        raise ValueError(f"MovieLens-100K is not in {folder}: the set-up (`make`) brings it")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        ratings, users, items = (_atomic(wheel.open(f"{INSIDE}.{part}")) for part in ("inter", "user", "item"))
    items = items.rename(columns={"release_year": "year", "class": "genres"})
    items["genres"] = items["genres"].fillna("").str.split(" ")
    return spread(ratings, first_day, LOGICAL_DAYS), users, items


def _atomic(file: IO[bytes]) -> pd.DataFrame:
    frame = pd.read_csv(file, sep="\t", dtype=str)
    return frame.rename(columns=lambda column: column.split(":")[0])


def spread(ratings: pd.DataFrame, first_day: dt.date, days: int) -> pd.DataFrame:
    """Each user's ratings in their order, the n-th of N on day n * days / N; a minute apart inside a day."""
    order = ratings.assign(timestamp=ratings["timestamp"].astype(float)).sort_values(
        ["user_id", "timestamp", "item_id"], kind="stable"
    )
    place = order.groupby("user_id").cumcount()
    day = place * days // order.groupby("user_id")["item_id"].transform("size")
    minute = order.assign(day=day).groupby(["user_id", "day"]).cumcount()
    midnight = pd.Timestamp(first_day) + pd.to_timedelta(day, unit="D")
    return order.assign(ds=midnight.dt.date, at=midnight + pd.to_timedelta(minute, unit="min"))


def movielens_csv(folder: Path, ds: dt.date, backlog: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """(ratings, users, items) of a folder in MovieLens' CSV form, as they land on `ds`."""
    missing = [name for name in ("ratings.csv", "movies.csv") if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"--source {folder}: wants ratings.csv and movies.csv, has no {' and no '.join(missing)}")
    ratings = pd.read_csv(folder / "ratings.csv", dtype={"userId": str, "movieId": str})
    ratings = ratings.rename(columns={"userId": "user_id", "movieId": "item_id"})
    ratings["at"] = pd.to_datetime(ratings["timestamp"], unit="s")
    day = ratings["at"].dt.date
    ratings = ratings[(day <= ds) if backlog else (day == ds)].assign(ds=ds)
    if ratings.empty:
        raise ValueError(f"--source {folder} holds no rating for {ds}")
    movies = pd.read_csv(folder / "movies.csv", dtype=str).rename(columns={"movieId": "item_id"})
    movies["year"] = movies["title"].str.extract(r"\((\d{4})\)\s*$", expand=False)
    movies["genres"] = movies["genres"].where(movies["genres"] != "(no genres listed)", "").str.split("|")
    return ratings, ratings[["user_id"]].drop_duplicates(), movies


def raw_frames(
    spark: SparkSession, config: Config, ratings: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame, ds: dt.date
) -> dict[str, DataFrame]:
    """The four raw tables; users and items land on `ds`. Declared features that the data lack are null."""
    request = ratings["user_id"] + "-" + ratings["at"].dt.strftime("%Y%m%dT%H%M%S")
    shown = pd.DataFrame({
        "ds": ratings["ds"], "impression_id": request + "-" + ratings["item_id"], "request_id": request,
        "user_id": ratings["user_id"], "item_id": ratings["item_id"], "position": np.ones(len(ratings), dtype="int32"),
        "impressed_at": ratings["at"].dt.tz_localize("UTC"), "rating": ratings["rating"].astype(float),
    })  # fmt: skip
    impressions = spark.createDataFrame(shown)
    clicks = impressions.where(F.col("rating") >= CLICK_RATING).withColumnRenamed("impressed_at", "clicked_at")
    return {
        "users": _described(spark, config, "users", users, ds),
        "items": _described(spark, config, "items", items.assign(available=True), ds),
        "clicks": clicks.withColumn("reward", F.lit(None).cast("double")).select(tables.CLICKS.columns),
        "impressions": impressions.withColumn("position", F.col("position").cast("int")).drop("rating"),
    }


def _described(spark: SparkSession, config: Config, name: str, rows: pd.DataFrame, ds: dt.date) -> DataFrame:
    """`rows` with exactly the columns of the raw table `name`, cast from text."""
    frame = spark.createDataFrame(rows.astype(object).where(rows.notna(), None)).withColumn("ds", F.lit(ds))
    columns = []
    for field in raw_tables(config)[name].schema:
        value = F.col(field.name) if field.name in frame.columns else F.lit(None)
        columns.append(value.try_cast(field.dataType).alias(field.name))
    return frame.select(columns)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    if args.source:
        ratings, users, items = movielens_csv(args.source, args.ds, args.backlog)
    else:
        ratings, users, items = movielens_100k(args.ds)
    lake, config = open_lake(args, "ingest_movielens")
    frames = raw_frames(lake.spark, config, ratings, users, items, args.ds)
    return sum(land(lake, config, sorted(set(ratings["ds"])), frames).values())


if __name__ == "__main__":
    run(main)
