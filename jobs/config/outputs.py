"""The sections [report], what people see of items and users, and [export], where and how lists are exported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jobs.config.features import Count, Section

Format = Literal["auto", "json", "hash", "parquet", "jsonl"]


class Report(Section):
    item_title: str
    item_picture: str
    user_ids: Literal["hashed", "shown"]
    example_users: tuple[str, ...]

    @property
    def item_columns(self) -> tuple[str, ...]:
        """The columns of `items` that are shown to people and read by no model."""
        return tuple(name for name in (self.item_title, self.item_picture) if name)


class Export(Section):
    target: str = Field(repr=False)  # may contain a password
    format: Format
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")]
    batch_users: Count
    keep_versions: Count
    ttl_hours: Annotated[int, Field(ge=0)]
