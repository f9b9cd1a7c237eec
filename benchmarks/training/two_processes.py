"""Training by two processes on two cores compared with one process on one core, at the same global batch size.

    python -m benchmarks.training.two_processes

Clicks and towers are those of `benchmarks.worlds.clusters`. Both take turns, round after round.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds.clusters import training_spec, write_clicks
from model.artifacts.model_version import load_model
from model.training.spec import TrainingSpec
from model.vocabulary import FIRST_INDEX


def run(folder: Path, spec: TrainingSpec, ranks: int) -> dict[str, Any]:
    """The metrics of a training by `ranks` processes, each on its own core."""
    file = folder / "training_spec.json"
    file.write_text(json.dumps(spec.to_json()))
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0"]
    pinned = ["taskset", "-c", ",".join(str(core) for core in range(ranks))]
    command = [*pinned, sys.executable, *(several if ranks > 1 else []), "-m", "model.training.fit", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return load_model(spec.run.folder)[1].metrics


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--clicks", type=int, default=20, help="of each user")
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--rounds", type=int, default=3)
    args = parse(parser, argv, users=100, items=400, clicks=4, batch=64, rounds=1)
    with tempfile.TemporaryDirectory(prefix="two-processes-") as text:
        folder = Path(text)
        write_clicks(folder, args.users, args.items, args.clicks)
        settings = {
            "folder": text, "users": args.users + FIRST_INDEX, "items": args.items + FIRST_INDEX,
            "dim": 64, "batch": args.batch,
            "epochs": 2, "temperature": 0.1, "seed": 1, "learning_rate": 0.1, "threads": 1,
        }  # fmt: skip
        found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
        for _ in range(args.rounds):
            for ranks, metrics in found.items():
                metrics.append(run(folder, training_spec(folder, {**settings, "ranks": ranks}), ranks))
    speeds = {ranks: statistics.median(m["rows_per_second"] for m in metrics) for ranks, metrics in found.items()}
    print(f"{args.users * args.clicks:,} clicks, batch {args.batch:,}\n")
    print("| processes | examples a second | waiting for data | loss of the last epoch |\n|---|---|---|---|")
    for ranks, metrics in found.items():
        waiting = statistics.median(m["waiting_share"] for m in metrics)
        print(f"| {ranks} | {speeds[ranks]:,.0f} | {waiting:.1%} | {metrics[-1]['final_loss']:.4f} |")
    print(f"\nspeed-up of two processes: {speeds[2] / speeds[1]:.2f} (at least 1.5)")


if __name__ == "__main__":
    main()
