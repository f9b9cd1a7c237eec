"""Why a user has the published list: clicks, items nearest to the user's vector, and what kept those out of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.inference.eligibility import first_published, too_old
from jobs.inference.exclusions import merged_until
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.lake.tables import Table
from jobs.serving.publications import last_publication
from model.search.interests import queries_of
from model.search.lists import SOURCES, TWO_TOWER

ROUNDING = 1e-5  # by which two computations of a similarity may differ


@dataclass(frozen=True)
class Explanation:
    """The published list of a user, and what it comes from. Similarities are dot products with the user's vector,
    or with the nearest of several (`model.interests`).

    is_cold: without a click, so that the list has popular items only. history: (item_id, the day of its click, None if
    exclusions do not need it any more), newest first. excluded: how many items are not shown to the user because of
    clicks. candidates: rank, item_id, source, score, channel_score, similarity. nearest: item_id, similarity, outcome:
    the items with the highest similarity, and what became of each; empty if the user has no vector.
    """

    user_id: str
    publication: int
    ds: dt.date
    model_version: str
    is_cold: bool
    history: list[tuple[str, dt.date | None]]
    excluded: int
    candidates: pl.DataFrame
    nearest: pl.DataFrame
    set_aside: int | None  # impressions of the day if the user was set aside (`log.max_impressions_per_user`)


def explain_user(lake: Lake, config: Config, user_id: str, nearest: int = 20) -> Explanation:
    """Explain the list of a user that readers follow now, and so many nearest items; without Spark on a local disk.

    Raises NoSuchDay before the first publication, and ValueError if the publication does not have the user. Clicks are
    those of the newest version of the day's history.
    """
    current = last_publication(lake)
    if current is None:
        raise NoSuchDay(f"nothing is published in {lake.uri}")
    ds = current.ds
    listed = _row_of(lake, tables.CANDIDATES, ds, user_id, ["candidates"], current.candidates_version)
    set_aside = (_row_of(lake, tables.SET_ASIDE_USERS, ds, user_id, ["impressions"]) or {}).get("impressions")
    if listed is None:
        why = f", who was set aside with {set_aside:,} impressions (log.max_impressions_per_user)" if set_aside else ""
        raise ValueError(
            f"--user must be in publication {current.publication} of {ds}, spelled as in the log, got {user_id!r}{why}"
        )
    own = _row_of(lake, tables.USER_EMBEDDINGS, ds, user_id, ["embedding", "is_cold"], current.user_embeddings_version)
    history = _row_of(lake, tables.USER_HISTORIES, ds, user_id, ["history", "clicked"]) or {}
    clicked = {index: day["ds"] for day in history.get("clicked") or () for index in day["item_indices"]}
    items = _items(lake, current, None if own is None else own["embedding"])
    candidates = _candidates(listed["candidates"], items)
    is_cold = bool(own and own["is_cold"])
    best = items.drop_nulls("similarity").sort("similarity", "item_id", descending=[True, False]).head(nearest)
    merged = merged_until(config.exclusions.clicked, ds)
    outcomes = _Outcomes(candidates, clicked, merged, _unavailable(lake, config, ds, best), is_cold, config)
    known = {index: day for index, day in clicked.items() if day > merged}
    names = dict(items.select("item_index", "item_id").iter_rows())
    newest_first = [index for index in reversed(history.get("history") or ()) if index > 0]
    return Explanation(
        user_id=user_id,
        publication=current.publication,
        ds=ds,
        model_version=current.model_version,
        is_cold=is_cold,
        history=[(names.get(index, f"index {index}"), known.get(index)) for index in newest_first],
        excluded=len(clicked),
        candidates=candidates,
        nearest=best.select(
            "item_id",
            "similarity",
            outcome=pl.Series([outcomes.of(row) for row in best.iter_rows(named=True)], dtype=pl.String),
        ),
        set_aside=set_aside,
    )


@dataclass(frozen=True)
class _Outcomes:
    """Says what became of an item. unavailable: by item_id why it may not be shown to anybody.

    merged_until: up to this day, the days in `clicked` are the last ones on which the items can have been clicked.
    """

    candidates: pl.DataFrame
    clicked: dict[int, dt.date]
    merged_until: dt.date
    unavailable: dict[str, str]
    is_cold: bool
    config: Config

    def of(self, item: dict[str, Any]) -> str:
        found = self.candidates.filter(pl.col("item_id") == item["item_id"])
        if found.height:
            return f"rank {found['rank'][0]} ({found['source'][0]})"
        if item["item_index"] in self.clicked:
            day = self.clicked[item["item_index"]]
            return f"clicked on {day}{' or before' if day <= self.merged_until else ''} (exclusions.clicked)"
        if item["item_id"] in self.unavailable:
            return self.unavailable[item["item_id"]]
        if self.is_cold:
            return "a user without a click gets popular items only"
        if self.config.scoring.max_per_category:
            return "no position was left, or none for its category (scoring.max_per_category)"
        last = self.candidates.filter(pl.col("source") == SOURCES[TWO_TOWER])["channel_score"].min()
        if last is not None and item["similarity"] > float(last) + ROUNDING:  # type: ignore[arg-type]
            return "the index did not find it (index.recall_target)"
        return "others are nearer, or have the positions of their channel"


def _row_of(
    lake: Lake, table: Table, ds: dt.date, user_id: str, columns: Sequence[str], version: int | None = None
) -> dict[str, Any] | None:
    """A user's row of a day; None if there is none."""
    for batch in lake.batches(table, ds, ["user_id", *columns], version=version, where=("user_id", [user_id])):
        if batch.height:
            return batch.row(0, named=True)
    return None


def _items(lake: Lake, publication: Row, vector: Sequence[float] | None) -> pl.DataFrame:
    """Rows (item_id, item_index, available, similarity) of the publication's items; without a vector it is null."""
    kinds = {"item_id": pl.String, "item_index": pl.Int32, "available": pl.Boolean, "similarity": pl.Float32}
    parts = [pl.DataFrame(schema=kinds)]
    columns, version = ["item_id", "item_index", "available", "embedding"], publication.item_embeddings_version
    for batch in lake.batches(tables.ITEM_EMBEDDINGS, publication.ds, columns, version=version):
        embeddings = batch["embedding"].explode().to_numpy().reshape(batch.height, -1)  # [I, D]
        similarity = [None] * batch.height if vector is None else _best_similarity(embeddings, vector)  # [I]
        parts.append(batch.drop("embedding").with_columns(pl.Series("similarity", similarity, pl.Float32)))
    return pl.concat(parts)


def _best_similarity(embeddings: np.ndarray, vector: Sequence[float]) -> np.ndarray:
    """The dot product of each item, float32 [I]; of several interests in the user's vector [Q D], the highest one."""
    dimension = embeddings.shape[1]
    interests = queries_of(np.array([vector], np.float32), dimension).reshape(-1, dimension)  # [Q, D]
    best: np.ndarray = (embeddings @ interests.T).max(axis=1)
    return best


def _candidates(listed: Sequence[dict[str, Any]], items: pl.DataFrame) -> pl.DataFrame:
    columns = ["rank", "item_id", "source", "score", "channel_score"]
    kinds = {
        "rank": pl.Int32,
        "item_id": pl.String,
        "source": pl.String,
        "score": pl.Float32,
        "channel_score": pl.Float32,
    }
    rows = pl.DataFrame(list(listed), schema_overrides=kinds) if listed else pl.DataFrame(schema=kinds)
    return rows.select(columns).join(items.select("item_id", "similarity"), "item_id", how="left").sort("rank")


def _unavailable(lake: Lake, config: Config, ds: dt.date, items: pl.DataFrame) -> dict[str, str]:
    """Why items may not be shown, by item_id, of those that may not. items: rows of `_items`."""
    hidden = items.filter(~pl.col("available"))
    if hidden.is_empty():
        return {}
    first = first_published(config, ds)
    known: dict[str, tuple[bool, dt.date | None]] = {}  # whether it is available, and the day that makes it too old
    for batch in lake.batches(tables.item_snapshot(config), ds, ["item_id", "available", "published_at"]):
        rows = batch.filter(pl.col("item_id").is_in(hidden["item_id"].to_list()))
        is_old = pl.lit(value=False) if first is None else too_old(first)
        published = pl.when(is_old).then(pl.col("published_at").dt.date())
        known |= {item: of for item, *of in rows.select("item_id", "available", published).iter_rows()}
    return {item: _why_hidden(*known.get(item, (False, None)), config) for item in hidden["item_id"]}


def _why_hidden(is_available: bool, old_since: dt.date | None, config: Config) -> str:
    """Why an item is shown to nobody. old_since: the day of its publication if that is too long ago."""
    if not is_available:
        return "not available"
    if old_since is not None:
        return f"published on {old_since}, too old (scoring.max_item_age_days)"
    if config.exclusions.blocklist:
        return "on the blocklist (exclusions.blocklist), or not eligible when the lists were scored"
    return "was not eligible when the lists were scored"
