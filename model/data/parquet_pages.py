"""Verifies the checksums of Parquet pages, which Spark writes and the locked version of pyarrow does not check."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DATA_PAGES = {0: 5, 3: 8}  # page type: the header's field that holds the number of values
TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12  # types of Thrift's compact protocol
INTEGERS = (4, 5, 6)  # i16, i32, i64


class PageDamaged(ValueError):
    """A page does not match its header, or its header cannot be parsed."""


def check_chunk(chunk: memoryview, values: int, size: int) -> None:
    """Raises PageDamaged unless the pages of a column chunk match their checksums and the counts in the footer.

    values, size: the footer's number of values and of uncompressed bytes. Pages without a checksum are accepted, and so
    is a damaged header with the right sizes and counts, with which pyarrow reads the same rows or fails.
    """
    read, uncompressed = 0, len(chunk)
    for page, data in _pages(chunk):
        if page.checksum is not None and zlib.crc32(data) != page.checksum & 0xFFFFFFFF:
            raise PageDamaged("a page does not match its checksum")
        uncompressed += page.uncompressed - page.size
        read += page.values
    if read != values:
        raise PageDamaged(f"its pages must hold {values} values, got {read}")
    if uncompressed != size:
        raise PageDamaged(f"its pages must hold {size} bytes uncompressed, got {uncompressed}")


@dataclass(frozen=True)
class PageHeader:
    """The fields of a page's header that are verified."""

    size: int  # bytes in the file
    uncompressed: int
    checksum: int | None
    values: int  # 0 for a dictionary page


def _pages(chunk: memoryview) -> Iterator[tuple[PageHeader, memoryview]]:
    """Each page's header and data. Raises PageDamaged for a header that cannot be parsed or gives a wrong size."""
    offset = 0
    while offset < len(chunk):
        try:
            header, offset = _struct(chunk, offset)
            counts = DATA_PAGES.get(header[1])
            checksum = int(header[4]) if 4 in header else None
            page = PageHeader(int(header[3]), int(header[2]), checksum, int(header[counts][1]) if counts else 0)
        except (LookupError, TypeError, OverflowError, RecursionError) as error:
            raise PageDamaged("a page has no readable header") from error
        if not 0 <= page.size <= len(chunk) - offset:
            raise PageDamaged("a page ends beyond its column")
        yield page, chunk[offset : offset + page.size]
        offset += page.size


def _struct(data: memoryview, offset: int) -> tuple[dict[int, Any], int]:
    """Parse a Thrift struct: (its fields by number, the offset after it)."""
    fields: dict[int, Any] = {}
    number = 0
    while (byte := data[offset]) != 0:
        offset += 1
        if step := byte >> 4:
            number += step
        else:
            number, offset = _zigzag(data, offset)
        fields[number], offset = _value(data, offset, byte & 15)
    return fields, offset + 1


def _value(data: memoryview, offset: int, kind: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, offset
    if kind == BYTE:
        return data[offset], offset + 1
    if kind in INTEGERS:
        return _zigzag(data, offset)
    if kind == DOUBLE:
        return None, offset + 8
    if kind == BINARY:
        length, offset = _varint(data, offset)
        return None, offset + length
    if kind == STRUCT:
        return _struct(data, offset)
    if kind in (LIST, SET):
        return _list(data, offset)
    raise PageDamaged("a page has no readable header")


def _list(data: memoryview, offset: int) -> tuple[None, int]:
    length, kind = data[offset] >> 4, data[offset] & 15
    offset += 1
    if length == 15:
        length, offset = _varint(data, offset)
    if length > len(data):
        raise PageDamaged("a page has no readable header")
    for _ in range(length):
        _, offset = _value(data, offset, BYTE if kind in (TRUE, FALSE) else kind)
    return None, offset


def _varint(data: memoryview, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
        shift += 7


def _zigzag(data: memoryview, offset: int) -> tuple[int, int]:
    value, offset = _varint(data, offset)
    return (value >> 1) ^ -(value & 1), offset
