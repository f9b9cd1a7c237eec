"""Train on a lake's day and evaluate on the next, outside Spark: what the quality benchmarks share.

`prepare` asks Spark once for the pinned order, the users to score and what they clicked afterwards; `measure` then
trains and ranks with changed settings, as often as one likes. Axis letters: U users, K list length.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from pyspark.sql import functions as F

from jobs import build_negative_pools, build_sampling_probs, ingest_movielens, run_day
from jobs.common import tables
from jobs.common.config import load_config
from jobs.common.partitions import Lake
from jobs.common.queries import query
from jobs.common.session import spark_session
from jobs.evaluate_candidates import item_slices
from jobs.score_users import users_to_score
from jobs.train_two_tower import training_order
from model.features import tensors
from model.fit import Order, fit
from model.index import ExactIndex
from model.loaders import read_files
from model.metrics import ranking_metrics
from model.versions import load_model

FIRST_DAY = dt.date(2026, 1, 1)
AT = (20, 100)


def movielens_lake(folder: Path) -> Lake:
    """A lake with the tables of all ten logical days of MovieLens-100K; made on the first call."""
    lake = Lake(spark_session("benchmark"), str(folder))
    if not lake.has(tables.IMPRESSIONS):
        ingest_movielens.main(["--lake", lake.uri, "--ds", str(FIRST_DAY)])
    built = {row.ds for row in lake.read(tables.DAILY_ITEM_COUNTS).select("ds").distinct().collect()}
    for number in range(ingest_movielens.LOGICAL_DAYS):
        day = FIRST_DAY + dt.timedelta(days=number)
        if day not in built:
            run_day.main(["--lake", lake.uri, "--ds", str(day), "--tables-only"])
    return lake


def prepare(lake: Lake, ds: dt.date, folder: Path) -> Path:
    """Write order, users and relevant items of a day into `folder`, which can then be measured again and again."""
    folder = folder / ds.isoformat()
    if (folder / "relevant.parquet").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["--lake", lake.uri, "--ds", str(ds)]
    build_negative_pools.main(arguments)
    build_sampling_probs.main(arguments)
    config = load_config()
    (folder / "order.json").write_text(json.dumps(training_order(lake, config, ds), default=str), "utf-8")
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
    users = users_to_score(lake, config, ds).drop("ds", "clicks").join(per_user, "user_id").orderBy("user_id")
    pq.write_table(users.toArrow(), folder / "relevant.parquet")
    return folder


def measure(
    prepared: Path,
    settings: Mapping[str, Any],
    model: Mapping[str, Any] | None = None,
    negatives: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Train and evaluate on the next day: `settings`, `model` and `negatives` are laid over the order's own."""
    values = json.loads((prepared / "order.json").read_text("utf-8"))
    values["settings"] |= settings
    values["spec"] |= model or {}
    values["negatives"] |= negatives or {}
    with tempfile.TemporaryDirectory() as folder:
        order = Order.from_json({**values, "folder": f"{folder}/model"})
        version = fit(order)
        towers, _ = load_model(Path(folder) / "model")
    users, available = pq.read_table(prepared / "relevant.parquet"), _items(order)
    with torch.no_grad():
        queries = towers.user(tensors(users, towers.spec.user)).numpy()  # [U, D]
        vectors = towers.item(tensors(available, towers.spec.item)).numpy()  # [I, D]
    index = ExactIndex.build(vectors, available["item_index"].to_numpy().astype(np.int64), model_version="benchmark")
    ranked, _ = index.search(queries, max(AT), _ragged(users["excluded"]))  # [U, K]
    found = {
        name: float(np.nanmean(value))
        for name, value in ranking_metrics(ranked, _ragged(users["relevant"]), AT).items()
    }
    return found | {"seconds": version.metrics["seconds"], "rows_per_second": version.metrics["rows_per_second"]}


def popularity(prepared: Path) -> dict[str, float]:
    """The metrics of the most clicked items, what a user clicked before left out."""
    order = Order.from_json({**json.loads((prepared / "order.json").read_text("utf-8")), "folder": "unused"})
    users, rows = pq.read_table(prepared / "relevant.parquet"), read_files(order.probabilities.files)
    clicks, indices = rows["clicks"].to_numpy(), rows["item_index"].to_numpy().astype(np.int64)
    index = ExactIndex.build(clicks[:, None].astype(np.float32), indices, model_version="popularity")
    ranked, _ = index.search(np.ones((users.num_rows, 1), np.float32), max(AT), _ragged(users["excluded"]))
    return {
        name: float(np.nanmean(value))
        for name, value in ranking_metrics(ranked, _ragged(users["relevant"]), AT).items()
    }


def _items(order: Order) -> pa.Table:
    rows = read_files(order.items.files)
    return rows.filter(pc.field("available"))


def _ragged(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    lists = column.combine_chunks()
    return lists.flatten().to_numpy().astype(np.int64), (lists.offsets.to_numpy() - lists.offsets[0].as_py()).astype(
        np.int64
    )
