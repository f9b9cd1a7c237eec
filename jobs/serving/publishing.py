"""Publishing: readers follow the last row of the table publications, which is added by compare-and-set.

Each publication names the one that it follows. `add_publication` adds the row only if no other publisher has followed
the same publication since it was read. Of two concurrent publishers one wins, and the other gets a
PublicationConflict and changes nothing. Rollback (`jobs.serving.rollback`) adds a row in the same way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pyspark.sql import Row

from jobs.inference.references import model_version
from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.lake import Lake
from jobs.serving.publication_checks import require_never_published
from jobs.serving.publications import last_publication, newest_versions


class PublicationConflict(ValueError):
    """Another publisher was faster: it has followed the same publication."""


def newest_target(lake: Lake, ds: dt.date) -> dict[str, Any]:
    """What a publication of the day points to if it is made now: its columns ds, model_version and table versions.

    Raises NoSuchDay if the day has no model.
    """
    return {"ds": ds, "model_version": model_version(lake, ds), **newest_versions(lake)}


def publish(lake: Lake, target: Mapping[str, Any], published_at: dt.datetime, republish: bool) -> int:
    """Add the publication of a target and return its number; that of the last one if it has this target already.

    target: the items of `newest_target`, and `users`. Raises PublicationConflict, or NotPublishable as
    `require_never_published` does; `republish` skips that check.
    """
    last = last_publication(lake)
    if last is not None and not republish:
        if last.asDict().items() >= target.items():
            return int(last.publication)  # an earlier run was interrupted after this step
        require_never_published(lake, last, target)
    return add_publication(lake, last, target, published_at)


def add_publication(lake: Lake, last: Row | None, target: Mapping[str, object], published_at: dt.datetime) -> int:
    """Compare and set: add the publication that follows `last` and return its number.

    Its number is that of `last` plus one, and is the key of the table: the insert fails if somebody has published after
    `last` was read. Then raises PublicationConflict and adds nothing.
    """
    number, follows = (last.publication + 1, last.publication) if last is not None else (1, None)
    values = {**target, "publication": number, "follows": follows, "published_at": published_at}
    try:
        lake.insert_row(tables.PUBLICATIONS, values)
    except KeyConflict as error:
        raise PublicationConflict(
            f"another publisher has added publication {number}; nothing was published by this run"
        ) from error
    return int(number)
