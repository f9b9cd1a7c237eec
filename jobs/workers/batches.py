"""The batches of rows that Spark passes to a function of mapInArrow."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa

Batches = Iterable[pa.RecordBatch]
MapBatches = Callable[[Batches], Iterator[pa.RecordBatch]]  # a function of mapInArrow


def batches_with_rows(batches: Batches) -> Iterator[pa.RecordBatch]:
    """The batches that have rows: Spark may also pass empty ones."""
    return (batch for batch in batches if batch.num_rows)
