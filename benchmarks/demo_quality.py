"""The README's table: the demo's model on the held-out last day of MovieLens-100K, mean and spread over three seeds.

Trains on logical days 1 to 9 with the settings of recall.toml and evaluates on day 10 once per seed: with log-Q
correction, and without it at the temperature that tune_movielens chose for that model.
"""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path

from benchmarks.measure import Judge, measure
from benchmarks.offline import movielens_lake, prepare
from benchmarks.scheme_report import cell
from benchmarks.scheme_sets import FIRST_DAY
from jobs.config.loading import load_config, merge
from jobs.training.settings import spec_settings

SCORED_DAY = FIRST_DAY + dt.timedelta(days=8)
SEEDS = (1, 2, 3)
NAMES = ("recall@20", "ndcg@20", "recall@100")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where the lake is kept")
    args = parser.parse_args()
    folder = args.folder / "movielens"
    prepared = prepare(movielens_lake(folder / "lake"), SCORED_DAY, folder)
    found = Judge(prepared).of_popularity()
    print("| | " + " | ".join(NAMES) + " |")
    print(f"| popularity | {' | '.join(cell(name, [found]) for name in NAMES)} |")
    for label, config in (("no correction", load_config().with_variant("uncorrected")), ("log-Q", load_config())):
        settings = spec_settings(config, pool_is_empty=False)
        runs = [measure(prepared, overrides=merge(settings, {"run": {"seed": seed}})) for seed in SEEDS]
        print(f"| two towers, {label} | {' | '.join(cell(name, runs) for name in NAMES)} |", flush=True)


if __name__ == "__main__":
    main()
