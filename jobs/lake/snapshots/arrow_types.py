"""Columns of Parquet files in the declared types, where files of older versions lack fields."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def in_type(column: pa.ChunkedArray, wanted: pa.DataType) -> pa.ChunkedArray:
    """The column cast to a type. A field that the structs of a list lack is null."""
    if not pa.types.is_list(wanted) or not pa.types.is_struct(wanted.value_type):
        return column.cast(wanted)
    if column.type.value_type.num_fields == wanted.value_type.num_fields:
        return column.cast(wanted)
    return pa.chunked_array([_with_all_fields(chunk, wanted) for chunk in column.chunks], wanted)


def _with_all_fields(lists: pa.ListArray, wanted: pa.ListType) -> pa.ListArray:
    structs, fields = lists.flatten(), [*wanted.value_type]
    stored = {field.name for field in structs.type}
    values = [
        structs.field(field.name).cast(field.type) if field.name in stored else pa.nulls(len(structs), field.type)
        for field in fields
    ]
    missing = structs.is_null() if structs.null_count else None
    made = pa.StructArray.from_arrays(values, fields=fields, mask=missing)
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    nulls = np.append(lists.is_null().to_numpy(zero_copy_only=False), False)  # a null offset makes its row null
    return pa.ListArray.from_arrays(pa.array(offsets, mask=nulls if nulls.any() else None), made).cast(wanted)
