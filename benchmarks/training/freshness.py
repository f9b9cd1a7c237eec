"""What the age and the recent clicks of items are worth where users click what is new: recall of all and of new items.

    python -m benchmarks.training.freshness
    python -m benchmarks.training.freshness --seeds 1 --epochs 5

The log is planted: items appear every day and are clicked less each day, some of them far more than others. The clicks
of the day after the window are ranked among all items that were known before it. New items are younger than NEW days;
items without a click are those that nobody clicked in the window. Means over seeds, with the standard deviation.

Axes: U users, I items, T days, N clicks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import Evaluator
from benchmarks.worlds.click_log import ITEM_ID, ClickLog, write
from benchmarks.worlds.cold_logs import CLUSTER
from benchmarks.worlds.prepared_folder import read_spec, write_spec
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec
from model.features.ragged import Ragged
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.loop import Progress
from model.vocabulary import FIRST_INDEX

AGE = FeatureSpec("age", "age", 8, 1, "age", None)
RECENT = FeatureSpec("recent_clicks", "recent_clicks", 8, 1, "recent_clicks", None)
VARIANTS = {"neither": (), "age": (AGE,), "recent clicks": (RECENT,), "both": (AGE, RECENT)}
FIRST_DAY = 20_000  # since 1970-01-01
WINDOW, NEW = 7, 3  # days: whose clicks are recent, and within which an item is new
HALF_LIFE = 1.5  # days in which an item loses half of its clicks
CLUSTERS, AWAY = 10, 0.1  # AWAY: weight of items of other clusters
CLICK_SHARE = 0.5  # of the users click on a day


class World(NamedTuple):
    log: ClickLog
    days: np.ndarray  # [N], of each click, from 0
    first: np.ndarray  # [I], the day on which an item appears
    recent: np.ndarray  # float32 [T + 1, I], ln(1 + clicks) of the last WINDOW days at the start of a day


def planted(users: int, per_day: int, days: int, seed: int) -> World:
    """A log of `days` days, on each of which `per_day` items appear, and the clicks of the day after it."""
    random = np.random.default_rng(seed)
    items = per_day * (days + 1)
    first, cluster = np.arange(items) // per_day, random.integers(0, CLUSTERS, items)
    quality = random.pareto(1.2, items) + 0.05
    clicker, clicked, when = [], [], []
    for day in range(days + 1):
        active = np.flatnonzero(random.random(users) < CLICK_SHARE)
        fresh = np.where(first <= day, quality * 0.5 ** ((day - first) / HALF_LIFE), 0.0)  # [I]
        for home in range(CLUSTERS):
            own = active[active % CLUSTERS == home]
            weight = fresh * np.where(cluster == home, 1.0, AWAY)
            clicked.append(random.choice(items, len(own), p=weight / weight.sum()))
            clicker.append(own)
            when.append(np.full(len(own), day))
    user, item, day_of = (np.concatenate(part) for part in (clicker, clicked, when))
    known = first < days  # of the last day's items no list could have one
    later = (day_of == days) & known[item]
    before = day_of < days
    relevant = [np.unique(item[later & (user == number)]) for number in range(users)]
    daily = np.stack([np.bincount(item[day_of == day], minlength=items) for day in range(days)])  # [T, I]
    so_far = np.concatenate([np.zeros((1, items)), daily.cumsum(axis=0)])  # [T + 1, I], before each day
    start = np.maximum(np.arange(days + 1) - WINDOW, 0)
    recent = np.log1p(so_far - so_far[start]).astype(np.float32)[:, known]
    shown = np.bincount(item[before], minlength=items)[known] + 1
    features = {CLUSTER: cluster[known] + FIRST_INDEX}
    log = ClickLog(user[before], item[before], shown, relevant, features)
    return World(log, day_of[before], first[known], recent)


def write_world(folder: Path, world: World) -> None:
    """Write the prepared folder, whose items are described as of each day."""
    write(folder, world.log)
    examples = pq.read_table(folder / "examples.parquet")
    examples = examples.append_column("epoch_day", pa.array(world.days + FIRST_DAY, pa.int32()))
    pq.write_table(examples, folder / "examples.parquet", row_group_size=2_048)
    items = pq.read_table(folder / "items.parquet")
    born = pa.array(world.first + FIRST_DAY, pa.float32())
    items = items.append_column(AGE.column, born).append_column(RECENT.column, pa.array(world.recent[-1]))
    pq.write_table(items, folder / "items.parquet")
    day, item = np.nonzero(world.recent[1:] != world.recent[:-1])
    changes = items.take(pa.array(item)).drop_columns([RECENT.column])
    changes = changes.append_column(RECENT.column, pa.array(world.recent[day, item]))  # before the change
    changes = changes.append_column("epoch_day", pa.array(day + FIRST_DAY, pa.int32()))
    pq.write_table(changes, folder / "item_changes.parquet")
    spec = read_spec(folder)
    pinned = PinnedFiles(0, ((folder / "item_changes.parquet").resolve().as_uri(),), changes.num_rows)
    stats = {feature.name: ([0.0], [1.0]) for feature in (AGE, RECENT)}
    data = replace(
        spec.data,
        item_changes=pinned,
        epoch_day=FIRST_DAY + len(world.recent) - 2,
        numeric_stats={"user": {}, "item": stats},
    )
    write_spec(folder, replace(spec, data=data))


def recalls(folder: Path, world: World, features: tuple[FeatureSpec, ...], epochs: int, seed: int) -> list[float]:
    """Recall@20 and @100 of all clicks, of those on new items, and of those on items without a click before."""
    spec = read_spec(folder)
    model = replace(spec.run.model, item=(ITEM_ID, CLUSTER, *features))
    with tempfile.TemporaryDirectory() as output:
        run = replace(spec.run, model=model, epochs=epochs, seed=seed, patience=0, checkpoint_steps=0)
        made = replace(spec, run=run).in_folders(Path(output) / "model", Path(output) / "checkpoints")
        found: list[float] = []

        def on_epoch_end(progress: Progress, towers: TwoTowers) -> None:
            if progress.epoch + 1 == epochs:
                towers.eval()
                found.extend(_recalls(folder, world, towers))
                towers.train()

        fit(made, on_epoch_end=on_epoch_end)
    return found


def _recalls(folder: Path, world: World, towers: TwoTowers) -> list[float]:
    evaluator, of_new = Evaluator(folder), Evaluator(folder)
    young = np.append(np.zeros(FIRST_INDEX, dtype=bool), world.first > len(world.recent) - 1 - NEW)  # by item index
    flat, offsets = of_new.relevant
    kept = young[flat]
    of_new.relevant = Ragged(flat[kept], np.concatenate([[0], np.cumsum(kept)])[offsets])
    every, new = evaluator.evaluate(towers), of_new.evaluate(towers)
    return [
        value for k in evaluator.at for value in (every[f"recall@{k}"], new[f"recall@{k}"], every[f"recall@{k}_cold"])
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=5_000)
    parser.add_argument("--per-day", type=int, default=100, help="items that appear on a day")
    parser.add_argument("--days", type=int, default=21)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    args = parse(parser, argv, users=200, per_day=20, days=4, epochs=1, seeds=1)
    names = [f"{part} Recall@{k}" for k in (20, 100) for part in ("all", "new items", "no click before")]
    print("| item features | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for name, features in VARIANTS.items():
        rows = []
        for seed in range(args.seeds):
            with tempfile.TemporaryDirectory() as folder:
                world = planted(args.users, args.per_day, args.days, seed)
                write_world(Path(folder) / "world", world)
                rows.append(recalls(Path(folder) / "world", world, features, args.epochs, seed + 1))
        values = zip(np.nanmean(rows, axis=0), np.nanstd(rows, axis=0), strict=True)
        print(f"| {name} | " + " | ".join(f"{mean:.4f} ± {spread:.4f}" for mean, spread in values) + " |", flush=True)


if __name__ == "__main__":
    main()
