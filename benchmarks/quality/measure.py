"""Trains on a prepared folder and evaluates the lists of its users, for all quality benchmarks.

Prepared folders: `benchmarks.worlds.prepared_folder`. Axis letters: U users, I items, K list length.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

from benchmarks.worlds.prepared_folder import USERS_FILE, read_spec
from model.data.parquet_files import read_files
from model.features.ragged import of_lists
from model.features.tensors import aged, tensors
from model.metrics import popularity_slices, ranking_metrics, share_of
from model.search.exact_index import ExactIndex
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.loop import Progress

AT = (20, 100)
HEAD, TAIL = 0, 2  # of `popularity_slices`


class Evaluator:
    """Evaluates lists for the users of a prepared folder: metrics by name."""

    def __init__(self, prepared: Path, at: Sequence[int] = AT) -> None:
        """at: the lengths of lists that are evaluated."""
        self.at, spec = at, read_spec(prepared)
        self.day = spec.data.epoch_day + 1  # as of whose start items are embedded
        self.users = pq.read_table(prepared / USERS_FILE)
        self.items = read_files(spec.data.items.files).filter(pc.field("available"))
        counted = read_files(spec.data.probabilities.files)
        self.clicks = np.zeros(spec.run.model.vocabulary_sizes["item_id"], dtype=np.int64)  # [I]
        self.clicks[counted["item_index"].to_numpy()] = counted["clicks"].to_numpy()
        self.relevant, self.excluded = (
            of_lists(self.users[name].combine_chunks()) for name in ("relevant", "excluded")
        )
        self.slices = popularity_slices(self.clicks)  # [I]

    def evaluate(self, towers: TwoTowers) -> dict[str, float]:
        """Metrics of the lists over all available items, and Recall@100 of tail items over tail items alone."""
        found = self.evaluate_lists(self._lists(towers, self.items, max(self.at)))
        tail = self._lists(towers, self._items_where(self.slices == TAIL), max(self.at))
        recall = ranking_metrics(tail, _only(self.relevant, self.slices == TAIL), self.at)[f"recall@{max(self.at)}"]
        return found | {"tail_among_tail": float(np.nanmean(recall))}

    def evaluate_clicked_items(self, towers: TwoTowers) -> dict[str, float]:
        """Metrics of the lists over clicked items only."""
        return self.evaluate_lists(self._lists(towers, self._items_where(self.clicks > 0), max(self.at)))

    def _items_where(self, flags: np.ndarray) -> pa.Table:
        """The available items whose flag, bool [I], is set."""
        return self.items.filter(pa.array(flags[self.items["item_index"].to_numpy()]))

    def recall_and_ndcg(self, towers: TwoTowers) -> tuple[float, float]:
        """Recall and NDCG at the shortest cutoff only, which is cheap enough for every epoch."""
        k = min(self.at)
        found = ranking_metrics(self._lists(towers, self.items, k), self.relevant, (k,))
        return float(np.nanmean(found[f"recall@{k}"])), float(np.nanmean(found[f"ndcg@{k}"]))

    def _lists(self, towers: TwoTowers, items: pa.Table, k: int) -> np.ndarray:
        """The k best items for each user, [U, k]."""
        with torch.no_grad():
            queries = towers.user(tensors(self.users, towers.spec.user)).numpy()  # [U, D]
            inputs = aged(tensors(items, towers.spec.item), towers.spec.item, self.day)
            vectors = towers.item(inputs).numpy()  # [I, D]
        index = ExactIndex.build(vectors, items["item_index"].to_numpy().astype(np.int64), model_version="benchmark")
        return index.search(queries, k, self.excluded)[0]

    def popularity(self) -> dict[str, float]:
        """Metrics of lists of the most clicked items, excluded items left out."""
        indices = self.items["item_index"].to_numpy().astype(np.int64)
        clicks = self.clicks[indices].astype(np.float32)
        index = ExactIndex.build(clicks[:, None], indices, model_version="popularity")
        ones = np.ones((len(self.users), 1), np.float32)
        return self.evaluate_lists(index.search(ones, max(self.at), self.excluded)[0])

    def oracle(self) -> dict[str, float]:
        """Metrics of the oracle's lists, which are the best by the simulated world's own click model."""
        flat, offsets = of_lists(self.users["oracle"].combine_chunks())
        lists = np.full((len(self.users), max(self.at)), -1, dtype=np.int64)  # [U, K]
        for user, (start, end) in enumerate(itertools.pairwise(offsets)):
            best = flat[start : min(end, start + max(self.at))]
            lists[user, : len(best)] = best
        return self.evaluate_lists(lists)

    def least_never_clicked_share(self, k: int) -> float:
        """The share of never-clicked items that no lists of k items can go below: some users have no more others."""
        available = np.zeros(len(self.clicks), dtype=bool)  # [I]
        available[self.items["item_index"].to_numpy()] = True
        flat, offsets = self.excluded
        left = []  # of all available items, and of those with a click: how many are not excluded, [U] each
        for items in (available, available & (self.clicks > 0)):
            excluded = np.concatenate([[0], np.cumsum(items[flat])])[offsets]  # [U + 1]
            left.append(items.sum() - np.diff(excluded))
        lengths = np.minimum(k, left[0])
        return float(np.maximum(lengths - left[1], 0).sum() / lengths.sum())

    def evaluate_lists(self, ranked: np.ndarray) -> dict[str, float]:
        """Means over the users with relevant items; shares over the positions of all lists [U, K]."""
        metrics = ranking_metrics(ranked, self.relevant, self.at)
        found = {name: float(np.nanmean(value)) for name, value in metrics.items()}
        slices = {"head": self.slices == HEAD, "tail": self.slices == TAIL, "cold": self.clicks == 0}
        for name, items in slices.items():
            recalls = ranking_metrics(ranked, _only(self.relevant, items), self.at)
            for k in self.at:
                recall = recalls[f"recall@{k}"]  # [U], NaN for users without a relevant item in the slice
                found[f"recall@{k}_{name}"] = float(np.nanmean(recall)) if np.isfinite(recall).any() else float("nan")
        found["never_clicked_share"] = share_of(ranked, self.clicks == 0)
        found |= {f"never_clicked_share@{k}": share_of(ranked[:, :k], self.clicks == 0) for k in self.at}
        cold = np.flatnonzero((self.clicks == 0) & np.isin(np.arange(len(self.clicks)), self.items["item_index"]))
        found["cold_coverage"] = len(np.intersect1d(ranked, cold)) / len(cold) if len(cold) else float("nan")
        return found


def measure(
    prepared: Path,
    clicked_only: bool = False,
    curve: bool = False,
    overrides: dict[str, Any] | None = None,
    at: Sequence[int] = AT,
) -> dict[str, Any]:
    """Train and evaluate: metrics of the last epoch by name, `rows_per_second` and `seconds` of training.

    overrides: as for `read_spec`. at: the lengths of lists that are evaluated.
    curve: also `curve`, (epoch from 1, seconds of training so far, Recall, NDCG at the shortest) after each epoch.
    clicked_only: also `clicked_only`, the metrics of lists over clicked items only.
    """
    evaluator = Evaluator(prepared, at)
    points: list[tuple[int, float, float, float]] = []
    found: dict[str, Any] = {}

    def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
        towers.eval()
        if curve:
            points.append((progress.epoch + 1, progress.seconds, *evaluator.recall_and_ndcg(towers)))
        if progress.epoch + 1 == spec.run.epochs:
            found.update(evaluator.evaluate(towers))
            if clicked_only:
                found["clicked_only"] = evaluator.evaluate_clicked_items(towers)
        towers.train()

    with tempfile.TemporaryDirectory() as folder:
        spec = read_spec(prepared, overrides).in_folders(Path(folder) / "model", Path(folder) / "checkpoints")
        version = fit(spec, on_epoch_end=on_epoch_end)
    costs = {name: version.metrics[name] for name in ("seconds", "rows_per_second", "steps", "final_loss")}
    costs |= {name: value for name, value in version.metrics.items() if name.startswith(("bank_", "estimator"))}
    return found | costs | ({"curve": points} if curve else {})


def spread(values: Sequence[float]) -> str:
    """The mean, and the standard deviation if there are several values."""
    deviation = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{deviation}"


def _only(lists: tuple[np.ndarray, np.ndarray], flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each user's items whose flag, bool [I], is set; lists as (flat, offsets)."""
    flat, offsets = lists
    chosen = flags[flat]
    return flat[chosen], np.concatenate([[0], np.cumsum(chosen)])[offsets]
