"""A thousand epochs over files of several shapes: each epoch must read every row once, in the order of its seed.

python -m benchmarks.training.loader_epochs
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.command_line import benchmark_parser, parse
from model.data.item_tables import ITEM_INDEX
from model.data.loaders import epoch_batches
from model.data.shards import shards

SHAPES = {  # (rows of each file, rows per row group, readers, ranks)
    "one row group": ([1_000], 1_000, 1, 1),
    "12 row groups in a file": ([1_200], 100, 1, 1),
    "40 files": ([100] * 40, 100, 1, 1),
    "40 files, 3 readers": ([100] * 40, 100, 3, 1),
    "8 planned files, 2 ranks": ([101, 100] * 4, 200, 1, 2),
    "uneven files, 3 ranks, 2 readers": ([700, 13, 1], 50, 2, 3),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--epochs", type=int, default=1_000)
    args = parse(parser, argv, epochs=2)
    for name, (files, group, readers, ranks) in SHAPES.items():
        with tempfile.TemporaryDirectory(prefix="loader-epochs-") as folder:
            urls: list[str] = []
            start = 0
            for number, rows in enumerate(files):
                path = Path(folder) / f"part-{number:03}.parquet"
                column = pa.array(np.arange(start, start + rows), pa.int32())
                pq.write_table(pa.table({"item_index": column}), path, row_group_size=group)
                urls, start = [*urls, path.as_uri()], start + rows
            wrong, orders = 0, set()
            for epoch in range(args.epochs):
                read = [
                    batch["item_index"].numpy()
                    for shard in shards(urls, files, 64, ranks)
                    for batch in epoch_batches(shard, [ITEM_INDEX], seed=1 + epoch, readers=readers)
                ]
                order = np.concatenate(read)
                wrong += not np.array_equal(np.sort(order), np.arange(start))
                orders.add(order.tobytes())
        print(f"{name}: {args.epochs:,} epochs of {start:,} rows, {wrong} wrong, {len(orders):,} orders", flush=True)


if __name__ == "__main__":
    main()
