"""The demo's hyper-parameters, chosen on MovieLens-100K: trained up to logical day 8, evaluated on day 9.

Day 10 is not used. One setting at a time is varied around the best so far, in the order of GRID; the choice is by
Recall@20. Prints a line per run and the best settings, and stores every run in a JSON-lines file, so that an
interrupted search continues. --smoke takes a tiny set of pairs.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import Evaluator, measure
from benchmarks.worlds import amazon_beauty
from benchmarks.worlds.prepared_days import movielens_lake, prepare
from benchmarks.worlds.prepared_folder import FIRST_DAY

TUNING_DAY = FIRST_DAY + dt.timedelta(days=7)
GRID: dict[str, list[Any]] = {
    "temperature": [0.1, 0.15, 0.2, 0.25, 0.3],
    "epochs": [5, 10, 20],
    "learning_rate": [0.02, 0.05, 0.1, 0.2],
    "user_id_dropout": [0.0, 0.1, 0.2, 0.5],
    "item_id_dropout": [0.0, 0.1, 0.2],
    "dense_learning_rate": [0.001, 0.003, 0.01],
    "hidden": [[], [128]],
}
START = {
    "temperature": 0.2,
    "epochs": 10,
    "learning_rate": 0.05,
    "user_id_dropout": 0.1,
    "item_id_dropout": 0.1,
    "dense_learning_rate": 0.003,
    "hidden": [],
}
SEEDS = (1, 2)


def recall(prepared: Path, settings: dict[str, Any], correction: str, stored: Path) -> float:
    """Mean Recall@20 over the seeds; read from `stored` if it was run before."""
    key = json.dumps([correction, settings], sort_keys=True)
    for text in stored.read_text("utf-8").splitlines() if stored.exists() else []:
        if (line := json.loads(text))["key"] == key:
            return float(line["recall@20"])
    loss = {name: settings[name] for name in ("temperature", "user_id_dropout", "item_id_dropout")}
    loss["negatives"] = {"correction": correction}
    run = {name: settings[name] for name in ("epochs", "learning_rate", "dense_learning_rate")}
    run |= {"threads": 1, "model": {"hidden": settings["hidden"]}}
    found = [measure(prepared, overrides={"loss": loss, "run": {**run, "seed": seed}}) for seed in SEEDS]
    mean = sum(one["recall@20"] for one in found) / len(found)
    with stored.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "recall@20": mean, "seconds": found[0]["seconds"]}) + "\n")
    print(f"{correction:<6} {settings}: Recall@20 {mean:.4f}, {found[0]['seconds']:.0f} s", flush=True)
    return mean


def tune(
    prepared: Path, correction: str, stored: Path, grid: Mapping[str, list[Any]], start: Mapping[str, Any]
) -> dict[str, Any]:
    """The best settings of a coordinate search over the grid."""
    best = dict(start)
    for name, values in grid.items():
        scores = {json.dumps(value): recall(prepared, {**best, name: value}, correction, stored) for value in values}
        best[name] = json.loads(max(scores, key=lambda value: scores[value]))
    return best


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where lake and results are stored")
    args = parse(parser, argv)
    if args.smoke:
        with tempfile.TemporaryDirectory(prefix="tune-") as folder:
            amazon_beauty.write_tiny_source(Path(folder))
            prepared, _ = amazon_beauty.prepare(Path(folder), Path(folder))
            grid, start = {"temperature": [0.1, 0.2]}, {**START, "epochs": 1}
            print("best with logq:", tune(prepared, "logq", Path(folder) / "tune.jsonl", grid, start))
        return
    folder = args.folder / "movielens"
    prepared = prepare(movielens_lake(folder / "lake"), TUNING_DAY, folder)
    print(f"popularity: Recall@20 {Evaluator(prepared).popularity()['recall@20']:.4f}", flush=True)
    stored = args.folder / "tune_movielens.jsonl"
    print("best with logq:", tune(prepared, "logq", stored, GRID, START))
    # the uncorrected model is tuned too, so that the comparison is fair
    some = {name: GRID[name] for name in ("temperature", "epochs")}
    print("best with none:", tune(prepared, "none", stored, some, START))


if __name__ == "__main__":
    main()
