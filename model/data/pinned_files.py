"""The Parquet files of one version of a table: what readers other than Spark are given instead of a table's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


class RowCountMismatch(RuntimeError):
    """The rows read are not those of the pinned version: no model may be saved."""


@dataclass(frozen=True)
class PinnedFiles:
    """The Parquet files that hold some days of a table at one version of it."""

    version: int  # of the Delta table
    files: tuple[str, ...]  # URLs
    rows: int  # of all files together

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PinnedFiles:
        return cls(int(values["version"]), tuple(values["files"]), int(values["rows"]))
