"""Lakes for the quality benchmarks, and a day of them as a prepared folder (see `benchmarks.measure`).

Spark is asked once for the training spec, the users to score and what they clicked on the day after.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pyarrow.parquet as pq
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.measure import SPEC_FILE
from benchmarks.scheme_sets import FIRST_DAY
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


def movielens_lake(folder: Path) -> Lake:
    """A lake with the tables of all ten logical days of MovieLens-100K; made on the first call."""
    lake = Lake(spark_session("benchmark"), str(folder))
    if not lake.has(tables.IMPRESSIONS):
        ingest_movielens.main(["--lake", lake.uri, "--ds", str(FIRST_DAY)])
    _build_tables(lake, LOGICAL_DAYS)
    return lake


def simulated_lake(folder: Path, **sizes: float) -> Lake:
    """A lake with the tables of a planted world; made on the first call. sizes: arguments of simulate_log."""
    lake = Lake(spark_session("benchmark"), str(folder))
    if not lake.has(tables.IMPRESSIONS):
        arguments = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
        simulate_log.main(["--lake", lake.uri, "--ds", str(FIRST_DAY), *arguments])
    _build_tables(lake, int(sizes["days"]))
    return lake


def _build_tables(lake: Lake, days: int) -> None:
    built = set()
    if lake.has(tables.DAILY_ITEM_COUNTS):
        built = {row.ds for row in lake.read(tables.DAILY_ITEM_COUNTS).select("ds").distinct().collect()}
    for number in range(days):
        day = FIRST_DAY + dt.timedelta(days=number)
        if day not in built:
            run_day.main(["--lake", lake.uri, "--ds", str(day), "--tables-only"])


def prepare(lake: Lake, ds: dt.date, folder: Path) -> Path:
    """Write the training spec, users and relevant items of a day into `folder`, which can be measured repeatedly."""
    folder = folder / ds.isoformat()
    if (folder / "relevant.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--lake", lake.uri, "--ds", str(ds)]
    build_negative_pools.main(arguments)
    build_sampling_probs.main(arguments)
    config = load_config()
    # the day that judges is the next one: here the last day is learnt from as the others are
    config = config.model_copy(update={"training": config.training.model_copy(update={"validation": "none"})})
    (folder / SPEC_FILE).write_text(json.dumps(training_spec(lake, config, ds).to_json()), "utf-8")
    clicks = lake.day(tables.INTERACTIONS, ds + dt.timedelta(days=1))
    frames = {
        "interactions": clicks,
        "item_slices": item_slices(lake, config, ds),
        "user_histories": lake.day(tables.USER_HISTORIES, ds),
    }
    relevant = query(lake.spark, "evaluation/relevant", frames)
    items = lake.day(tables.item_snapshot(config), ds).select("item_id", "item_index")
    per_user = (
        relevant.join(items, "item_id")
        .groupBy("user_id")
        .agg(F.sort_array(F.collect_list("item_index")).alias("relevant"))
    )
    users = users_to_embed(lake, config, ds, []).drop("ds", "clicks").join(per_user, "user_id")
    if lake.has(tables.ORACLE):
        users = users.join(_oracle(lake, ds, items), "user_id")
    pq.write_table(users.orderBy("user_id").toArrow(), folder / "relevant.parquet")
    return folder


def _oracle(lake: Lake, ds: dt.date, items: DataFrame) -> DataFrame:
    """Rows (user_id, oracle): the indices of what the world itself would show, excluded items left out."""
    shown = lake.day(tables.ORACLE, ds).select("user_id", F.posexplode("item_ids").alias("place", "item_id"))
    ordered = shown.join(items, "item_id").groupBy("user_id")
    lists = ordered.agg(F.sort_array(F.collect_list(F.struct("place", "item_index")))["item_index"].alias("all"))
    clicked = excluded_items(lake.day(tables.USER_HISTORIES, ds)).select("user_id", "excluded")
    nothing = F.array().cast("array<int>")
    left = F.array_except("all", F.coalesce("excluded", nothing)).alias("oracle")
    return lists.join(clicked, "user_id", "left").select("user_id", left)
