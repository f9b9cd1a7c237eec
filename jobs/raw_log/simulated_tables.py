"""The raw tables and the oracle of a simulated world, computed on the executors, one block of users at a time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.features import logged_features
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.raw_log.landing import raw_tables
from jobs.raw_log.simulator import USERS_PER_BLOCK, World, requests
from model.features import Feature

ORACLE_LENGTH = 300  # items per user: enough for a list of 100 after clicked items are left out
LOG_SCHEMA = (
    "impression_id string, request_id string, user_id string, item_id string, position int, "
    "impressed_at timestamp, clicked_at timestamp, reward double"
)


def day_log(spark: SparkSession, world: World, start: dt.date, ds: dt.date, active: float) -> DataFrame:
    """The impressions of one day with their clicks (LOG_SCHEMA); a share `active` of the users has a request."""
    day, midnight = (ds - start).days, pd.Timestamp(ds, tz="UTC")

    def simulate(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            users = np.sort(frame["id"].to_numpy())
            is_active = np.random.default_rng([world.seed, 6, day, int(users[0])]).random(len(users)) < active
            if not is_active.any():
                continue
            log = pd.DataFrame(requests(world, users[is_active], day))
            impressed = midnight + pd.to_timedelta(log["second"], unit="s")
            request = ds.strftime("%Y%m%d") + "-" + log["user"].astype(str)
            yield pd.DataFrame({
                "impression_id": request + "-" + log["position"].astype(str), "request_id": request,
                "user_id": "u" + log["user"].astype(str), "item_id": "i" + log["item"].astype(str),
                "position": log["position"].astype("int32"), "impressed_at": impressed,
                "clicked_at": (impressed + pd.to_timedelta(log["delay"], unit="s")).where(log["clicked"]),
                "reward": log["dwell"].where(log["clicked"]),
            })  # fmt: skip

    return _user_blocks(spark, world).mapInPandas(simulate, LOG_SCHEMA)


def _user_blocks(spark: SparkSession, world: World) -> DataFrame:
    """Rows (id) of all users, one partition per block."""
    return spark.range(0, world.users, 1, -(-world.users // USERS_PER_BLOCK))


def raw_log_of_day(log: DataFrame, ds: dt.date, late: float, twice: float) -> dict[str, DataFrame]:
    """Impressions and clicks of a day.

    A share `late` of the clicks lands on the next day, and a share `twice` of all rows lands twice; which ones depends
    on a hash of impression_id.
    """
    draw = F.pmod(F.xxhash64("impression_id"), F.lit(10_000)) / 10_000
    copies = F.explode(F.when(draw < twice, F.array(F.lit(1), F.lit(2))).otherwise(F.array(F.lit(1))))
    landed = log.withColumn("ds", F.lit(ds)).withColumn("_copy", copies).drop("_copy")
    day = F.when(draw > 1 - late, F.date_add(F.lit(ds), 1)).otherwise(F.lit(ds))
    clicks = landed.where("clicked_at is not null").withColumn("ds", day)
    return {
        "impressions": landed.select(tables.IMPRESSIONS.columns),
        "clicks": clicks.select(tables.CLICKS.columns),
    }


def feature_values(side: str, features: Sequence[Feature], factors: np.ndarray) -> pd.DataFrame:
    """Values of each declared feature, N rows, computed from latent factors [N, Z].

    A number is one coordinate, a vector is the factors (cut or repeated), a category is one of the nearest centres.
    side: the prefix of categories, "u" or "i".
    """
    frame: dict[str, object] = {}
    nearest = np.argsort(-factors, axis=1)  # [N, Z]
    for number, feature in enumerate(logged_features(features)):
        if feature.kind == "numeric":
            frame[feature.name] = factors[:, number % factors.shape[1]]
        elif feature.kind == "vector":
            frame[feature.name] = np.resize(factors, (len(factors), feature.length)).tolist()
        elif feature.kind == "item_list":
            frame[feature.name] = [[f"i{centre}" for centre in row[: feature.length]] for row in nearest]
        elif feature.length > 1:
            frame[feature.name] = [[f"{side}{centre}" for centre in row] for row in nearest[:, :2]]
        else:
            frame[feature.name] = [f"{side}{centre}" for centre in nearest[:, number % 2]]
    return pd.DataFrame(frame, index=range(len(factors)))


def simulated_users(spark: SparkSession, config: Config, world: World, ds: dt.date) -> DataFrame:
    """Every user of the world with feature values; they land on `ds`."""
    table = raw_tables(config)["users"]

    def describe(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            values = feature_values("u", config.features.user, world.user_factors(frame["id"].to_numpy()))
            yield values.assign(user_id=[f"u{number}" for number in frame["id"]], ds=ds)[table.columns]

    return _user_blocks(spark, world).mapInPandas(describe, table.schema)


def simulated_items(spark: SparkSession, config: Config, world: World, start: dt.date, ds: dt.date) -> DataFrame | None:
    """The items that appear on `ds`; None if there are none."""
    new = np.flatnonzero(world.first_days() == (ds - start).days)
    if not len(new):
        return None
    table = raw_tables(config)["items"]
    values = feature_values("i", config.features.item, world.item_factors()[new])
    midnight = pd.Timestamp(ds, tz="UTC")
    texts = {name: [f"{name} of item {number}" for number in new] for name in config.report.item_columns}
    ids = [f"i{number}" for number in new]
    frame = values.assign(**texts, item_id=ids, ds=ds, available=True, published_at=midnight)
    return spark.createDataFrame(frame[table.columns], table.schema)


def oracle(spark: SparkSession, world: World, day: int) -> DataFrame:
    """Rows (user_id, item_ids): the items that each user is expected to click most often, best first."""

    def best(frames: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            users = frame["id"].to_numpy()
            items = world.best_items(world.user_factors(users), day, ORACLE_LENGTH)
            lists = [[f"i{item}" for item in row] for row in items]
            yield pd.DataFrame({"user_id": [f"u{user}" for user in users], "item_ids": lists})

    return _user_blocks(spark, world).mapInPandas(best, "user_id string, item_ids array<string>")
