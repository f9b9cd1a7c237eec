"""publications: the pointer that readers of the candidates follow.

Checks that the day's candidates are whole, then adds one row that names the publication it follows and the Delta
versions it points to. Of two publishers that follow the same one, one gets a PublicationConflict.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Sequence

from delta.exceptions.captured import ConcurrentAppendException, MetadataChangedException, ProtocolChangedException
from pyspark.sql import functions as F

from jobs.common import tables
from jobs.common.arguments import at_argument, job_parser, now, open_lake, run
from jobs.common.config import Config
from jobs.common.models import model_version
from jobs.common.offer import blocked_items
from jobs.common.partitions import Lake
from jobs.common.tracking import record_publication

CONFLICTS = (ConcurrentAppendException, MetadataChangedException, ProtocolChangedException)


class NotPublishable(ValueError):
    """The day's candidates are not fit for readers; the pointer stays where it is."""


class PublicationConflict(ValueError):
    """Somebody else published after the publication that this one follows was read."""


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__)
    parser.add_argument("--published-at", type=at_argument, help="time recorded with the row, ISO 8601 (default: now)")
    parser.add_argument("--republish", action="store_true", help="let this day take the place of a later one")
    return parser


def require_whole(lake: Lake, config: Config, ds: dt.date) -> int:
    """How many users have candidates.

    Raises NotPublishable where a user lacks a row or has two, where a list is empty or holds what is on the blocklist,
    or where the rows are not of the day's model version.
    """
    version = model_version(lake, ds)
    lists = lake.required_day(tables.CANDIDATES, ds)
    found = lists.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_distinct("user_id").alias("users"),
        F.count_if(F.size("candidates") == 0).alias("empty"),
        F.count_if(F.col("model_version") != version).alias("foreign"),
    ).first()
    assert found is not None
    wanted = lake.day(tables.user_snapshot(config), ds).count()
    if found.rows != wanted or found.users != wanted:
        raise NotPublishable(
            f"candidates of {ds} hold {found.rows} rows of {found.users} users, the snapshot {wanted} users"
        )
    if found.empty or found.foreign:
        raise NotPublishable(f"candidates of {ds}: {found.empty} empty lists, {found.foreign} not of model {version}")
    if config.exclusions.blocklist:
        listed = lists.select(F.explode("candidates.item_id").alias("item_id"))
        banned = listed.join(blocked_items(lake, config), "item_id", "left_semi").distinct().count()
        if banned:
            raise NotPublishable(f"candidates of {ds} hold {banned} items that are on the blocklist by now")
    return int(found.users)


def publish(lake: Lake, ds: dt.date, users: int, published_at: dt.datetime, republish: bool) -> int:
    """Add the publication and return its number; raises PublicationConflict, and NotPublishable for an older day."""
    last = lake.read(tables.PUBLICATIONS).orderBy(F.desc("publication")).first()
    if last is not None and last.ds > ds and not republish:
        raise NotPublishable(f"{last.ds} is published already and {ds} lies before it; --republish puts it back")
    number = last.publication + 1 if last is not None else 1
    row = (
        number,
        last.publication if last is not None else None,
        ds,
        model_version(lake, ds),
        lake.version(tables.CANDIDATES),
        lake.version(tables.ITEM_EMBEDDINGS),
        lake.version(tables.USER_EMBEDDINGS),
        users,
        published_at,
    )
    rows = lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema)
    try:
        # a bare append never conflicts; this one looks at the place it fills, and so sees who was there first
        lake.overwrite_where(tables.PUBLICATIONS, rows, f"publication = {number}")
    except CONFLICTS as error:
        raise PublicationConflict(
            f"publication {number} was taken by another publisher; nothing was published"
        ) from error
    return number


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "publish_candidates")
    users = require_whole(lake, config, args.ds)
    publish(lake, args.ds, users, args.published_at or now(), args.republish)
    record_publication(lake, config, model_version(lake, args.ds))
    return users


if __name__ == "__main__":
    run(main)
