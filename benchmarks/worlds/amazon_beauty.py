"""Amazon Beauty (the M1 split) as prepared folders (see `benchmarks.worlds.prepared_folder`).

The set consists of (user, item) pairs, without times, impressions or features. The history of an example is the user's
other training items; in the evaluation, the history of a user is all training items. The folder `validation` holds out
part of the training pairs, so that hyper-parameters are chosen without the test file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.worlds.click_log import neighbours_feature
from benchmarks.worlds.prepared_folder import USERS_FILE, is_prepared, write_spec
from jobs.config.loading import load_config
from jobs.training.settings import spec_settings
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec, ModelSpec
from model.negatives.settings import Negatives
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.vocabulary import FIRST_INDEX

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "amazon_beauty_m1"
HISTORY_LENGTH = 50
HELD_OUT_SHARE = 0.2  # of each user's training items, for validation; the test file has .24 of all pairs
DIM = 64


def read_pairs(file: Path) -> list[np.ndarray]:
    """Each user's item numbers; the position in the list is the user number."""
    lines = [np.array(line.split(), dtype=np.int64) for line in file.read_text("ascii").splitlines()]
    if [int(line[0]) for line in lines] != list(range(len(lines))):
        raise ValueError(f"{file} must have one line per user, with user numbers from 0 in order")
    return [line[1:] for line in lines]


def hold_out(pairs: list[np.ndarray], share: float, seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Each user's items split at random into (training, held out); of two or more items at least one is held out."""
    random = np.random.default_rng(seed)
    training, held_out = [], []
    for items in pairs:
        shuffled = random.permutation(items)
        n = max(1, round(share * len(items))) if len(items) > 1 else 0
        training.append(shuffled[n:])
        held_out.append(shuffled[:n])
    return training, held_out


def write_tiny_source(folder: Path) -> None:
    """Write train.txt and test.txt of 12 users and 30 items."""
    random = np.random.default_rng(0)
    lines: dict[str, list[str]] = {"train.txt": [], "test.txt": []}
    for user in range(12):
        items = random.permutation(30)[:8]
        for name, part in (("train.txt", items[:6]), ("test.txt", items[6:])):
            lines[name].append(" ".join(map(str, [user, *part])))
    for name, text in lines.items():
        (folder / name).write_text("\n".join(text) + "\n", "ascii")


def prepare(folder: Path, source: Path = FOLDER, neighbours: int = 0, dim: int = DIM) -> tuple[Path, Path]:
    """The prepared folders (validation, test) under `folder`, written by the first call.

    neighbours: of each item, so many that users had with it are a feature of the item; 0: no such feature. dim: D.
    """
    train, test = read_pairs(source / "train.txt"), read_pairs(source / "test.txt")
    n_items = max(int(items.max()) for items in train + test) + 1
    return (
        _prepared(folder / "validation", *hold_out(train, HELD_OUT_SHARE, seed=1), n_items, neighbours, dim),
        _prepared(folder / "test", train, test, n_items, neighbours, dim),
    )


def _prepared(
    folder: Path, train: list[np.ndarray], relevant: list[np.ndarray], n_items: int, neighbours: int, dim: int
) -> Path:
    if is_prepared(folder):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    examples = _examples(train)
    tables = {"examples": examples, **_items(examples, n_items)}
    item: tuple[FeatureSpec, ...] = (FeatureSpec("item_id", "id", dim, 1, "item_index", "item_id"),)
    if neighbours:
        feature, nearest = neighbours_feature(train, n_items, neighbours, dim)
        tables["items"] = tables["items"].append_column(feature.column, _table(nearest=nearest)["nearest"])
        item = (*item, feature)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=2_048)
    pq.write_table(_users(train, relevant), folder / USERS_FILE)
    spec = _spec(folder, {name: table.num_rows for name, table in tables.items()}, len(train), n_items, item)
    write_spec(folder, spec)
    return folder


def _examples(train: list[np.ndarray]) -> pa.Table:
    """A row per pair, in random order: the user, the item, and the user's other items as history."""
    random = np.random.default_rng(2)
    users = np.repeat(np.arange(len(train)), [len(items) for items in train])  # [P]
    items = np.concatenate(train)  # [P]
    histories = [np.delete(user_items, position) for user_items in train for position in range(len(user_items))]
    order = random.permutation(len(items))
    history = np.stack([_padded(random.permutation(histories[row])) for row in order])  # [P, L]
    return _table(user_index=users[order] + FIRST_INDEX, item_index=items[order] + FIRST_INDEX, history=history)


def _padded(items: np.ndarray) -> np.ndarray:
    cut = items[:HISTORY_LENGTH] + FIRST_INDEX
    return np.pad(cut, (0, HISTORY_LENGTH - len(cut)))


def _items(examples: pa.Table, n_items: int) -> dict[str, pa.Table]:
    indices = np.arange(n_items) + FIRST_INDEX
    clicks = np.bincount(examples["item_index"].to_numpy(), minlength=n_items + FIRST_INDEX)[FIRST_INDEX:]
    shares = {"q": clicks / clicks.sum(), "u": np.full(n_items, 1 / n_items), "p": np.zeros(n_items)}
    available = pa.table({"item_index": pa.array(indices, pa.int32()), "available": np.ones(n_items, dtype=bool)})
    counted = pa.table({"item_index": pa.array(indices, pa.int32()), "clicks": clicks, **shares})
    return {"items": available, "probabilities": counted}


def _users(train: list[np.ndarray], relevant: list[np.ndarray]) -> pa.Table:
    lists = pa.list_(pa.int32())
    return (
        _table(user_index=np.arange(len(train)) + FIRST_INDEX, history=np.stack([_padded(items) for items in train]))
        .append_column("excluded", pa.array([np.sort(items + FIRST_INDEX) for items in train], lists))
        .append_column("relevant", pa.array([np.sort(items + FIRST_INDEX) for items in relevant], lists))
    )


def _table(**columns: np.ndarray) -> pa.Table:
    return pa.table(
        {
            name: pa.array(
                list(values) if values.ndim == 2 else values, pa.list_(pa.int32()) if values.ndim == 2 else pa.int32()
            )
            for name, values in columns.items()
        }
    )


def _spec(
    folder: Path, rows: dict[str, int], n_users: int, n_items: int, item: tuple[FeatureSpec, ...]
) -> TrainingSpec:
    # on validation, a user id beside the history lowers Recall@20, and adds nothing where half of the ids are dropped
    dim = item[0].dim
    user = (FeatureSpec("history", "item_list", dim, HISTORY_LENGTH, "history", "item_id"),)
    sizes = {"user_id": n_users + FIRST_INDEX, "item_id": n_items + FIRST_INDEX}
    sizes |= {feature.vocabulary: n_items + FIRST_INDEX for feature in item if feature.vocabulary}
    settings = spec_settings(load_config(), pool_is_empty=True)
    pinned = {name: PinnedFiles(0, ((folder / f"{name}.parquet").resolve().as_uri(),), n) for name, n in rows.items()}
    data = DataSpec(
        examples=pinned["examples"],
        last_day=None,
        items=pinned["items"],
        probabilities=pinned["probabilities"],
        numeric_stats={"user": {}, "item": {}},
        unclicked_length=0,
        hide_history=True,
        **settings["data"],
    )
    loss = LossSpec(**{**settings["loss"], "negatives": Negatives("logq"), "final_before": 0})
    run = RunSpec(
        model_version="amazon_beauty",
        model=ModelSpec(user, item, sizes, dim, (), share_item_table=True),
        warm_start=None,
        inputs={},
        configuration={},
        **settings["run"],
    )
    return TrainingSpec(data, loss, run)
