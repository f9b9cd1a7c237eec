"""A lake with the tables that scoring reads: vectors of users and items, histories, popular items, the index.

Nothing is trained: vectors are drawn around centres, as trained ones are distributed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.index_building import store_indexes
from jobs.inference.user_sample import sampled_users
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.workers.embedding import list_array
from model.vocabulary import UNKNOWN

DAY = dt.date(2026, 1, 1)
VERSION = "benchmark"
CENTRES, SPREAD = 500, 0.7


def vectors(rows: int, dim: int, seed: int) -> np.ndarray:
    """Unit vectors [rows, D] around centres that are the same for every seed."""
    centres = np.random.default_rng(0).standard_normal((CENTRES, dim), dtype=np.float32)
    random = np.random.default_rng(seed)
    made = centres[random.integers(0, CENTRES, rows)] + SPREAD * random.standard_normal((rows, dim), dtype=np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def write(lake: Lake, config: Config, users: int, items: int, dim: int, excluded: int) -> None:
    """Write all tables of the day and build the indexes; each user has `excluded` items that are not to be shown."""
    spark = lake.spark
    version = F.lit(VERSION)
    row = (DAY, VERSION, DAY, 0, 0, 0.0, 0.0)
    lake.overwrite(tables.MODEL_VERSIONS, DAY, spark.createDataFrame([row], tables.MODEL_VERSIONS.schema))
    embedded = _embedded(spark, users, dim, "user", seed=1).withColumn("is_cold", F.lit(False))
    embedded = embedded.withColumns({"segment": F.lit(0), "scored_from": F.xxhash64("user_id")})
    lake.overwrite(tables.USER_EMBEDDINGS, DAY, embedded.drop("number").withColumn("model_version", version))
    out = f"transform(sequence(1, {excluded}), n -> {UNKNOWN} + 1 + int(pmod(xxhash64(id, n), {items})))"
    histories = spark.range(users).selectExpr(
        "concat('user', id) as user_id",
        "cast(array() as array<int>) as history",
        f"array(struct(DATE'{DAY}' as ds, {out} as item_indices)) as clicked",
    )
    lake.overwrite(tables.USER_HISTORIES, DAY, histories)
    of_items = _embedded(spark, items, dim, "item", seed=2)
    of_items = of_items.withColumns(
        {
            "item_index": (F.col("number") + UNKNOWN + 1).cast("int"),
            "available": F.lit(True),
            "feature_embedding": F.lit(None).cast("array<float>"),
            "model_version": version,
        }
    )
    lake.overwrite(tables.ITEM_EMBEDDINGS, DAY, of_items.drop("number"))
    popular = spark.range(min(items, 1_000)).selectExpr(
        "0 as segment", "concat('item', id) as item_id", f"int(id) + {UNKNOWN} + 1 as item_index",
        "1000 - id as clicks", "(1000 - id) / 500500d as share", "int(id) + 1 as rank",
    )  # fmt: skip
    lake.overwrite(tables.POPULAR_ITEMS, DAY, popular)
    built = store_indexes(lake, config, DAY, VERSION, sampled_users(lake, config, DAY))
    lake.overwrite(tables.ITEM_INDEXES, DAY, built)


def _embedded(spark: SparkSession, rows: int, dim: int, side: str, seed: int) -> DataFrame:
    """Rows (number, SIDE_id, embedding), drawn on the executors."""

    def draw(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if not batch.num_rows:
                continue
            numbers = batch.column("id")
            made = list_array(vectors(batch.num_rows, dim, seed=seed * 1_000_003 + numbers[0].as_py()))
            ids = pa.array([f"{side}{number}" for number in numbers.to_pylist()])
            yield pa.RecordBatch.from_arrays([numbers, ids, made], ["number", f"{side}_id", "embedding"])

    return spark.range(rows).mapInArrow(draw, f"number long, {side}_id string, embedding array<float>")
