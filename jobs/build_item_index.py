"""item_embeddings and the index: every item through the item tower, and the available ones ready to be searched.

Overwrites the day of item_embeddings; puts the indexes that [index] build names under indexes/ in the lake.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import job_parser, open_lake, run
from jobs.common.artifacts import put_folder
from jobs.common.config import Config
from jobs.common.models import ITEMS_FILE, ModelReference, batches_with_rows, index_path, open_towers, refer
from jobs.common.partitions import Lake
from model.features import columns, tensors
from model.index import build_index
from model.loaders import read_files


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def item_embeddings(item_snapshot: DataFrame, ref: ModelReference) -> DataFrame:
    """Rows (item_id, item_index, available, embedding) of every item, worked out on the executors."""
    names = [*columns(open_towers(ref).spec.item), "item_id", "item_index", "available"]

    def embed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        towers = open_towers(ref)
        for batch in batches_with_rows(batches):
            with torch.no_grad():
                vectors = towers.item(tensors(batch, towers.spec.item)).numpy()  # [B, D]
            lists = pa.ListArray.from_arrays(
                pa.array(np.arange(len(vectors) + 1, dtype=np.int32) * vectors.shape[1]), pa.array(vectors.ravel())
            )
            kept = [batch.column(name) for name in ("item_id", "item_index", "available")]
            yield pa.RecordBatch.from_arrays([*kept, lists], ["item_id", "item_index", "available", "embedding"])

    schema = "item_id string, item_index int, available boolean, embedding array<float>"
    return item_snapshot.select(*dict.fromkeys(names)).mapInArrow(embed, schema)


def build_indexes(lake: Lake, config: Config, ds: dt.date, version: str) -> None:
    """Build and put the configured indexes over the available items, and the list of items behind them.

    An index needs its matrix in memory, here as where it is searched: it is read file by file, not through the driver.
    """
    rows = read_files(lake.pinned(tables.ITEM_EMBEDDINGS, ds, 1).files)
    vectors = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(rows.num_rows, -1)  # [I, D]
    available, item_indices = rows["available"].to_numpy(), rows["item_index"].to_numpy().astype(np.int64)
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder:
        for backend in config.index.build:
            options = _options(config, backend)
            index = build_index(backend, vectors[available], item_indices[available], model_version=version, **options)
            index.save(Path(folder) / backend)
            put_folder(lake.spark, Path(folder) / backend, index_path(lake, version, backend))
        probabilities = read_files(lake.pinned(tables.ITEM_SAMPLING_PROBS, ds, 1).files)
        (Path(folder) / "items").mkdir()
        pq.write_table(listed(rows, probabilities, version), Path(folder) / "items" / ITEMS_FILE)
        put_folder(lake.spark, Path(folder) / "items", index_path(lake, version, "items"))


def listed(rows: pa.Table, probabilities: pa.Table, version: str) -> pa.Table:
    """item_id by item_index (null where there is none), with the share q of the rows that were trained on."""
    size = int(rows["item_index"].to_numpy().max()) + 1
    q = np.zeros(size)  # [I]
    q[probabilities["item_index"].to_numpy()] = probabilities["q"].to_numpy()
    available = np.zeros(size, dtype=bool)  # [I]
    available[rows["item_index"].to_numpy()] = rows["available"].to_numpy()
    order = np.full(size, -1)  # where in the table an index stands
    order[rows["item_index"].to_numpy()] = np.arange(rows.num_rows)
    item_ids = rows["item_id"].combine_chunks().take(pa.array(order, mask=order < 0))
    table = pa.table({"item_id": item_ids, "available": available, "q": q})
    return table.replace_schema_metadata({"model_version": version})


def _options(config: Config, backend: str) -> dict[str, int]:
    index = config.index
    options = {
        "annoy": {"n_trees": index.annoy_trees, "search_k": index.annoy_search_nodes},
        "ivf": {"lists": index.ivf_lists, "probes": index.ivf_probes},
    }
    return options.get(backend, {})


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "build_item_index")
    ref = refer(lake, args.ds)
    rows = item_embeddings(lake.required_day(tables.item_snapshot(config), args.ds), ref)
    rows = rows.withColumn("model_version", F.lit(ref.version))
    count = lake.overwrite(tables.ITEM_EMBEDDINGS, args.ds, rows)
    build_indexes(lake, config, args.ds, ref.version)
    return count


if __name__ == "__main__":
    run(main)
