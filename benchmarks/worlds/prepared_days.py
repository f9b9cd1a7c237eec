"""Lakes for the quality benchmarks, and prepared folders of their days (see `benchmarks.worlds.prepared_folder`)."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.worlds import WITH_POOL
from benchmarks.worlds.prepared_folder import FIRST_DAY, USERS_FILE, is_prepared, write_spec
from jobs import build_negative_pools, build_sampling_probs, ingest_movielens, run_day, simulate_log
from jobs.config.loading import load_config
from jobs.inference.embedding_inputs import users_to_embed
from jobs.inference.exclusions import excluded_items
from jobs.inference.item_slices import item_slices
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.lake.session import spark_session
from jobs.raw_log.movielens import LOGICAL_DAYS
from jobs.training.spec import training_spec

FEATURES = "movielens"  # the configuration that declares them; the simulated log has values of any features
CONFIG = ("--config", FEATURES, "--config", str(WITH_POOL))


def movielens_lake(folder: Path) -> Lake:
    """A lake with the tables of all ten logical days of MovieLens-100K; written by the first call."""
    lake = Lake(spark_session("benchmark"), str(folder))
    if not lake.has(tables.IMPRESSIONS):
        ingest_movielens.main(["--lake", lake.uri, "--ds", str(FIRST_DAY), *CONFIG])
    _build_tables(lake, LOGICAL_DAYS)
    return lake


def simulated_lake(folder: Path, **sizes: float) -> Lake:
    """A lake with the tables of a simulated log; written by the first call. sizes: arguments of simulate_log."""
    lake = Lake(spark_session("benchmark"), str(folder))
    if not lake.has(tables.IMPRESSIONS):
        arguments = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
        simulate_log.main(["--lake", lake.uri, "--ds", str(FIRST_DAY), *CONFIG, *arguments])
    _build_tables(lake, int(sizes["days"]))
    return lake


def _build_tables(lake: Lake, days: int) -> None:
    built = set()
    if lake.has(tables.DAILY_ITEM_COUNTS):
        built = {row.ds for row in lake.read(tables.DAILY_ITEM_COUNTS).select("ds").distinct().collect()}
    for number in range(days):
        day = FIRST_DAY + dt.timedelta(days=number)
        if day not in built:
            run_day.main(["--lake", lake.uri, "--ds", str(day), *CONFIG, "--tables-only"])


def prepare(lake: Lake, ds: dt.date, folder: Path) -> Path:
    """Write the training spec, users and relevant items of a day into `folder`, which can be measured repeatedly."""
    folder = folder / ds.isoformat()
    if is_prepared(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--lake", lake.uri, "--ds", str(ds), *CONFIG]
    build_negative_pools.main(arguments)
    build_sampling_probs.main(arguments)
    config = load_config(FEATURES, WITH_POOL)
    # lists are evaluated on the next day, so the window's last day is trained on like the others
    config = config.model_copy(update={"training": config.training.model_copy(update={"validation": "none"})})
    write_spec(folder, training_spec(lake, config, ds))
    clicks = lake.day(tables.INTERACTIONS, ds + dt.timedelta(days=1))
    frames = {
        "interactions": clicks,
        "item_slices": item_slices(lake, config, ds),
        "user_histories": excluded_items(lake.day(tables.USER_HISTORIES, ds)),
    }
    relevant = query(lake.spark, "evaluation/relevant", frames)
    items = lake.day(tables.item_snapshot(config), ds).select("item_id", "item_index")
    per_user = (
        relevant.join(items, "item_id")
        .groupBy("user_id")
        .agg(F.sort_array(F.collect_list("item_index")).alias("relevant"))
    )
    users = users_to_embed(lake, config, ds, []).drop("ds", "clicks", "clicked_minutes").join(per_user, "user_id")
    if lake.has(tables.ORACLE):
        users = users.join(_oracle(lake, ds, items), "user_id")
    pq.write_table(users.orderBy("user_id").toArrow(), folder / USERS_FILE)
    return folder


def _oracle(lake: Lake, ds: dt.date, items: DataFrame) -> DataFrame:
    """Rows (user_id, oracle): the item indices that the simulated world would show, without excluded items."""
    shown = lake.day(tables.ORACLE, ds).select("user_id", F.posexplode("item_ids").alias("place", "item_id"))
    ordered = shown.join(items, "item_id").groupBy("user_id")
    lists = ordered.agg(F.sort_array(F.collect_list(F.struct("place", "item_index")))["item_index"].alias("all"))
    clicked = excluded_items(lake.day(tables.USER_HISTORIES, ds)).select("user_id", "excluded")
    nothing = F.array().cast("array<int>")
    left = F.array_except("all", F.coalesce("excluded", nothing)).alias("oracle")
    return lists.join(clicked, "user_id", "left").select("user_id", left)
