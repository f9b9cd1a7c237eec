"""Removes users from publications: publishes the same lists without them, and says until when old versions exist."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pyspark.sql import Row
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.maintenance.retention import DEFAULT_KEEP_DAYS
from jobs.serving.publications import newest_versions
from jobs.serving.publishing import add_publication

SLACK_DAYS = 3  # two days that readers may follow one publication, and one that `retention_days` adds


def is_newest(lake: Lake, publication: Row, user_ids: Sequence[str]) -> bool:
    """Whether the newest lists of the publication's day are the published ones, apart from those of `user_ids`.

    Also true if an interrupted run has removed these users already.
    """
    published = _fingerprint(lake, publication, user_ids, publication.candidates_version)
    return _fingerprint(lake, publication, user_ids) == published


def republish(lake: Lake, publication: Row, user_ids: Sequence[str], at: dt.datetime) -> None:
    """Publish the newest versions of the tables, without the removed users; does nothing if they never had rows."""
    users = _fingerprint(lake, publication, user_ids)[0]
    wanted = {**publication.asDict(), **newest_versions(lake), "users": users}
    if wanted != publication.asDict():
        add_publication(lake, publication, wanted, at)


def expiry_messages(lake: Lake, version: int, at: dt.datetime) -> list[str]:
    """A line for each publication whose candidates are older than `version`: after which day they may be removed.

    Days count from `at`, when readers stopped following these versions. The named day is correct if at least every
    second day is published: maintenance keeps the files that the oldest lists still followed by readers need.
    """
    older = lake.read(tables.PUBLICATIONS).where(F.col("candidates_version") < version).orderBy("publication")
    day = at + dt.timedelta(days=DEFAULT_KEEP_DAYS + SLACK_DAYS)
    return [
        f"publication {row.publication} of {row.ds} contains them until maintain_tables runs after {day:%Y-%m-%d}"
        for row in older.select("publication", "ds").toLocalIterator()
    ]


def _fingerprint(
    lake: Lake, publication: Row, user_ids: Sequence[str], version: int | None = None
) -> tuple[object, ...]:
    """Number of lists, model version and last scoring time of the publication's day, without the given users."""
    rows = lake.read(tables.CANDIDATES, version=version).where(F.col("ds") == publication.ds)
    rows = rows.where(~F.col("user_id").isin(list(user_ids)))
    found = rows.agg(F.count(F.lit(1)), F.max("model_version"), F.max("scored_at")).first()
    return tuple(found or ())
