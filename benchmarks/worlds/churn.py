"""A world whose users and items change: each day some leave for ever, and as many new ones come. No Spark.

Axes: N clicks of a day, U users and I items that have ever lived, numbered from FIRST_INDEX; L length of a history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.worlds.click_log import DIM, HISTORY, HISTORY_LENGTH, ITEM_ID, USER_ID
from jobs.config.loading import load_config
from jobs.training.settings import spec_settings
from model.data.pinned_files import PinnedFiles
from model.features import ModelSpec
from model.negatives.settings import Negatives
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.vocabulary import FIRST_INDEX

WINDOW_DAYS, CLUSTERS = 30, 20
CLICKS_PER_DAY = 1.5  # of a user, in the mean; half of the users click less than .8 times, one of 40 above 6 times
AWAY_SHARE = 0.2  # of the clicks, on items outside the user's cluster


@dataclass(frozen=True)
class Day:
    """The clicks of a day [N], and who lives at its end."""

    users: np.ndarray
    items: np.ndarray
    histories: np.ndarray  # [N, L], before the day
    live_users: np.ndarray
    live_items: np.ndarray


def simulated_days(days: int, users: int, items: int, churn: float, seed: int) -> list[Day]:
    """Days of a world with `users` and `items` that live at a time; `churn`: the share that is replaced each day."""
    random = np.random.default_rng(seed)
    born = round(days * churn * users) + users, round(days * churn * items) + items
    rates = random.lognormal(np.log(CLICKS_PER_DAY) - 0.6, 1.1, born[0] + FIRST_INDEX)
    tastes = random.integers(0, CLUSTERS, born[0] + FIRST_INDEX)
    clusters = random.integers(0, CLUSTERS, born[1] + FIRST_INDEX)
    weights = 1 / (3 + random.permutation(born[1] + FIRST_INDEX) % 100)
    histories = np.zeros((born[0] + FIRST_INDEX, HISTORY_LENGTH), dtype=np.int32)
    live_users, live_items, made = np.arange(users) + FIRST_INDEX, np.arange(items) + FIRST_INDEX, []
    for _ in range(days):
        clicks = np.repeat(live_users, random.poisson(rates[live_users]))
        random.shuffle(clicks)
        clicked = _items_of(tastes[clicks], live_items, clusters, weights, random)
        made.append(Day(clicks, clicked, histories[clicks], live_users, live_items))
        for user, item in zip(clicks, clicked, strict=True):
            histories[user] = np.append(histories[user, 1:], item)
        live_users, live_items = (_replaced(live, churn, random) for live in (live_users, live_items))
    return made


def _items_of(
    tastes: np.ndarray, live: np.ndarray, clusters: np.ndarray, weights: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """For each click [N], an item that lives: mostly of the user's cluster, and popular items more often."""
    chosen = np.where(random.random(len(tastes)) < AWAY_SHARE, random.integers(0, CLUSTERS, len(tastes)), tastes)
    items = np.zeros(len(tastes), dtype=np.int64)
    for cluster in range(CLUSTERS):
        members, rows = live[clusters[live] == cluster], np.flatnonzero(chosen == cluster)
        members = members if len(members) else live
        items[rows] = random.choice(members, len(rows), p=weights[members] / weights[members].sum())
    return items


def _replaced(live: np.ndarray, churn: float, random: np.random.Generator) -> np.ndarray:
    """`live` after a share of them has left and as many new ones have come; new ones get the next indices."""
    leaving = random.choice(len(live), round(churn * len(live)), replace=False)
    return np.concatenate([np.delete(live, leaving), live.max() + 1 + np.arange(len(leaving))])


def write_days(folder: Path, days: Sequence[Day]) -> list[PinnedFiles]:
    """Write the training examples of each day."""
    pinned = []
    for number, day in enumerate(days):
        columns = {"user_index": day.users, "item_index": day.items, "epoch_day": np.full(len(day.users), number + 1)}
        table = pa.table({name: pa.array(values, pa.int32()) for name, values in columns.items()})
        table = table.append_column("history", pa.array(list(day.histories), pa.list_(pa.int32())))
        pq.write_table(table, folder / f"day-{number}.parquet", row_group_size=2_048)
        pinned.append(PinnedFiles(0, ((folder / f"day-{number}.parquet").as_uri(),), len(day.users)))
    return pinned


def training_spec(
    folder: Path, days: Sequence[Day], pinned: Sequence[PinnedFiles], seed: int, warm_start: Path | None
) -> TrainingSpec:
    """The training on the window that ends with the last of `days`, with the default configuration.

    pinned: their files. warm_start: the model of the day before, which then learns the last day alone; None: no model.
    """
    config, window = load_config(), slice(max(len(days) - WINDOW_DAYS, 0), len(days))
    settings = spec_settings(config, pool_is_empty=True)
    folder.mkdir(exist_ok=True)
    born = {side: max(int(live.max()) for live in lives) + 1 for side, lives in _lives(days).items()}
    parts, rows = [day.items for day in days[window]], pinned[window]
    before = PinnedFiles(0, tuple(file for part in rows[:-1] for file in part.files), sum(p.rows for p in rows[:-1]))
    data = DataSpec(
        examples=before,
        last_day=rows[-1],
        items=_written(folder / "items.parquet", born["item_id"], available=days[-1].live_items),
        probabilities=_probabilities(folder / "probabilities.parquet", parts, days[-1].live_items, born["item_id"]),
        numeric_stats={"user": {}, "item": {}},
        unclicked_length=0,
        hide_history=False,
        epoch_day=len(days),
        first_recent_day=len(days) + 1 - config.recent_days,
        **settings["data"],
    )
    loss = LossSpec(**{**settings["loss"], "negatives": Negatives("logq"), "final_before": 0})
    run = RunSpec(
        model_version=f"day-{len(days)}",
        model=ModelSpec((USER_ID, HISTORY), (ITEM_ID,), born, DIM, (), share_item_table=True, item_id_shrinkage=1.0),
        warm_start=warm_start,
        inputs={},
        configuration={},
        folder=folder / f"model-{len(days)}",
        checkpoints=folder / f"checkpoints-{len(days)}",
        **{**settings["run"], "seed": seed, "threads": 1, "device": "cpu"},
    )
    return TrainingSpec(data, loss, run if warm_start is None else replace(run, epochs=0))


def _lives(days: Sequence[Day]) -> dict[str, list[np.ndarray]]:
    return {"user_id": [day.live_users for day in days], "item_id": [day.live_items for day in days]}


def _written(file: Path, size: int, available: np.ndarray) -> PinnedFiles:
    """The snapshot of the items: all that have ever lived, and which of them are available."""
    indices = np.arange(FIRST_INDEX, size)
    pq.write_table(
        pa.table({"item_index": pa.array(indices, pa.int32()), "available": np.isin(indices, available)}), file
    )
    return PinnedFiles(0, (file.as_uri(),), len(indices))


def _probabilities(file: Path, parts: Sequence[np.ndarray], live: np.ndarray, size: int) -> PinnedFiles:
    """q of the window, of its days but the last, and of the last; parts: the clicked items of each day."""
    indices = np.arange(FIRST_INDEX, size)
    of = {"q": np.concatenate(parts), "q_before": np.concatenate(parts[:-1]), "q_last": parts[-1]}
    shares = {name: np.bincount(items, minlength=size)[indices] / len(items) for name, items in of.items()}
    uniform = np.isin(indices, live) / len(live)
    table = pa.table({"item_index": pa.array(indices, pa.int32()), **shares, "u": uniform, "p": 0 * uniform})
    pq.write_table(table, file)
    return PinnedFiles(0, (file.as_uri(),), len(indices))
