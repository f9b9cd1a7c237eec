"""Rollback: publish an earlier publication again, as a new row of the table publications."""

from __future__ import annotations

import datetime as dt
from typing import Any

from pyspark.sql import Row

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving.publication_checks import NotPublishable
from jobs.serving.publications import is_readable, last_scored_at, were_users_forgotten
from jobs.serving.publishing import add_publication, newest_target

MAX_STEPS = 50  # publications that a rollback can go back


def roll_back(lake: Lake, steps: int, published_at: dt.datetime) -> dict[str, Any]:
    """Publish again what was published `steps` publications ago; returns the new publication's target.

    Raises NotPublishable if there is no such publication or its files have been removed, and as
    `target_without_forgotten_users` does. Raises PublicationConflict if another publisher is faster.
    """
    rows = sorted(lake.rows(tables.PUBLICATIONS), key=lambda row: -row.publication)[: 1 + MAX_STEPS]
    earlier = rows[steps] if 0 < steps < len(rows) else None
    if earlier is None or not is_readable(lake, earlier):
        reason = "there is no such publication" if earlier is None else "its files have been removed"
        possible = [f"{n} ({row.ds})" for n, row in enumerate(rows) if n and is_readable(lake, row)]
        raise NotPublishable(
            f"cannot roll back {steps} publications, {reason}; possible: {', '.join(possible) or 'none'}"
        )
    target = target_without_forgotten_users(lake, earlier)
    add_publication(lake, rows[0], target, published_at)
    return target


def target_without_forgotten_users(lake: Lake, publication: Row) -> dict[str, Any]:
    """What the publication points to; if users were forgotten since, the newest versions, which are without them.

    Raises NotPublishable if the newest versions have other lists of that day.
    """
    ds, version = publication.ds, publication.candidates_version
    if not were_users_forgotten(lake, version):
        return publication.asDict()
    newest = newest_target(lake, ds)
    lists = (publication.model_version, last_scored_at(lake, ds, version))
    if (newest["model_version"], last_scored_at(lake, ds, newest["candidates_version"])) != lists:
        raise NotPublishable(
            f"publication {publication.publication} has users who were forgotten since, and {ds} was scored again: "
            "publish that with --ds and --republish, or roll back to another publication"
        )
    return {**newest, "users": lake.row_count(tables.CANDIDATES, ds, version=newest["candidates_version"])}
