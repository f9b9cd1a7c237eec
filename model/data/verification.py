"""Pinned files are looked through before the first training step: each is there, whole, and holds what was pinned."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.file_systems import opened
from model.data.parquet_pages import PageDamaged, check_chunk
from model.data.pinned_files import PinnedFiles, RowCountMismatch

MAGIC = b"PAR1"
TAIL = 64 * 1024  # bytes that are asked for first; most footers fit
TOGETHER = 8 * 1024 * 1024  # bytes of neighbouring columns that one request may bring
READERS = 16  # files at a time: a window is thousands of them, and a remote store answers slowly


class PinnedFileDamaged(ValueError):
    """A pinned file is missing, cut short, no Parquet, or not what was written; it is named."""


def check_files(table: str, pinned: PinnedFiles, columns: Sequence[str]) -> list[int]:
    """Look through every file: its footer, and the pages of `columns` where the writer gave them checksums.

    Returns how many rows each holds.
    Raises PinnedFileDamaged, and RowCountMismatch where the footers do not add up to the pinned rows.
    """
    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(partial(_look_at, columns=frozenset(columns)), pinned.files))
    faults = [f"{file}: {fault}" for file, (_, fault) in zip(pinned.files, found, strict=True) if fault]
    if faults:
        more = f" (and {len(faults) - 1} more of {len(found)} files)" if len(faults) > 1 else ""
        raise PinnedFileDamaged(f"{table} cannot be trained on: {faults[0]}{more}")
    rows = sum(count for count, _ in found)
    if rows != pinned.rows:
        raise RowCountMismatch(
            f"{table} cannot be trained on: the files hold {rows} rows, the pinned version {pinned.rows}; "
            f"one of them was replaced, the first is {pinned.files[0] if pinned.files else 'none'}"
        )
    return [count for count, _ in found]


def _look_at(url: str, columns: frozenset[str]) -> tuple[int, str | None]:
    """The file's rows, and what is wrong with it; an error of the store itself is raised as it is."""
    try:
        with opened(url) as file:
            footer = _footer(file, columns)
            for group in range(footer.num_row_groups):
                _check_group(file, footer.row_group(group), columns)
            return footer.num_rows, None
    except FileNotFoundError:
        return 0, "it is missing"
    except UnicodeDecodeError:
        return 0, "its footer is not readable"
    except (PinnedFileDamaged, PageDamaged) as error:
        return 0, str(error)


def _footer(file: pa.NativeFile, columns: frozenset[str]) -> pq.FileMetaData:
    size = file.size()
    if size == 0:
        raise PinnedFileDamaged("it is empty")
    if file.read_at(len(MAGIC), 0) != MAGIC:
        raise PinnedFileDamaged("it is not a Parquet file")
    tail = _at(file, max(size - TAIL, 0), min(size, TAIL))
    if size < 12 or tail[-4:] != MAGIC:
        raise PinnedFileDamaged(f"it is cut short: after {size} bytes there is no footer")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > size:
        raise PinnedFileDamaged(f"its footer says that it is {length} bytes long, in a file of {size}")
    if length > len(tail):
        tail = _at(file, size - length, length)
    try:  # from memory: what fails now is the footer, not the store
        footer = pq.ParquetFile(pa.BufferReader(MAGIC + tail[-length:])).metadata
        names = footer.schema.to_arrow_schema().names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PinnedFileDamaged("its footer is not readable") from error
    if footer.num_rows != sum(footer.row_group(group).num_rows for group in range(footer.num_row_groups)):
        raise PinnedFileDamaged("its footer contradicts itself on the number of rows")
    if lacking := columns.difference(names):
        raise PinnedFileDamaged(f"it lacks the columns {sorted(lacking)}")
    return footer


def _check_group(file: pa.NativeFile, group: pq.RowGroupMetaData, columns: frozenset[str]) -> None:
    chunks = [group.column(number) for number in range(group.num_columns)]
    wanted = {_start(chunk): chunk for chunk in chunks if _is_of(chunk.path_in_schema, columns)}
    for start, length in _spans({start: chunk.total_compressed_size for start, chunk in wanted.items()}):
        data = memoryview(_at(file, start, length))
        for first, chunk in wanted.items():
            if start <= first < start + length:
                end = first - start + chunk.total_compressed_size
                try:
                    check_chunk(data[first - start : end], chunk.num_values, chunk.total_uncompressed_size)
                except PageDamaged as error:
                    raise PageDamaged(f"column {chunk.path_in_schema} is damaged: {error}") from error


def _is_of(path: str, columns: frozenset[str]) -> bool:
    """A list lies at NAME.list.element; a name may hold dots of its own."""
    return path in columns or any(path.startswith(f"{name}.") for name in columns)


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    starts = [chunk.data_page_offset]
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        starts.append(chunk.dictionary_page_offset)
    return min(starts)


def _spans(sizes: dict[int, int]) -> list[tuple[int, int]]:
    """(start, length) of what is read at once: neighbours together."""
    spans: list[tuple[int, int]] = []
    for start, size in sorted(sizes.items()):
        first, length = spans[-1] if spans else (start, 0)
        if first + length == start and length + size <= TOGETHER:
            spans[-1:] = [(first, length + size)]
        else:
            spans.append((start, size))
    return spans


def _at(file: pa.NativeFile, start: int, length: int) -> bytes:
    data = file.read_at(length, start) if start >= 0 and length >= 0 else b""
    if len(data) != length:
        raise PinnedFileDamaged("its footer points behind its end")
    return data
