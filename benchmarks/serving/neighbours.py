"""What positions for neighbours of the clicked items are worth: lists of a day that was run, on the next day's clicks.

    batch-recall run-day --lake LAKE --ds FIRST --last DAY --config FILE --from build_item_pairs --to build_item_pairs
    batch-recall build-item-neighbours --lake LAKE --ds DAY --config FILE
    python -m benchmarks.serving.neighbours --lake LAKE --ds DAY --config FILE

FILE has a `scoring.neighbour_quota`; the first two commands build what the lake lacks. Lists are made from the day's
stored embeddings by the code that scores users, with each quota and in both orders, by an exact search. Users without a
click are left out, because no quota changes their lists. --smoke runs two days of a simulated log first.

Axis letters: U users, W items of a list, D dimensions.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.command_line import benchmark_parser, parse
from jobs import build_interactions, run_day, simulate_log
from jobs.config.loading import Config, load_config
from jobs.inference.references import calibration_of, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from model.data.parquet_files import read_files
from model.features.ragged import Ragged
from model.metrics import ranking_metrics
from model.search.exact_index import ExactIndex
from model.search.interests import queries_of
from model.search.lists import NEIGHBOURS
from model.search.lists.calibration import Calibration
from model.search.lists.candidate_lists import CandidateLists, Quotas
from model.search.lists.neighbours import ItemNeighbours, item_neighbours
from model.search.lists.popular import PopularItems

QUOTAS, SHORT = (0, 10, 20, 50), 20
FIRST = dt.date(2026, 1, 1)
TINY = (
    '[training]\nepochs = 1\nbatch_size = 64\nthreads = 1\n[tracking]\nuri = "none"\n[scoring]\nneighbour_quota = 5\n'
)


@dataclass
class Day:
    """The users with a click before and after the end of a day, and what their lists are made from."""

    queries: np.ndarray  # [U, D]
    history: Ragged
    excluded: Ragged
    relevant: Ragged  # item indices clicked on the next day, without excluded ones
    index: ExactIndex
    near: ItemNeighbours
    calibration: Calibration
    k: int

    @classmethod
    def of(cls, lake: Lake, config: Config, ds: dt.date) -> Day:
        items = pl.concat(lake.batches(tables.ITEM_EMBEDDINGS, ds, ["item_id", "item_index", "available", "embedding"]))
        users = pl.concat(lake.batches(tables.USER_EMBEDDINGS, ds, ["user_id", "embedding"]))
        clicked = pl.concat(lake.batches(tables.USER_HISTORIES, ds, ["user_id", "history", "clicked"]))
        after = pl.concat(
            lake.batches(tables.INTERACTIONS, ds + dt.timedelta(days=1), ["user_id", "item_id", "clicked"])
        )
        after = after.filter("clicked").join(items.select("item_id", "item_index"), on="item_id")
        next_clicks = after.group_by("user_id").agg(relevant=pl.col("item_index").unique())
        of_days = pl.col("clicked").list.eval(pl.element().struct.field("item_indices"))
        excluded = of_days.list.eval(pl.element().explode()).list.unique().list.drop_nulls()
        users = users.join(clicked.with_columns(excluded=excluded), on="user_id").join(next_clicks, on="user_id")
        users = users.with_columns(relevant=pl.col("relevant").list.set_difference("excluded")).sort("user_id")
        users = users.filter(pl.col("relevant").list.len() > 0)
        shown = items.filter("available")
        rows = read_files(lake.pinned(tables.ITEM_NEIGHBOURS, ds, 1).files)
        vectors, indices = np.stack(shown["embedding"].to_list()).astype(np.float32), shown["item_index"].to_numpy()
        return cls(
            queries_of(np.stack(users["embedding"].to_list()).astype(np.float32), vectors.shape[1]),
            ragged(users["history"]),
            ragged(users["excluded"]),
            ragged(users["relevant"]),
            ExactIndex.build(vectors, indices.astype(np.int64), model_version="benchmark"),
            item_neighbours(rows, config.neighbours.clicks, config.neighbours.decay),
            calibration_of(lake, config, model_version(lake, ds)),
            config.scoring.candidates_per_user,
        )

    def print_lists(self) -> None:
        """Print a row for each quota and order, and one for lists of neighbours alone."""
        size = len(self.index)
        print(
            f"| {len(self.queries):,} users, {size:,} items | Recall@{SHORT} | NDCG@{SHORT} | Recall@{self.k} |", end=""
        )
        print(" coverage | hits among neighbours | hits among the last of the search |\n|---|---|---|---|---|---|---|")
        self._row("neighbours alone", self.near.best(self.history, self.excluded, self.k))
        nothing = PopularItems(np.zeros(1, dtype=int), np.full(1, -1), np.zeros(1, dtype=np.float32))
        warm, segments = np.zeros(len(self.queries), dtype=bool), np.zeros(len(self.queries), dtype=np.int64)
        whole = self.index.search(self.queries, self.k, self.excluded)[0]
        for by_score in (False, True):
            for quota in QUOTAS:
                lists = CandidateLists(
                    self.index, nothing, Quotas(self.k, neighbours=min(quota, self.k)), calibration=self.calibration,
                    order_by_score=by_score, neighbours=self.near,
                ).lists_for(self.queries, self.excluded, warm, segments, self.history)  # fmt: skip
                label = f"quota {quota}, ordered by {'score' if by_score else 'channel_score'}"
                near = np.where(lists.sources == NEIGHBOURS, lists.items, -1)
                self._row(label, lists.items, near, whole[:, self.k - quota :] if quota else near)

    def _row(self, label: str, lists: np.ndarray, *parts: np.ndarray) -> None:
        found = ranking_metrics(lists, self.relevant, (SHORT, self.k))
        values = [np.nanmean(found[name]) for name in (f"recall@{SHORT}", f"ndcg@{SHORT}", f"recall@{self.k}")]
        coverage = len(np.unique(lists[lists >= 0])) / len(self.index)
        cells = [*(f"{value:.4f}" for value in (*values, coverage)), *(f"{self._hits(part):,}" for part in parts)]
        print(f"| {label} | {' | '.join(cells + [''] * (6 - len(cells)))} |", flush=True)

    def _hits(self, items: np.ndarray) -> int:
        """How many of the items [U, W], -1 for none, are relevant."""
        stride = int(max(items.max(initial=0), self.relevant.flat.max(initial=0))) + 1
        owners = np.repeat(np.arange(len(items)), np.diff(self.relevant.offsets))
        keys = np.arange(len(items))[:, None] * stride + items
        return int((np.isin(keys, owners * stride + self.relevant.flat) & (items >= 0)).sum())


def ragged(lists: pl.Series) -> Ragged:
    """A column of lists of item indices."""
    flat = lists.explode().drop_nulls().to_numpy().astype(np.int64)
    return Ragged(flat, np.append(0, np.cumsum(lists.list.len().to_numpy(), dtype=np.int64)))


def simulated(folder: Path) -> tuple[str, dt.date, list[str]]:
    """A tiny lake of which two days were run and a third has landed; its second day, and its configuration."""
    config, lake = folder / "tiny.toml", str(folder / "lake")
    config.write_text(TINY, "utf-8")
    days = [FIRST + dt.timedelta(days=number) for number in range(3)]
    for day in days:
        common = ["--lake", lake, "--ds", str(day), "--config", str(config)]
        simulate_log.main([*common, "--users", "60", "--items", "150", "--start", str(FIRST)])
        if day != days[-1]:
            run_day.main([*common, "--to", "score_users"])
    build_interactions.main([*common, "--any-order"])
    return lake, days[1], [str(config)]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--lake")
    parser.add_argument("--ds", type=dt.date.fromisoformat)
    parser.add_argument("--config", action="append", default=[])
    args = parse(parser, argv)
    if not args.smoke and not (args.lake and args.ds):
        parser.error("--lake and --ds must be given")
    with tempfile.TemporaryDirectory(prefix="neighbours-") as temporary:
        chosen = simulated(Path(temporary)) if args.smoke else (args.lake, args.ds, args.config)
        uri, ds, overlays = chosen
        Day.of(Lake(lambda: spark_session("neighbours"), uri), load_config(*overlays), ds).print_lists()


if __name__ == "__main__":
    main()
