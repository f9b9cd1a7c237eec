"""How long replaced files are kept: lists that readers follow, or followed in the last days, must stay readable."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from jobs.inference.references import EXPLORE, INDEXES, ITEMS, MODELS, NEIGHBOURS, index_folder
from jobs.lake import tables
from jobs.lake.files import glob_statuses
from jobs.lake.lake import Lake

DEFAULT_KEEP_DAYS = 30
MIN_KEEP_DAYS = 7  # a training or a reader that is still running may use files of this age
SECONDS_PER_DAY = 86_400


def retention_days(lake: Lake, keep_days: int, at: dt.datetime) -> int:
    """For how many days replaced files are kept: `keep_days`, or more if readers followed older lists in these days.

    The age of lists counts from their first publication, even if a rollback published them again, because their files
    may have been replaced soon after it.
    """
    first = F.min("published_at").over(Window.partitionBy("candidates_version"))
    publications = lake.read(tables.PUBLICATIONS).withColumn("first", first)
    oldest = followed_publications(publications, keep_days, at).agg(F.min(F.unix_timestamp("first"))).first()[0]  # type: ignore[index]
    age = 0.0 if oldest is None else (at.timestamp() - oldest) / SECONDS_PER_DAY
    return max(keep_days, math.ceil(age) + 1)


def unused_folders(lake: Lake, keep_days: int, retained_days: int, at: dt.datetime) -> Iterator[str]:
    """Folders of models and indexes, of all variants, that may be deleted.

    They are at least `retained_days` old, and neither a row of these days nor a publication of the last `keep_days`
    days names them.
    """
    first = at.date() - dt.timedelta(days=retained_days)
    for of_variant in with_variants(lake):
        used = {*_named_folders(of_variant, first), *_published_models(of_variant, keep_days, at)}
        for pattern in (f"{MODELS}/*", f"{INDEXES}/*/*"):
            for status in glob_statuses(lake.spark, of_variant.model_path(pattern)):
                age = dt.timedelta(seconds=at.timestamp() - status.getModificationTime() / 1000)
                if age.days >= retained_days and status.getPath().getName() not in used:
                    yield str(status.getPath().toString())


def with_variants(lake: Lake) -> list[Lake]:
    """The lake as the main model sees it, and as each variant does that has outputs."""
    variants = [status.getPath().getName() for status in glob_statuses(lake.spark, lake.path("variants", "*"))]
    return [lake.of_variant(variant) for variant in (None, *variants)]


def followed_publications(publications: DataFrame, days: int, at: dt.datetime) -> DataFrame:
    """The publications that readers followed at some time in the last `days` days, the current one included."""
    until = F.lead("published_at").over(Window.orderBy("publication"))
    followed = F.col("until").isNull() | (F.unix_timestamp("until") >= at.timestamp() - days * SECONDS_PER_DAY)
    return publications.withColumn("until", until).where(followed)


def _named_folders(lake: Lake, first: dt.date) -> Iterator[str]:
    """The folders that are named in rows of `first` and of later days."""
    since = F.col("ds") >= F.lit(first)
    for row in lake.read(tables.MODEL_VERSIONS).where(since).toLocalIterator():
        yield row.model_version
    for row in lake.read(tables.ITEM_INDEXES).where(since).toLocalIterator():
        yield from (index_folder(row.folder, part) for part in (row.backend, ITEMS, EXPLORE, NEIGHBOURS))


def _published_models(lake: Lake, days: int, at: dt.datetime) -> set[str]:
    """Models that readers followed in the last `days` days, and the one before; the gate of a re-run needs it."""
    first, publications = at.date() - dt.timedelta(days=days), lake.read(tables.PUBLICATIONS)
    followed = followed_publications(publications, days, at).select("model_version")
    earlier = publications.where(F.col("ds") < F.lit(first)).orderBy(F.desc("publication")).limit(1)
    return {row.model_version for row in followed.union(earlier.select("model_version")).toLocalIterator()}
