"""What a step costs with 1 million items and 5 million users, beside a catalogue of a hundredth of that.

    python -m benchmarks.catalogue_size

The same number of clicks, batch and towers; each training is a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.against_tfrs import spec_of, write_world
from benchmarks.memory import peak_mib
from model.training.fit import fit
from model.vocabulary import FIRST_INDEX

DIM = 64


def train(settings: dict[str, Any]) -> dict[str, float]:
    metrics = fit(spec_of(Path(settings["folder"]), settings)).metrics
    return {name: metrics[name] for name in ("rows_per_second", "waiting_share", "steps")} | {"peak": peak_mib()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=5_000_000)
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--clicks", type=int, default=2_000_000)
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(train(json.loads(args.one))))
        return
    print("| users | items | tables, MB | examples a second | waiting for data | peak memory, MiB |")
    print("|---|---|---|---|---|---|")
    for users, items in ((args.users // 100, args.items // 100), (args.users, args.items)):
        with tempfile.TemporaryDirectory(prefix="catalogue-size-") as folder:
            write_world(Path(folder), min(users, args.clicks), items, max(args.clicks // users, 1))
            settings = {
                "folder": folder, "users": users + FIRST_INDEX, "items": items + FIRST_INDEX,
                "dim": DIM, "batch": args.batch,
                "epochs": 1, "temperature": 0.1, "seed": 1, "learning_rate": 0.1, "ranks": 1, "threads": 0,
            }  # fmt: skip
            command = [sys.executable, "-m", "benchmarks.catalogue_size", "--one", json.dumps(settings)]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(printed.strip().splitlines()[-1])
        size = (users + items) * DIM * 4 / 1e6
        speed, waiting, peak = (found[name] for name in ("rows_per_second", "waiting_share", "peak"))
        print(f"| {users:,} | {items:,} | {size:,.0f} | {speed:,.0f} | {waiting:.1%} | {peak:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
