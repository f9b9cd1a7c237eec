"""Publication and rollback: how the pointer that readers follow is moved."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pyspark.sql import Row
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.eligibility import blocked_items
from jobs.inference.references import model_version
from jobs.lake import tables
from jobs.lake.errors import KeyConflict
from jobs.lake.lake import Lake
from jobs.serving.publications import (
    is_readable,
    last_publication,
    last_scored_at,
    newest_versions,
    were_users_forgotten,
)

MOST_LISTED = 50  # publications that a rollback looks back


class NotPublishable(ValueError):
    """The day's candidates are not fit for readers; the pointer stays where it is."""


class PublicationConflict(ValueError):
    """Somebody else published after the publication that this one follows was read."""


def newest_target(lake: Lake, ds: dt.date) -> dict[str, Any]:
    """What a publication of the day points to by now, by its columns. Raises NoSuchDay where there is no model."""
    return {"ds": ds, "model_version": model_version(lake, ds), **newest_versions(lake)}


def require_whole(lake: Lake, config: Config, wanted: Mapping[str, Any]) -> int:
    """How many users have candidates, in the version that is wanted.

    Raises NotPublishable where a user lacks a row or has two, where a list is empty or holds what is on the blocklist,
    or where the rows are not of the day's model version.
    """
    ds, version = wanted["ds"], wanted["model_version"]
    lists = lake.required_day(tables.CANDIDATES, ds, version=wanted["candidates_version"])
    found = lists.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_distinct("user_id").alias("users"),
        F.count_if(F.size("candidates") == 0).alias("empty"),
        F.count_if(F.col("model_version") != version).alias("foreign"),
    ).first()
    assert found is not None
    users = lake.day(tables.user_snapshot(config), ds).count()
    if found.rows != users or found.users != users:
        raise NotPublishable(
            f"candidates of {ds} hold {found.rows} rows of {found.users} users, the snapshot {users} users"
        )
    if found.empty or found.foreign:
        raise NotPublishable(f"candidates of {ds}: {found.empty} empty lists, {found.foreign} not of model {version}")
    if config.exclusions.blocklist:
        listed = lists.select(F.explode("candidates.item_id").alias("item_id"))
        banned = listed.join(blocked_items(lake, config), "item_id", "left_semi").distinct().count()
        if banned:
            raise NotPublishable(f"candidates of {ds} hold {banned} items that are on the blocklist by now")
    return int(found.users)


def require_passed(lake: Lake, wanted: Mapping[str, Any]) -> None:
    """Raises NotPublishable unless the gate has passed exactly the day's lists in the version that is wanted."""
    ds = wanted["ds"]
    verdicts = lake.day(tables.GATE, ds).collect()  # a dozen rows
    judged = (wanted["model_version"], last_scored_at(lake, ds, wanted["candidates_version"]))
    if not verdicts or {(row.model_version, row.scored_at) for row in verdicts} != {judged}:
        raise NotPublishable(f"the gate has not judged the candidates of {ds}: run gate_candidates")
    if failed := sorted(row.rule for row in verdicts if not row.passed):
        raise NotPublishable(f"the gate holds {ds} back: {', '.join(failed)}")


def publish(lake: Lake, wanted: Mapping[str, Any], published_at: dt.datetime, republish: bool) -> int:
    """Add the publication and return its number; where readers follow exactly this already, that one's.

    `wanted` is what it points to (`newest_target`) and its users. Raises PublicationConflict, and without `republish`
    NotPublishable where `require_new` does.
    """
    last = last_publication(lake)
    if last is not None and not republish:
        if last.asDict().items() >= wanted.items():
            return int(last.publication)  # a run that was cut off behind it
        require_new(lake, last, wanted)
    return add_publication(lake, last, wanted, published_at)


def require_new(lake: Lake, last: Row, wanted: Mapping[str, Any]) -> None:
    """Raises NotPublishable for a day before one that was ever published, and for lists that readers no longer follow.

    A day that is run again after a rollback would bring back what somebody took from readers.
    """
    ds, published = wanted["ds"], lake.read(tables.PUBLICATIONS)
    later = published.where(F.col("ds") > F.lit(ds)).agg(F.max("ds")).first()[0]  # type: ignore[index]
    if later is not None:
        raise NotPublishable(f"{later} was published already and {ds} lies before it; --republish puts it back")
    if last.ds == ds:
        return
    # the table's version grows with other days too: lists that were there by then are the same
    scored_at = last_scored_at(lake, ds, wanted["candidates_version"])
    same = (F.col("candidates_version") == wanted["candidates_version"]) | (F.col("published_at") >= F.lit(scored_at))
    of_lists = (F.col("ds") == F.lit(ds)) & (F.col("model_version") == wanted["model_version"])
    if (row := published.where(of_lists & same).first()) is not None:
        raise NotPublishable(
            f"these lists of {ds} were publication {row.publication}, and readers follow {last.ds} since a rollback; "
            "--republish puts them back"
        )


def roll_back(lake: Lake, steps: int, published_at: dt.datetime) -> dict[str, Any]:
    """Publish again what was published `steps` publications before the newest; returns what readers get, by columns.

    Raises NotPublishable, with what there is, where that is none, or its files are gone, and where it holds users who
    were forgotten since and the day was made again since.
    """
    rows = lake.read(tables.PUBLICATIONS).orderBy(F.desc("publication")).limit(1 + MOST_LISTED).collect()
    wanted = rows[steps] if 0 < steps < len(rows) else None
    if wanted is None or not is_readable(lake, wanted):
        there = [f"{n} ({row.ds})" for n, row in enumerate(rows) if n and is_readable(lake, row)]
        fault = "is none" if wanted is None else "is one whose files have been removed"
        raise NotPublishable(f"there {fault} {steps} places back; there are: {', '.join(there) or 'none'}")
    renewed = without_forgotten(lake, wanted)
    add_publication(lake, rows[0], renewed, published_at)
    return renewed


def without_forgotten(lake: Lake, publication: Row) -> dict[str, Any]:
    """What a publication points to; where users were forgotten since, the same lists in the newest versions.

    Raises NotPublishable where these hold other lists of the day.
    """
    ds, version = publication.ds, publication.candidates_version
    if not were_users_forgotten(lake, version):
        return publication.asDict()
    wanted = newest_target(lake, ds)
    ours = (publication.model_version, last_scored_at(lake, ds, version))
    if (wanted["model_version"], last_scored_at(lake, ds, wanted["candidates_version"])) != ours:
        raise NotPublishable(
            f"publication {publication.publication} holds users who were forgotten since, and {ds} was made again: "
            "publish that with --ds and --republish, or roll back to another"
        )
    return {**wanted, "users": lake.day(tables.CANDIDATES, ds, version=wanted["candidates_version"]).count()}


def add_publication(lake: Lake, last: Row | None, wanted: Mapping[str, object], published_at: dt.datetime) -> int:
    """Add the publication that follows `last` and points where `wanted` does, by its columns; returns its number.

    Raises PublicationConflict.
    """
    number, follows = (last.publication + 1, last.publication) if last is not None else (1, None)
    values = {**wanted, "publication": number, "follows": follows, "published_at": published_at}
    listed = tuple(values[name] for name in tables.PUBLICATIONS.columns)
    row = lake.spark.createDataFrame([listed], tables.PUBLICATIONS.schema)
    try:
        lake.insert(tables.PUBLICATIONS, row)
    except KeyConflict as error:
        raise PublicationConflict(
            f"publication {number} was taken by another publisher; nothing was published"
        ) from error
    return int(number)
