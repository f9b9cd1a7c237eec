"""The section [export]: where `export_candidates` puts the published lists, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from jobs.config.features import Count, Section

Format = Literal["auto", "json", "hash", "parquet", "jsonl"]


class Export(Section):
    target: str = Field(repr=False)  # may contain a password
    format: Format
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")]
    batch_users: Count
    keep_versions: Count
    ttl_hours: Annotated[int, Field(ge=0)]
