"""Clicks of users on items of hidden clusters, as files that the trainer reads; no Spark, no features but ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.config.loading import load_config
from jobs.training.settings import spec_settings
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec, ModelSpec
from model.negatives.settings import Negatives
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.vocabulary import FIRST_INDEX

ROWS_PER_FILE = 65_536


def write_clicks(folder: Path, users: int, items: int, clicks: int, clusters: int = 200, seed: int = 0) -> None:
    """Write the examples, items and probabilities of a training, and `clicks.npz` with each user's held-out last click.

    Users click mostly items of their own hidden cluster, and popular items more often. clicks: of each user.
    """
    clusters = min(clusters, max(items // 10, 1))
    random = np.random.default_rng(seed)
    share = 1 / np.arange(10, 10 + items // clusters)
    cumulative = np.cumsum(share / share.sum())
    home = random.integers(0, clusters, users)
    ranks = np.searchsorted(cumulative, random.random((users, clicks + 1)))
    away = random.random((users, clicks + 1)) < 0.2  # a click outside the user's cluster
    cluster = np.where(away, random.integers(0, clusters, (users, clicks + 1)), home[:, None])
    chosen = FIRST_INDEX + np.minimum(ranks, items // clusters - 1) * clusters + cluster  # [users, clicks + 1]
    clicker = np.repeat(np.arange(users) + FIRST_INDEX, clicks)
    clicked = chosen[:, :-1].ravel()
    order = random.permutation(len(clicker))
    clicker, clicked = clicker[order], clicked[order]
    share_of = np.bincount(clicked, minlength=FIRST_INDEX + items) / len(clicked)
    np.savez(
        folder / "clicks.npz", users=clicker, items=clicked, share=share_of, held_out=chosen[:, -1], seen=chosen[:, :-1]
    )
    for number, start in enumerate(range(0, len(clicker), ROWS_PER_FILE)):
        part = slice(start, start + ROWS_PER_FILE)
        rows = {"user_index": pa.array(clicker[part], pa.int32()), "item_index": pa.array(clicked[part], pa.int32())}
        pq.write_table(pa.table(rows), folder / f"examples-{number}.parquet", compression="snappy")
    indices = np.flatnonzero(share_of)
    uniform = np.full(len(indices), 1 / len(indices))
    probabilities = {
        "item_index": pa.array(indices, pa.int32()),
        "q": share_of[indices],
        "u": uniform,
        "p": uniform * 0,
    }
    pq.write_table(pa.table(probabilities), folder / "probabilities.parquet")
    snapshot = {
        "item_index": pa.array(np.arange(FIRST_INDEX, FIRST_INDEX + items), pa.int32()),
        "available": [True] * items,
    }
    pq.write_table(pa.table(snapshot), folder / "items.parquet")


def training_spec(folder: Path, settings: dict[str, Any]) -> TrainingSpec:
    """The spec of a training on the files of `write_clicks` in `folder`, with towers of ids alone."""

    def pinned(pattern: str) -> PinnedFiles:
        files = sorted(folder.glob(pattern))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        return PinnedFiles(0, tuple(file.as_uri() for file in files), rows)

    dim = settings["dim"]
    specs = [FeatureSpec(f"{side}_id", "id", dim, 1, f"{side}_index", f"{side}_id") for side in ("user", "item")]
    sizes = {"user_id": settings["users"], "item_id": settings["items"]}
    base = spec_settings(load_config(), pool_is_empty=True)
    data = DataSpec(
        examples=pinned("examples-*.parquet"),
        last_day=None,
        items=pinned("items.parquet"),
        probabilities=pinned("probabilities.parquet"),
        numeric_stats={"user": {}, "item": {}},
        unclicked_length=0,
        hide_history=True,
        **{**base["data"], "batch_size": settings["batch"]},
    )
    fixed = {"user_id_dropout": 0.0, "item_id_dropout": 0.0, "negatives": Negatives("logq"), "final_before": 0}
    loss = LossSpec(**{**base["loss"], **fixed, "temperature": settings["temperature"]})
    chosen = {name: settings[name] for name in ("epochs", "learning_rate", "seed", "ranks", "threads")}
    run = RunSpec(
        model_version="benchmark",
        model=ModelSpec((specs[0],), (specs[1],), sizes, dim, ()),
        warm_start=None,
        inputs={},
        configuration={},
        folder=folder / "model",
        checkpoints=folder / "checkpoints",
        **{**base["run"], "device": "cpu", "checkpoint_steps": 0, "patience": 0, **chosen},
    )
    return TrainingSpec(data, loss, run)
