"""What a training step costs with 1 million items and 5 million users, and with a hundredth of them.

    python -m benchmarks.training.catalogue_size

Both have the same number of clicks, batch size and towers. Each training is its own process, with its own peak memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.memory import peak_mib
from benchmarks.worlds.clusters import training_spec, write_clicks
from model.training.fit import fit
from model.vocabulary import FIRST_INDEX

DIM = 64


def train(settings: dict[str, Any]) -> dict[str, float]:
    metrics = fit(training_spec(Path(settings["folder"]), settings)).metrics
    return {name: metrics[name] for name in ("rows_per_second", "waiting_share", "steps")} | {"peak": peak_mib()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--clicks", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parse(parser, argv, users=1_000, items=1_000, clicks=400, batch=64)
    if args.one:
        print(json.dumps(train(json.loads(args.one))))
        return
    print("| users | items | tables, MB | examples a second | waiting for data | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for users, items in ((args.users // 100, args.items // 100), (args.users, args.items)):
        with tempfile.TemporaryDirectory(prefix="catalogue-size-") as folder:
            write_clicks(Path(folder), min(users, args.clicks), items, max(args.clicks // users, 1))
            settings = {
                "folder": folder, "users": users + FIRST_INDEX, "items": items + FIRST_INDEX,
                "dim": DIM, "batch": args.batch,
                "epochs": 1, "temperature": 0.1, "seed": 1, "learning_rate": 0.1, "ranks": 1, "threads": 0,
            }  # fmt: skip
            child = ["--one", json.dumps(settings)]
            printed = output_of("benchmarks.training.catalogue_size", child, smoke=args.smoke)
        found = json.loads(printed.strip().splitlines()[-1])
        size = (users + items) * DIM * 4 / 1e6
        speed, waiting, peak = (found[name] for name in ("rows_per_second", "waiting_share", "peak"))
        print(f"| {users:,} | {items:,} | {size:,.0f} | {speed:,.0f} | {waiting:.1%} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
