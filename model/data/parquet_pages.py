"""The checksums of a Parquet file's pages: Spark puts one on each page, and this pyarrow does not look at them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DATA_PAGES = {0: 5, 3: 8}  # page type: the header's field that holds the number of values
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12  # Thrift's compact protocol
WHOLE = (4, 5, 6)  # i16, i32, i64


class PageDamaged(ValueError):
    """A page is not what its header says, or the header is none."""


def check_chunk(chunk: memoryview, values: int, size: int) -> None:
    """Walk the pages of one column chunk, of `values` values and `size` bytes uncompressed; raises PageDamaged.

    A page without a checksum passes, as does a wrong bit in a header that changes neither sizes nor counts: of those,
    pyarrow reads the same rows or fails.
    """
    found, uncompressed = 0, len(chunk)
    for page, data in _pages(chunk):
        if page.checksum is not None and zlib.crc32(data) != page.checksum & 0xFFFFFFFF:
            raise PageDamaged("a page does not fit its checksum")
        uncompressed += page.uncompressed - page.size
        found += page.values
    if found != values:
        raise PageDamaged(f"its pages hold {found} values, the footer says {values}")
    if uncompressed != size:
        raise PageDamaged(f"its pages hold {uncompressed} bytes uncompressed, the footer says {size}")


@dataclass(frozen=True)
class Page:
    """What counts of a page's header."""

    size: int  # bytes in the file
    uncompressed: int
    checksum: int | None
    values: int  # 0 in a dictionary


def _pages(chunk: memoryview) -> Iterator[tuple[Page, memoryview]]:
    place = 0
    while place < len(chunk):
        try:
            header, place = _struct(chunk, place)
            counts = DATA_PAGES.get(header[1])
            checksum = int(header[4]) if 4 in header else None
            page = Page(int(header[3]), int(header[2]), checksum, int(header[counts][1]) if counts else 0)
        except (LookupError, TypeError, OverflowError, RecursionError) as error:
            raise PageDamaged("a page has no readable header") from error
        if not 0 <= page.size <= len(chunk) - place:
            raise PageDamaged("a page ends behind its column")
        yield page, chunk[place : place + page.size]
        place += page.size


def _struct(data: memoryview, place: int) -> tuple[dict[int, Any], int]:
    fields: dict[int, Any] = {}
    number = 0
    while (byte := data[place]) != 0:
        place += 1
        if step := byte >> 4:
            number += step
        else:
            number, place = _zigzag(data, place)
        fields[number], place = _value(data, place, byte & 15)
    return fields, place + 1


def _value(data: memoryview, place: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, place
    if kind == BYTE:
        return data[place], place + 1
    if kind in WHOLE:
        return _zigzag(data, place)
    if kind == DOUBLE:
        return None, place + 8
    if kind == BINARY:
        length, place = _varint(data, place)
        return None, place + length
    if kind == STRUCT:
        return _struct(data, place)
    if kind in (LIST, SET):
        return _list(data, place)
    raise PageDamaged("a page has no readable header")


def _list(data: memoryview, place: int) -> tuple[None, int]:
    length, kind = data[place] >> 4, data[place] & 15
    place += 1
    if length == 15:
        length, place = _varint(data, place)
    if length > len(data):
        raise PageDamaged("a page has no readable header")
    for _ in range(length):
        _, place = _value(data, place, BYTE if kind in (TRUE, FALSE) else kind)
    return None, place


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _zigzag(data: memoryview, place: int) -> tuple[int, int]:
    value, place = _varint(data, place)
    return (value >> 1) ^ -(value & 1), place
