"""The Parquet files of one version of a table. Readers other than Spark get them instead of the table's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


class RowCountMismatch(RuntimeError):
    """The number of rows read is not that of the pinned version, so no model may be saved."""


@dataclass(frozen=True)
class PinnedFiles:
    """The Parquet files with some days of a table, at one version of the table."""

    version: int  # of the Delta table
    files: tuple[str, ...]  # URLs
    rows: int  # in all files together

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PinnedFiles:
        return cls(int(values["version"]), tuple(values["files"]), int(values["rows"]))
