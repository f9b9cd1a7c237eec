"""A log of clicks in memory as a prepared folder (see `benchmarks.worlds.prepared_folder`), without Spark.

Axes: N clicks, U users, I items; users and items are numbered from 0. L: length of a history; H: unclicked items of a
click.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.worlds.prepared_folder import USERS_FILE, is_prepared, write_spec
from jobs.config.loading import load_config
from jobs.training.settings import spec_settings
from model.data.pinned_files import PinnedFiles
from model.features import Feature, FeatureSpec, ModelSpec
from model.features.gaps import gap_index
from model.negatives.settings import Negatives
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.vocabulary import FIRST_INDEX, PADDING

HISTORY_LENGTH, DIM = 50, 64
NEIGHBOURS = "neighbours"  # the feature of items
USER_ID = FeatureSpec("user_id", "id", DIM, 1, "user_index", "user_id")
HISTORY = FeatureSpec("history", "item_list", DIM, HISTORY_LENGTH, "history", "item_id")
ITEM_ID = FeatureSpec("item_id", "id", DIM, 1, "item_index", "item_id")
TIMED_HISTORY = FeatureSpec.all_declared([Feature("history", "item_list", DIM, HISTORY_LENGTH, gaps=True)], "user")


@dataclass(frozen=True)
class ClickLog:
    """Clicks to train on, and the clicks that follow."""

    users: np.ndarray  # [N], of each click, in order of time
    items: np.ndarray  # [N]
    shown: np.ndarray  # [I], exposures of each item up to the last of these clicks
    relevant: list[np.ndarray]  # for each of the U users, the items clicked afterwards
    features: Mapping[FeatureSpec, np.ndarray]  # of items: numbers [I], or indices [I, length] from FIRST_INDEX, or 0
    user: tuple[FeatureSpec, ...] = (USER_ID, HISTORY)  # of users
    is_history_excluded: bool = True  # whether lists leave out what a user clicked before
    unclicked: np.ndarray | None = None  # [N, H], items of each click's request without a click, -1: none
    minutes: np.ndarray | None = None  # [N], of each click: for a history with gaps, as TIMED_HISTORY
    list_minutes: np.ndarray | None = None  # [U], when each user's list is made


def write(folder: Path, log: ClickLog) -> Path:
    """Write the prepared folder, unless it exists; returns it."""
    if is_prepared(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    histories, clicked = _histories(log)
    indices = {"user_index": log.users + FIRST_INDEX, "item_index": log.items + FIRST_INDEX, "history": histories}
    gaps, gaps_of_lists = _gaps(log)
    indices |= gaps
    if log.unclicked is not None:
        indices["unclicked"] = np.where(log.unclicked < 0, PADDING, log.unclicked + FIRST_INDEX)
        indices["outcome_final_at"] = np.zeros(len(log.users), dtype=np.int64)
    tables = {
        "examples": _table(**indices),
        "items": _items(log),
        "probabilities": _probabilities(log),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=2_048)
    pq.write_table(_users(log, clicked, gaps_of_lists), folder / USERS_FILE)
    write_spec(folder, _spec(folder, log, {name: table.num_rows for name, table in tables.items()}))
    return folder


def neighbours_feature(
    clicked: list[np.ndarray], n_items: int, length: int, dim: int
) -> tuple[FeatureSpec, np.ndarray]:
    """The items that users had together with an item, as its feature, and their indices: int64 [I, length].

    clicked: the items of each user.
    """
    feature = FeatureSpec(NEIGHBOURS, "categorical", dim, length, NEIGHBOURS, NEIGHBOURS)
    return feature, nearest_items(clicked, n_items, length)


def nearest_items(sequences: list[np.ndarray], n_items: int, length: int) -> np.ndarray:
    """Of each item the nearest others, by the cosine of their users: int64 [I, length] from FIRST_INDEX; 0: none."""
    of_users = [np.unique(items[-HISTORY_LENGTH:]) for items in sequences]
    users = np.bincount(np.concatenate(of_users), minlength=n_items)  # [I]
    pairs = np.concatenate([(items[:, None] * n_items + items).ravel() for items in of_users])
    pair, together = np.unique(pairs, return_counts=True)
    item, other = np.divmod(pair, n_items)
    item, other, together = (values[item != other] for values in (item, other, together))
    cosines = together / np.sqrt(users[item] * users[other])
    order = np.lexsort((other, -cosines, item))
    item, other = item[order], other[order]
    place = np.arange(len(item)) - np.searchsorted(item, item)  # among the neighbours of its item
    nearest = np.full((n_items, length), PADDING, dtype=np.int64)
    kept = place < length
    nearest[item[kept], place[kept]] = other[kept] + FIRST_INDEX
    return nearest


def _histories(log: ClickLog) -> tuple[np.ndarray, list[list[int]]]:
    """The item indices that the user of each click had clicked before, [N, L], and all that each user clicked."""
    clicked: list[list[int]] = [[] for _ in log.relevant]
    histories = np.zeros((len(log.users), HISTORY_LENGTH), dtype=np.int64)
    for row, (user, item) in enumerate(zip(log.users, log.items, strict=True)):
        histories[row] = _padded(clicked[user])
        clicked[user].append(int(item) + FIRST_INDEX)
    return histories, clicked


def _gaps(log: ClickLog) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The gaps of the histories of each click, [N, L], and of each user, [U, L], by column; none without times."""
    if log.minutes is None or log.list_minutes is None:
        return {}, {}
    clicked: list[list[int]] = [[] for _ in log.relevant]
    gaps = np.zeros((len(log.users), HISTORY_LENGTH), dtype=np.int64)
    for row, (user, minute) in enumerate(zip(log.users, log.minutes, strict=True)):
        gaps[row] = _padded([gap_index(int(minute) - other) for other in clicked[user][-HISTORY_LENGTH:]])
        clicked[user].append(int(minute))
    of_lists = [
        _padded([gap_index(int(minute) - other) for other in own])
        for minute, own in zip(log.list_minutes, clicked, strict=True)
    ]
    return {"history_gaps": gaps}, {"history_gaps": np.stack(of_lists)}


def _padded(items: list[int]) -> np.ndarray:
    last = np.array(items[-HISTORY_LENGTH:], dtype=np.int64)
    return np.pad(last, (0, HISTORY_LENGTH - len(last)))


def _items(log: ClickLog) -> pa.Table:
    n_items = len(log.shown)
    table = _table(item_index=np.arange(n_items) + FIRST_INDEX)
    table = table.append_column("available", pa.array(np.ones(n_items, dtype=bool)))
    for feature, values in log.features.items():
        column = pa.array(values, pa.float32()) if feature.holds_numbers else _table(values=values)["values"]
        table = table.append_column(feature.column, column)
    return table


def _probabilities(log: ClickLog) -> pa.Table:
    n_items = len(log.shown)
    clicks = np.bincount(log.items, minlength=n_items)
    pool = np.where(clicks == 0, log.shown, 0)
    shares = {"q": clicks / clicks.sum(), "u": np.full(n_items, 1 / n_items), "p": pool / max(pool.sum(), 1)}
    return pa.table({"item_index": pa.array(np.arange(n_items) + FIRST_INDEX, pa.int32()), "clicks": clicks, **shares})


def _users(log: ClickLog, clicked: list[list[int]], gaps: Mapping[str, np.ndarray]) -> pa.Table:
    lists = pa.list_(pa.int32())
    known = [np.unique(np.array(items, dtype=np.int64)) for items in clicked]
    excluded = known if log.is_history_excluded else [items[:0] for items in known]
    relevant = [np.setdiff1d(items + FIRST_INDEX, left) for items, left in zip(log.relevant, excluded, strict=True)]
    histories = np.stack([*map(_padded, clicked)])
    table = _table(user_index=np.arange(len(clicked)) + FIRST_INDEX, history=histories, **gaps)
    for name, items in (("excluded", excluded), ("relevant", relevant)):
        table = table.append_column(name, pa.array(items, lists))
    return table


def _table(**columns: np.ndarray) -> pa.Table:
    """Columns of integers [N], or of lists [N, L]."""
    lists = pa.list_(pa.int32())
    return pa.table(
        {
            name: pa.array(list(values), lists) if values.ndim == 2 else pa.array(values, pa.int32())
            for name, values in columns.items()
        }
    )


def _spec(folder: Path, log: ClickLog, rows: Mapping[str, int]) -> TrainingSpec:
    settings = spec_settings(load_config(), pool_is_empty=True)
    pinned = {name: PinnedFiles(0, ((folder / f"{name}.parquet").resolve().as_uri(),), n) for name, n in rows.items()}
    numbers = {feature.name: values for feature, values in log.features.items() if feature.holds_numbers}
    data = DataSpec(
        examples=pinned["examples"],
        last_day=None,
        items=pinned["items"],
        probabilities=pinned["probabilities"],
        numeric_stats={
            "user": {},
            "item": {name: ([float(np.nanmean(v))], [float(np.nanstd(v))]) for name, v in numbers.items()},
        },
        unclicked_length=0 if log.unclicked is None else log.unclicked.shape[1],
        hide_history=True,
        **settings["data"],
    )
    loss = LossSpec(**{**settings["loss"], "negatives": Negatives("logq"), "final_before": 1})
    sizes = {"user_id": len(log.relevant) + FIRST_INDEX, "item_id": len(log.shown) + FIRST_INDEX}
    sizes |= {
        feature.vocabulary: int(values.max()) + 1 for feature, values in log.features.items() if feature.vocabulary
    }
    run = RunSpec(
        model_version="benchmark",
        model=ModelSpec(log.user, (ITEM_ID, *log.features), sizes, DIM, (), share_item_table=True),
        warm_start=None,
        inputs={},
        configuration={},
        **settings["run"],
    )
    return TrainingSpec(data, loss, run)
