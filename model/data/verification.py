"""Verifies pinned files before the first training step: each exists, is undamaged, and has the pinned rows."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from model.data.file_systems import open_file
from model.data.parquet_pages import PageDamaged, check_chunk
from model.data.pinned_files import PinnedFiles, RowCountMismatch

MAGIC = b"PAR1"
TAIL = 64 * 1024  # bytes read first; most footers are shorter
MAX_SPAN = 8 * 1024 * 1024  # bytes of neighbouring column chunks that are read with one request
READERS = 16  # files at a time, because a window may have thousands of files in a slow remote store


class PinnedFileDamaged(ValueError):
    """A pinned file is missing, truncated, changed or not a Parquet file. The message names the file."""


def check_files(
    table: str, pinned: PinnedFiles, columns: Sequence[str], *, share: float = 1.0, day: int = 0
) -> list[int]:
    """Verify each file's footer, and the checksums of the pages of `columns`, if the writer stored any.

    share: of the files, whose pages are verified; chosen by a hash of the file and the day, so that a file that stays
    in the window is verified on some days. 0: footers only.
    Returns the number of rows of each file. table: its name in error messages.
    Raises PinnedFileDamaged, and RowCountMismatch if the files do not have the pinned number of rows together.
    """
    is_verified = [zlib.crc32(f"{day} {file}".encode()) < share * 2**32 for file in pinned.files]
    with ThreadPoolExecutor(READERS) as pool:
        checked = list(pool.map(partial(_check_file, columns=frozenset(columns)), pinned.files, is_verified))
    faults = [f"{file}: {fault}" for file, (_, fault) in zip(pinned.files, checked, strict=True) if fault]
    if faults:
        more = f" (and {len(faults) - 1} more of {len(checked)} files)" if len(faults) > 1 else ""
        raise PinnedFileDamaged(f"{table} cannot be trained on: {faults[0]}{more}")
    rows = sum(count for count, _ in checked)
    if rows != pinned.rows:
        raise RowCountMismatch(
            f"{table} cannot be trained on: the files must hold the pinned version's {pinned.rows} rows, got {rows}; "
            f"one of them was replaced, the first is {pinned.files[0] if pinned.files else 'none'}"
        )
    return [count for count, _ in checked]


def _check_file(url: str, are_pages_verified: bool, columns: frozenset[str]) -> tuple[int, str | None]:
    """(number of rows, fault or None). Raises errors of the store, other than a missing file, unchanged."""
    try:
        with open_file(url) as file:
            footer = _footer(file, columns)
            for group in range(footer.num_row_groups if are_pages_verified else 0):
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
    tail = _read_at(file, max(size - TAIL, 0), min(size, TAIL))
    if size < 12 or tail[-4:] != MAGIC:
        raise PinnedFileDamaged(f"it is truncated: there is no footer at the end of its {size} bytes")
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if length > size:
        raise PinnedFileDamaged(f"its footer must fit into the file's {size} bytes, got a length of {length}")
    if length > len(tail):
        tail = _read_at(file, size - length, length)
    try:  # parsed from memory, so that an error cannot come from the store
        footer = pq.ParquetFile(pa.BufferReader(MAGIC + tail[-length:])).metadata
        names = footer.schema.to_arrow_schema().names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise PinnedFileDamaged("its footer is not readable") from error
    if footer.num_rows != sum(footer.row_group(group).num_rows for group in range(footer.num_row_groups)):
        raise PinnedFileDamaged("its footer gives two different numbers of rows")
    if missing := columns.difference(names):
        raise PinnedFileDamaged(f"it lacks the columns {sorted(missing)}")
    return footer


def _check_group(file: pa.NativeFile, group: pq.RowGroupMetaData, columns: frozenset[str]) -> None:
    chunks = [group.column(number) for number in range(group.num_columns)]
    selected = {_start(chunk): chunk for chunk in chunks if _belongs_to(chunk.path_in_schema, columns)}
    for start, length in _spans({start: chunk.total_compressed_size for start, chunk in selected.items()}):
        data = memoryview(_read_at(file, start, length))
        for first, chunk in selected.items():
            if start <= first < start + length:
                end = first - start + chunk.total_compressed_size
                try:
                    check_chunk(data[first - start : end], chunk.num_values, chunk.total_uncompressed_size)
                except PageDamaged as error:
                    raise PageDamaged(f"column {chunk.path_in_schema} is damaged: {error}") from error


def _belongs_to(path: str, columns: frozenset[str]) -> bool:
    """Whether a path in the schema belongs to one of the columns: that of a list is NAME.list.element."""
    return path in columns or any(path.startswith(f"{name}.") for name in columns)


def _start(chunk: pq.ColumnChunkMetaData) -> int:
    starts = [chunk.data_page_offset]
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        starts.append(chunk.dictionary_page_offset)
    return min(starts)


def _spans(sizes: dict[int, int]) -> list[tuple[int, int]]:
    """(start, length) of each read, which joins neighbouring chunks; sizes: of the chunks, by their start."""
    spans: list[tuple[int, int]] = []
    for start, size in sorted(sizes.items()):
        first, length = spans[-1] if spans else (start, 0)
        if first + length == start and length + size <= MAX_SPAN:
            spans[-1:] = [(first, length + size)]
        else:
            spans.append((start, size))
    return spans


def _read_at(file: pa.NativeFile, start: int, length: int) -> bytes:
    data = file.read_at(length, start) if start >= 0 and length >= 0 else b""
    if len(data) != length:
        raise PinnedFileDamaged("its footer points beyond its end")
    return data
