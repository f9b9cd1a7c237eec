"""What positions for neighbours of the clicked items are worth: lists of 100, evaluated on the clicks of the next day.

The two towers are trained as a day trains them, with the last day held out, on which the scores of all channels are
calibrated. `--part validation` evaluates one day earlier than `--part test`: settings are chosen there, with a file of
[neighbours] for `--config`, and tested once. --smoke: a tiny simulated log.

Axis letters: U users, L length of a history.
"""

from __future__ import annotations

import datetime as dt
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import Evaluator
from benchmarks.quality.scheme_report import cell
from benchmarks.quality.scheme_sets import SETS, SIMULATED
from benchmarks.worlds import WITH_POOL
from benchmarks.worlds.prepared_days import FEATURES, movielens_lake, prepare, simulated_lake
from benchmarks.worlds.prepared_folder import FIRST_DAY
from jobs import build_item_neighbours, build_item_pairs
from jobs.config.loading import Config, load_config, merge
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.training.spec import training_spec
from model.artifacts.model_version import load_model
from model.data.parquet_files import read_files
from model.features.ragged import Ragged
from model.features.tensors import tensors
from model.search.exact_index import ExactIndex
from model.search.lists import NEIGHBOURS
from model.search.lists.calibration import Calibration
from model.search.lists.candidate_lists import CandidateLists, Quotas
from model.search.lists.neighbours import ItemNeighbours, item_neighbours
from model.search.lists.popular import PopularItems
from model.training.fit import fit
from model.training.spec import TrainingSpec

K, QUOTAS = 100, (0, 10, 20, 50)
CALIBRATED_QUOTA = 20  # of the lists on which the maps are fitted
COLUMNS = ("recall@20", "ndcg@20", "recall@100", "coverage", "never_clicked_share", "recall of neighbours")
TINY = {"users": 60, "items": 150, "days": 4}


@dataclass
class World:
    """A day of a lake: its neighbours, and the users whose lists are evaluated."""

    evaluator: Evaluator
    near: ItemNeighbours
    popular: PopularItems
    history: Ragged
    cold: np.ndarray  # bool [U]

    @classmethod
    def of(cls, prepared: Path, near: ItemNeighbours) -> World:
        found = Evaluator(prepared)
        history = np.stack(found.users["history"].to_numpy())  # [U, L], padded with 0
        known = history > 0
        items = found.items["item_index"].to_numpy().astype(np.int64)
        best = items[np.argsort(-found.clicks[items], kind="stable")]
        shares = (found.clicks[best] / found.clicks.sum()).astype(np.float32)
        offsets = np.append(0, np.cumsum(known.sum(axis=1)))
        clicks = Ragged(history[known].astype(np.int64), offsets)
        return cls(found, near, PopularItems(np.zeros(len(best), dtype=int), best, shares), clicks, ~known.any(axis=1))

    def alone(self) -> dict[str, float]:
        """Metrics of lists of neighbours alone."""
        return self._metrics(self.near.best(self.history, self.evaluator.excluded, K))

    def with_towers(self, folder: Path) -> dict[tuple[str, int], dict[str, float]]:
        """Metrics of the lists of a trained model, by order and quota."""
        towers, version = load_model(folder)
        items = self.evaluator.items
        with torch.no_grad():
            queries = towers.user(tensors(self.evaluator.users, towers.spec.user)).numpy()
            vectors = towers.item(tensors(items, towers.spec.item)).numpy()
        indices = items["item_index"].to_numpy().astype(np.int64)
        index = ExactIndex.build(vectors, indices, model_version="benchmark")
        calibration = Calibration.from_json(version.metrics["calibration"])
        segments, found = np.zeros(len(queries), dtype=np.int64), {}
        for order in ("channel_score", "score"):
            for quota in QUOTAS:
                lists = CandidateLists(
                    index,
                    self.popular,
                    Quotas(K, neighbours=quota),
                    calibration=calibration,
                    order_by_score=order == "score",
                    neighbours=self.near,
                ).lists_for(queries, self.evaluator.excluded, self.cold, segments, self.history)
                of_channel = np.where(lists.sources == NEIGHBOURS, lists.items, -1)
                of_channel = np.take_along_axis(of_channel, np.argsort(of_channel == -1, axis=1, kind="stable"), axis=1)
                hits = self.evaluator.evaluate_lists(of_channel)[f"recall@{K}"]
                found[order, quota] = self._metrics(lists.items) | {"recall of neighbours": hits}
        return found

    def _metrics(self, lists: np.ndarray) -> dict[str, float]:
        shown = np.unique(lists[lists >= 0])
        return self.evaluator.evaluate_lists(lists) | {"coverage": len(shown) / len(self.evaluator.items)}


def timed(job: ModuleType, lake: Lake, ds: dt.date, config: Sequence[str]) -> float:
    """Run a job of a day; returns its seconds."""
    start = time.perf_counter()
    job.main(["--lake", lake.uri, "--ds", str(ds), *config])
    return time.perf_counter() - start


def build(lake: Lake, ds: dt.date, config: Sequence[str]) -> None:
    """Build the pairs of every day up to `ds`, and the neighbours of `ds` and of the day before; print the seconds."""
    days = [FIRST_DAY + dt.timedelta(days=number) for number in range((ds - FIRST_DAY).days + 1)]
    pairs = statistics.median(timed(build_item_pairs, lake, day, config) for day in days)
    near = statistics.median(timed(build_item_neighbours, lake, day, config) for day in days[-2:])
    rows = lake.window(tables.DAILY_ITEM_PAIRS, ds, len(days)).count()
    print(f"seconds a day: pairs {pairs:.1f}, neighbours {near:.1f}; {rows:,} rows of pairs in {len(days)} days\n")


def configuration(log: str, text: str, overlays: Iterable[str], folder: Path) -> tuple[Config, list[str]]:
    """The configuration of the log's models, and the arguments with which the jobs build neighbours."""
    own = folder / "neighbours.toml"
    own.write_text(f"[scoring]\nneighbour_quota = {CALIBRATED_QUOTA}\n[training]\nthreads = 1\n{text}", "utf-8")
    files = [FEATURES, str(WITH_POOL), *overlays, str(own)]
    config = load_config(*files)
    if log == "simulated":
        config = Config.model_validate(merge(config.model_dump(), SETS[log].configuration))
    return config, [argument for file in files for argument in ("--config", file)]


def measure(lake: Lake, ds: dt.date, folder: Path, configured: tuple[Config, list[str]], seeds: Sequence[int]) -> None:
    """Print the table of a day."""
    config, arguments = configured
    prepared = prepare(lake, ds, folder)
    build(lake, ds, arguments)
    rows = read_files(lake.pinned(tables.ITEM_NEIGHBOURS, ds, 1).files)
    world = World.of(prepared, item_neighbours(rows, config.neighbours.clicks, config.neighbours.decay))
    spec = training_spec(lake, config, ds)
    found = [_trained(world, replace(spec, run=replace(spec.run, seed=seed))) for seed in seeds]
    print(f"| {len(world.cold):,} users, {len(seeds)} seeds | {' | '.join(COLUMNS)} |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    _row("popularity", [world.evaluator.popularity()])
    _row("neighbours alone", [world.alone()])
    for order, quota in found[0]:
        _row(f"quota {quota}, ordered by {order}", [of_seed[order, quota] for of_seed in found])


def _trained(world: World, spec: TrainingSpec) -> dict[tuple[str, int], dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        fit(spec.in_folders(Path(folder) / "model", Path(folder) / "checkpoints"))
        return world.with_towers(Path(folder) / "model")


def _row(label: str, runs: Sequence[Mapping[str, float]]) -> None:
    print(f"| {label} | {' | '.join(cell(name, runs) for name in COLUMNS)} |", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where the lakes are stored")
    parser.add_argument("--log", choices=("movielens", "simulated"), default="movielens")
    parser.add_argument("--part", choices=("validation", "test"), default="validation")
    parser.add_argument("--config", action="append", default=[], help="overrides, such as [neighbours]")
    parser.add_argument("--seeds", type=int, default=3)
    args = parse(parser, argv, log="simulated", seeds=1)
    with tempfile.TemporaryDirectory(prefix="neighbours-") as temporary:
        folder = Path(temporary) if args.smoke else args.folder / args.log
        sizes = TINY if args.smoke else SIMULATED
        folder.mkdir(parents=True, exist_ok=True)
        lake = movielens_lake(folder / "lake") if args.log == "movielens" else simulated_lake(folder / "lake", **sizes)
        days = 10 if args.log == "movielens" else int(sizes["days"])
        ds = FIRST_DAY + dt.timedelta(days=days - (3 if args.part == "validation" else 2))
        text = "epochs = 1\n[model]\nhidden = []\n" if args.smoke else ""
        configured = configuration("tiny" if args.smoke else args.log, text, args.config, Path(temporary))
        measure(lake, ds, folder, configured, range(1, args.seeds + 1))


if __name__ == "__main__":
    main()
