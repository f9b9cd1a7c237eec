"""Train on a prepared folder and rank for its users: what the quality benchmarks share, without Spark.

A prepared folder holds `training_spec.json` (what `jobs.train_two_tower` would give to the trainer) and
`relevant.parquet`: the users to rank for, with their features, what is `excluded`, what they found `relevant`
afterwards, and, for a simulated log, what its `oracle` would show them. Axis letters: U users, I items, K list length.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from jobs.config.loading import merge
from model.data.item_tables import read_files
from model.feature_tensors import tensors
from model.metrics import popularity_slices, ranking_metrics, share_of
from model.ragged import of_lists
from model.search.exact_index import ExactIndex
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.loop import Progress
from model.training.spec import TrainingSpec

SPEC_FILE = "training_spec.json"
AT = (20, 100)
HEAD, TAIL = 0, 2  # of `popularity_slices`


class Judge:
    """Ranks for a prepared folder's users and says how good the lists are."""

    def __init__(self, prepared: Path) -> None:
        spec = read_spec(prepared)
        self.users = pq.read_table(prepared / "relevant.parquet")
        self.items = read_files(spec.data.items.files).filter(pc.field("available"))
        counted = read_files(spec.data.probabilities.files)
        self.clicks = np.zeros(spec.run.model.vocabulary_sizes["item_id"], dtype=np.int64)  # [I]
        self.clicks[counted["item_index"].to_numpy()] = counted["clicks"].to_numpy()
        self.relevant, self.excluded = (
            of_lists(self.users[name].combine_chunks()) for name in ("relevant", "excluded")
        )
        self.slices = popularity_slices(self.clicks)  # [I]

    def of_towers(self, towers: TwoTowers) -> dict[str, float]:
        found = self.of_lists(self._lists(towers, self.items, max(AT)))
        # how well the tail is put in order, whatever the head takes of the lists
        tail = self._lists(towers, self._items_where(self.slices == TAIL), max(AT))
        recall = ranking_metrics(tail, _only(self.relevant, self.slices == TAIL), AT)[f"recall@{max(AT)}"]
        return found | {"tail_among_tail": float(np.nanmean(recall))}

    def of_clicked_items(self, towers: TwoTowers) -> dict[str, float]:
        """What becomes of the lists where what nobody has clicked yet is left out of the export."""
        return self.of_lists(self._lists(towers, self._items_where(self.clicks > 0), max(AT)))

    def _items_where(self, flags: np.ndarray) -> pa.Table:
        """Of the available items those that are flagged, bool [I]."""
        return self.items.filter(pa.array(flags[self.items["item_index"].to_numpy()]))

    def at_a_glance(self, towers: TwoTowers) -> tuple[float, float]:
        """Recall and NDCG at the shortest length, at little cost: for a look after each epoch."""
        k = min(AT)
        found = ranking_metrics(self._lists(towers, self.items, k), self.relevant, (k,))
        return float(np.nanmean(found[f"recall@{k}"])), float(np.nanmean(found[f"ndcg@{k}"]))

    def _lists(self, towers: TwoTowers, items: pa.Table, k: int) -> np.ndarray:
        """The k best of the items [U, k] for each user."""
        with torch.no_grad():
            queries = towers.user(tensors(self.users, towers.spec.user)).numpy()  # [U, D]
            vectors = towers.item(tensors(items, towers.spec.item)).numpy()  # [I, D]
        index = ExactIndex.build(vectors, items["item_index"].to_numpy().astype(np.int64), model_version="benchmark")
        return index.search(queries, k, self.excluded)[0]

    def of_popularity(self) -> dict[str, float]:
        """The most clicked items, what a user clicked before left out."""
        indices = self.items["item_index"].to_numpy().astype(np.int64)
        clicks = self.clicks[indices].astype(np.float32)
        index = ExactIndex.build(clicks[:, None], indices, model_version="popularity")
        return self.of_lists(index.search(np.ones((len(self.users), 1), np.float32), max(AT), self.excluded)[0])

    def of_oracle(self) -> dict[str, float]:
        """What the simulated world itself would show."""
        flat, offsets = of_lists(self.users["oracle"].combine_chunks())
        lists = np.full((len(self.users), max(AT)), -1, dtype=np.int64)  # [U, K]
        for user, (start, end) in enumerate(itertools.pairwise(offsets)):
            own = flat[start : min(end, start + max(AT))]
            lists[user, : len(own)] = own
        return self.of_lists(lists)

    def of_lists(self, ranked: np.ndarray) -> dict[str, float]:
        """Means over the users who have something to find; shares over the places of all lists [U, K]."""
        found = {name: float(np.nanmean(value)) for name, value in ranking_metrics(ranked, self.relevant, AT).items()}
        for name, which in (("head", HEAD), ("tail", TAIL)):
            recalls = ranking_metrics(ranked, _only(self.relevant, self.slices == which), AT)
            for k in AT:
                there = recalls[f"recall@{k}"]  # [U], NaN for users without a relevant item in the slice
                found[f"recall@{k}_{name}"] = float(np.nanmean(there)) if np.isfinite(there).any() else float("nan")
        found["never_clicked_share"] = share_of(ranked, self.clicks == 0)
        cold = np.flatnonzero((self.clicks == 0) & np.isin(np.arange(len(self.clicks)), self.items["item_index"]))
        found["cold_coverage"] = len(np.intersect1d(ranked, cold)) / len(cold) if len(cold) else float("nan")
        return found


def read_spec(prepared: Path, overrides: dict[str, Any] | None = None) -> TrainingSpec:
    """The folder's training spec; overrides: fields to replace, by part (`data`, `loss`, `run`)."""
    values = json.loads((prepared / SPEC_FILE).read_text("utf-8"))
    return TrainingSpec.from_json(merge(values, overrides or {}))


def measure(
    prepared: Path, clicked_only: bool = False, curve: bool = False, overrides: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Train and judge: metrics of the last epoch by name, `rows_per_second` and `seconds` of training.

    overrides: as for `read_spec`.

    curve: also `curve`, (epoch from 1, seconds of training so far, Recall@20, NDCG@20) after each epoch.
    clicked_only: also `clicked_only`, the metrics where the lists leave out what nobody has clicked yet.
    """
    judge = Judge(prepared)
    points: list[tuple[int, float, float, float]] = []
    found: dict[str, Any] = {}

    def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
        towers.eval()
        if curve:
            points.append((progress.epoch + 1, progress.seconds, *judge.at_a_glance(towers)))
        if progress.epoch + 1 == spec.run.epochs:
            found.update(judge.of_towers(towers))
            if clicked_only:
                found["clicked_only"] = judge.of_clicked_items(towers)
        towers.train()

    with tempfile.TemporaryDirectory() as folder:
        spec = read_spec(prepared, overrides).in_folders(Path(folder) / "model", Path(folder) / "checkpoints")
        version = fit(spec, on_epoch_end=on_epoch_end)
    kept = {name: version.metrics[name] for name in ("seconds", "rows_per_second", "steps")}
    kept |= {name: value for name, value in version.metrics.items() if name.startswith(("bank_", "estimator"))}
    return found | kept | ({"curve": points} if curve else {})


def _only(lists: tuple[np.ndarray, np.ndarray], flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each user's items those that are flagged, bool [I]."""
    flat, offsets = lists
    kept = flags[flat]
    return flat[kept], np.concatenate([[0], np.cumsum(kept)])[offsets]
