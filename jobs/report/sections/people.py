"""A few users with their last clicks and their candidates, and which click each candidate is nearest to.

Axes: C clicked items, D embedding size.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from jobs.config.loading import Config
from jobs.inference.item_slices import item_slices_without_spark
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.figures import count
from jobs.report.page import Item, Missing, People, Person, Section
from jobs.report.sections.lists import MAX_USERS
from jobs.serving.item_texts import ItemText, item_texts

PEOPLE, SHOWN = 8, 10  # users, and items of each of their lists
MAX_ITEMS = 1_000_000  # of a catalogue whose vectors are read
NAME_LENGTH = 8  # characters of a hashed user id
TOWERS = "two_tower"  # the channel whose candidates have a nearest click


@dataclass(frozen=True)
class Known:
    """What the page knows of the shown items, by item_id; `ids` by item_index."""

    ids: Mapping[int, str]
    slices: Mapping[str, str]
    texts: Mapping[str, ItemText]
    vectors: Mapping[str, np.ndarray]  # [D], of length 1

    def title(self, item_id: str) -> str:
        text = self.texts.get(item_id)
        return text.title if text is not None and text.title else item_id


def people_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: some users with their last clicks and their candidates."""
    title, chosen = "Examples of users", config.report.example_users
    lead = (
        f"Users {'of report.example_users' if chosen else 'chosen by a hash'}, with their last {SHOWN} clicks, newest "
        f'first, and their first {SHOWN} candidates. "Like" names the user\'s click whose item has '
        "the most similar vector, with the cosine; it may be older than those shown."
    )
    if config.report.user_ids == "hashed":
        lead += " Users are named by a hash of their id."
    lists = lists_of(lake, ds, chosen) if chosen else chosen_lists(lake, ds)
    if not lists:
        return Section("people", title, lead, [Missing(_without_list(config, ds, chosen))])
    histories = _histories(lake, ds, lists, None if chosen else MAX_USERS)
    known = _known(lake, config, ds, lists.values(), histories.values())
    people = [_person(shown_id(user, config), histories.get(user, []), items, known) for user, items in lists.items()]
    missing = [user for user in chosen if user not in lists]
    notes = [Missing(_without_list(config, ds, missing))] if missing else []
    return Section("people", title, lead, [People(people), *notes])


def _without_list(config: Config, ds: dt.date, users: Sequence[str]) -> str:
    whose = f" of {', '.join(shown_id(user, config) for user in users)}" if users else ""
    return f"There are no candidates of {ds}{whose}."


def shown_id(user_id: str, config: Config) -> str:
    """How a user is named on the page."""
    return user_id if config.report.user_ids == "shown" else f"user {_hash(user_id).hex()[:NAME_LENGTH]}"


def chosen_lists(lake: Lake, ds: dt.date) -> dict[str, list[dict[str, Any]]]:
    """The lists of PEOPLE users by user_id, in the order of a hash of it: the same every day, if all users are read.

    If there are more than MAX_USERS histories, only a sample of them is read, and users outside of it are not chosen.
    """
    histories = lake.row_count(tables.USER_HISTORIES, ds)
    sample = lake.batches(tables.USER_HISTORIES, ds, ["user_id"], MAX_USERS) if histories > MAX_USERS else None
    known = None if sample is None else {user for batch in sample for user in batch["user_id"]}
    chosen: list[tuple[bytes, str, list[dict[str, Any]]]] = []
    for batch in lake.batches(tables.CANDIDATES, ds, ["user_id", "candidates"], MAX_USERS):
        keys = ((_hash(user), user, n) for n, user in enumerate(batch["user_id"]) if known is None or user in known)
        best = [(rank, user, batch["candidates"][n].to_list()) for rank, user, n in heapq.nsmallest(PEOPLE, keys)]
        chosen = heapq.nsmallest(PEOPLE, [*chosen, *best], key=lambda one: one[:2])
    return {user: items for _, user, items in chosen}


def lists_of(lake: Lake, ds: dt.date, users: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """The lists of these users, in their order; nothing for a user without one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for batch in lake.batches(tables.CANDIDATES, ds, ["user_id", "candidates"], where=("user_id", users)):
        found |= dict(batch.select("user_id", "candidates").iter_rows())
    return {user: found[user] for user in users if user in found}


def _hash(user_id: str) -> bytes:
    return hashlib.blake2b(user_id.encode(), digest_size=8).digest()


def _histories(lake: Lake, ds: dt.date, users: Collection[str], max_users: int | None) -> dict[str, list[int]]:
    """The clicked item indices of users, newest first, without unknown items; nothing for a user without clicks."""
    found: dict[str, list[int]] = {}
    wanted = ("user_id", list(users))
    for batch in lake.batches(tables.USER_HISTORIES, ds, ["user_id", "history"], max_users, where=wanted):
        own = batch.select("user_id", "history").iter_rows()
        found |= {user: [index for index in reversed(history or []) if index > 0] for user, history in own}
    return found


def _known(
    lake: Lake,
    config: Config,
    ds: dt.date,
    lists: Iterable[Sequence[Mapping[str, Any]]],
    histories: Iterable[Sequence[int]],
) -> Known:
    """What is known of the items of these users: at most PEOPLE * (SHOWN + the length of a history)."""
    listed = pl.col("item_id").is_in([item["item_id"] for items in lists for item in items[:SHOWN]])
    clicked = pl.col("item_index").is_in([index for history in histories for index in history])
    rows = item_slices_without_spark(lake, config, ds).filter(listed | clicked).rows(named=True)
    ids = {row["item_index"]: row["item_id"] for row in rows}
    slices = {row["item_id"]: row["slice"] for row in rows}
    return Known(ids, slices, item_texts(lake, config, ds, ids.values()), _vectors(lake, ds, ids.values()))


def _vectors(lake: Lake, ds: dt.date, item_ids: Collection[str]) -> dict[str, np.ndarray]:
    """The vectors [D] of a few items; none in a catalogue of more than MAX_ITEMS, all of which would be read."""
    found: dict[str, np.ndarray] = {}
    if lake.row_count(tables.ITEM_EMBEDDINGS, ds) <= MAX_ITEMS:
        for batch in lake.batches(tables.ITEM_EMBEDDINGS, ds, ["item_id", "embedding"]):
            own = batch.filter(pl.col("item_id").is_in(list(item_ids))).select("item_id", "embedding")
            found |= {item: np.asarray(vector, dtype=np.float32) for item, vector in own.iter_rows()}
    return found


def nearest_click(vector: np.ndarray, clicks: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """(item_id, cosine) of the clicked item nearest to `vector` [D]. clicks: by item_id, [D] each; at least one."""
    cosines = np.stack(list(clicks.values())) @ vector  # [C]
    best = int(cosines.argmax())
    return list(clicks)[best], float(cosines[best])


def _person(name: str, history: Sequence[int], items: Sequence[Mapping[str, Any]], known: Known) -> Person:
    ids = [known.ids.get(index, f"index {index}") for index in history]
    clicks = {item: known.vectors[item] for item in ids if item in known.vectors}
    candidates = [
        _item(item["item_id"], known, f"{item['score']:.3g} {item['source']}", _reason(item, clicks, known))
        for item in items[:SHOWN]
    ]
    about = f"{count(len(history))} clicks in the history, {count(len(items))} candidates"
    return Person(name, about, [_item(item, known) for item in ids[:SHOWN]], candidates)


def _reason(item: Mapping[str, Any], clicks: Mapping[str, np.ndarray], known: Known) -> str:
    """Which click a candidate of the towers is like; empty for other channels, and for users without clicks."""
    vector = known.vectors.get(item["item_id"])
    if item["source"] != TOWERS or vector is None or not clicks:
        return ""
    nearest, cosine = nearest_click(vector, clicks)
    return f"like {known.title(nearest)} ({cosine:.2f})"


def _item(item_id: str, known: Known, detail: str = "", reason: str = "") -> Item:
    text = known.texts.get(item_id, ItemText())
    return Item(item_id, known.slices.get(item_id, ""), detail, text.title, text.picture, reason)
