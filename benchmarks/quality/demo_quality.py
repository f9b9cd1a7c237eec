"""The README's table: the demo's model on the held-out last day of MovieLens-100K, over three seeds.

Trains on logical days 1 to 9 with the demo's configuration and evaluates on day 10 once per seed: with log-Q
correction, and without it at the temperature that was chosen for that model. --smoke takes a simulated log.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import Evaluator, measure
from benchmarks.quality.one_key import overrides_of
from benchmarks.quality.scheme_report import cell
from benchmarks.worlds.prepared_days import FEATURES, movielens_lake, prepare, simulated_lake
from benchmarks.worlds.prepared_folder import FIRST_DAY
from jobs.config.loading import load_config, merge

SCORED_DAY = FIRST_DAY + dt.timedelta(days=8)
SEEDS = (1, 2, 3)
NAMES = ("recall@20", "ndcg@20", "recall@100")


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where the lake is stored")
    args = parse(parser, argv)
    if args.smoke:
        with tempfile.TemporaryDirectory(prefix="demo-quality-") as folder:
            lake = simulated_lake(Path(folder) / "lake", users=30, items=40, days=2)
            report(prepare(lake, FIRST_DAY, Path(folder)), SEEDS[:1], {"epochs": 1})
    else:
        folder = args.folder / "movielens"
        report(prepare(movielens_lake(folder / "lake"), SCORED_DAY, folder), SEEDS, {"threads": 1})


def report(prepared: Path, seeds: Sequence[int], run: dict[str, int]) -> None:
    """Print the table; run: fields of the run's spec to replace."""
    found = Evaluator(prepared).popularity()
    print("| | " + " | ".join(NAMES) + " |")
    print(f"| popularity | {' | '.join(cell(name, [found]) for name in NAMES)} |")
    demo = load_config(FEATURES)
    for label, config in (("no correction", demo.with_variant("uncorrected")), ("log-Q", demo)):
        settings = overrides_of(config, prepared)
        runs = [measure(prepared, overrides=merge(settings, {"run": {**run, "seed": seed}})) for seed in seeds]
        print(f"| two towers, {label} | {' | '.join(cell(name, runs) for name in NAMES)} |", flush=True)


if __name__ == "__main__":
    main()
