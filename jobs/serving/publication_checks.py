"""What must be true of a day's candidates before they are published."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.eligibility import blocked_items, first_published, is_too_old, short_lists
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving.publications import last_scored_at


class NotPublishable(ValueError):
    """The candidates do not meet a requirement; nothing is published, and readers keep the current publication."""


def require_complete_lists(lake: Lake, config: Config, target: Mapping[str, Any]) -> int:
    """The number of users with candidates, in the version of the table that `target` names.

    Raises NotPublishable unless every user of the day's snapshot has exactly one list, and each list was made by the
    target's model, has no item that is on the blocklist or too old, and is not empty if an item is possible for its
    user.
    """
    ds, version = target["ds"], target["model_version"]
    lists = lake.required_day(tables.CANDIDATES, ds, version=target["candidates_version"])
    counts = lists.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_distinct("user_id").alias("users"),
        F.count_if(F.size("candidates") == 0).alias("empty"),
        F.count_if(F.col("model_version") != version).alias("of_other_models"),
    ).first()
    assert counts is not None  # an aggregate
    users = lake.row_count(tables.user_snapshot(config), ds)
    if counts.rows != users or counts.users != users:
        raise NotPublishable(
            f"candidates of {ds} must have one row for each of {users} users, got {counts.rows} rows of "
            f"{counts.users} users"
        )
    empty = _wrongly_empty(lake, config, ds, lists) if counts.empty else 0
    if empty or counts.of_other_models:
        raise NotPublishable(
            f"candidates of {ds} must be lists of model {version}, not empty if an item is possible for the user, "
            f"got {empty} such empty lists and {counts.of_other_models} of another model"
        )
    _require_only_eligible(lake, config, ds, lists)
    return int(counts.users)


def _wrongly_empty(lake: Lake, config: Config, ds: dt.date, lists: DataFrame) -> int:
    """The number of empty lists of users for whom an item is available and not excluded."""
    return short_lists(lake, config, ds, lists).where("length = 0 and possible > 0").count()


def _require_only_eligible(lake: Lake, config: Config, ds: dt.date, lists: DataFrame) -> None:
    """Raises NotPublishable if a list has an item of the blocklist as it is now, or one that is too old."""
    first = first_published(config, ds)
    if not config.exclusions.blocklist and first is None:
        return
    items = lake.required_day(tables.item_snapshot(config), ds)
    old = items.where(F.lit(False) if first is None else is_too_old(first)).select("item_id", F.lit(True).alias("old"))
    blocked = blocked_items(lake, config).withColumn("blocked", F.lit(True))
    shown = lists.select(F.explode("candidates.item_id").alias("item_id")).distinct()
    found = shown.join(blocked, "item_id", "left").join(old, "item_id", "left")
    counts = found.agg(*(F.count_if(name).alias(name) for name in ("blocked", "old"))).first()
    assert counts is not None  # an aggregate
    if counts.blocked:
        raise NotPublishable(f"candidates of {ds} must have no item of the blocklist, got {counts.blocked}")
    if counts.old:
        limit = f"older than scoring.max_item_age_days ({config.scoring.max_item_age_days})"
        job = "build_item_neighbours" if config.reads_neighbours else "build_popular_items"
        raise NotPublishable(
            f"candidates of {ds} must have no item {limit}, got {counts.old}: run the day again from {job}"
        )


def require_gate_passed(lake: Lake, target: Mapping[str, Any]) -> None:
    """Raises NotPublishable unless the gate passed exactly the lists that the target points to."""
    ds = target["ds"]
    verdicts = lake.rows(tables.GATE, ds)
    lists = (target["model_version"], last_scored_at(lake, ds, target["candidates_version"]))
    if not verdicts or {(row.model_version, row.scored_at) for row in verdicts} != {lists}:
        raise NotPublishable(f"the gate has not checked these candidates of {ds}: run gate_candidates")
    if failed := sorted(row.rule for row in verdicts if not row.passed):
        raise NotPublishable(f"{ds} failed rules of the gate: {', '.join(failed)}")


def require_none_later(publications: Iterable[Row], ds: dt.date, otherwise: str) -> None:
    """Raises NotPublishable if a later day was ever published. otherwise: what a person can do."""
    later = max((row.ds for row in publications if row.ds > ds), default=None)
    if later is not None:
        raise NotPublishable(f"{ds} is before {later}, which was published already; {otherwise}")


def require_never_published(lake: Lake, last: Row, target: Mapping[str, Any]) -> None:
    """Raises NotPublishable if a later day was ever published, or if these lists were and were then rolled back.

    Without this check, running a day again after a rollback would publish the withdrawn lists again.
    """
    ds, publications = target["ds"], lake.rows(tables.PUBLICATIONS)
    require_none_later(publications, ds, "--republish publishes it anyway")
    if last.ds == ds:
        return
    # the table's version also changes when other days are written: lists scored before a publication are those it named
    scored_at = last_scored_at(lake, ds, target["candidates_version"])
    version = target["candidates_version"]
    for row in publications:
        same_lists = row.candidates_version == version or (scored_at is not None and row.published_at >= scored_at)
        if (row.ds, row.model_version) != (ds, target["model_version"]) or not same_lists:
            continue
        raise NotPublishable(
            f"these lists of {ds} were publication {row.publication}, and were rolled back: readers follow {last.ds}; "
            "--republish publishes them anyway"
        )
