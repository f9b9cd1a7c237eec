"""The demo's hyper-parameters, chosen on logical days 8 to 9 of MovieLens-100K: train up to day 8, evaluate on day 9.

The last day takes no part. One setting at a time is varied round the best so far, in the order of GRID; the choice is
by Recall@20. Prints a line a run and the best settings, and keeps every run in a JSON-lines file, so that it can go on.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

from benchmarks.measure import Judge, measure
from benchmarks.offline import movielens_lake, prepare
from benchmarks.scheme_sets import FIRST_DAY

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


def run(prepared: Path, settings: dict[str, Any], correction: str, kept: Path) -> float:
    """Mean Recall@20 over the seeds; read from `kept` where it was run before."""
    key = json.dumps([correction, settings], sort_keys=True)
    before = [json.loads(line) for line in kept.read_text("utf-8").splitlines()] if kept.exists() else []
    for line in before:
        if line["key"] == key:
            return float(line["recall@20"])
    loss = {name: settings[name] for name in ("temperature", "user_id_dropout", "item_id_dropout")}
    loss["negatives"] = {"correction": correction}
    run = {name: settings[name] for name in ("epochs", "learning_rate", "dense_learning_rate")}
    run |= {"threads": 1, "model": {"hidden": settings["hidden"]}}
    found = [measure(prepared, overrides={"loss": loss, "run": {**run, "seed": seed}}) for seed in SEEDS]
    recall = sum(one["recall@20"] for one in found) / len(found)
    with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "recall@20": recall, "seconds": found[0]["seconds"]}) + "\n")
    print(f"{correction:<6} {settings}: Recall@20 {recall:.4f}, {found[0]['seconds']:.0f} s", flush=True)
    return recall


def tune(prepared: Path, correction: str, kept: Path, names: list[str]) -> dict[str, Any]:
    """Coordinate search over GRID."""
    best = dict(START)
    for name in names:
        scores = {json.dumps(value): run(prepared, {**best, name: value}, correction, kept) for value in GRID[name]}
        best[name] = json.loads(max(scores, key=lambda value: scores[value]))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where lake and results are kept")
    args = parser.parse_args()
    folder = args.folder / "movielens"
    prepared = prepare(movielens_lake(folder / "lake"), TUNING_DAY, folder)
    print(f"popularity: Recall@20 {Judge(prepared).of_popularity()['recall@20']:.4f}", flush=True)
    kept = args.folder / "tune_movielens.jsonl"
    print("best with logq:", tune(prepared, "logq", kept, list(GRID)))
    # the uncorrected model gets a temperature of its own, so that the comparison is fair
    print("best with none:", tune(prepared, "none", kept, ["temperature", "epochs"]))


if __name__ == "__main__":
    main()
