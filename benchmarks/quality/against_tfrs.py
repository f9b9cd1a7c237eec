"""Compared with TensorFlow Recommenders' retrieval task: the same towers, data, batch size and family of optimiser.

    python -m benchmarks.quality.against_tfrs

TensorFlow is installed into an environment of its own (--environment), which is reused. It reads arrays in memory;
this project reads Parquet files through its loader. Both take turns, each training in its own process, and are
evaluated by the same code: recall@100 of one held-out click per user. For each, the best of a few learning rates is
chosen on the held-out clicks of users who are not in the evaluation. With --smoke, TensorFlow is skipped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.worlds.clusters import training_spec, write_clicks
from model.artifacts.model_version import load_model
from model.training.fit import fit
from model.vocabulary import FIRST_INDEX

PACKAGES = ("tensorflow-cpu==2.15.1", "tensorflow-recommenders==0.7.3")
RATES = {"this project": (0.02, 0.05, 0.1, 0.2), "TensorFlow Recommenders": (0.05, 0.1, 0.2, 0.5)}


def train_ours(settings: dict[str, Any]) -> dict[str, float]:
    """Train in this process and write the vectors of all users and items, as tfrs_model.py does."""
    folder = Path(settings["folder"])
    made = fit(training_spec(folder, settings))
    towers, _ = load_model(folder / "model")
    with torch.no_grad():
        vectors = {
            side: getattr(towers, side)({f"{side}_id": torch.arange(settings[f"{side}s"])}).numpy()
            for side in ("user", "item")
        }
    np.savez(folder / "ours.npz", **vectors)
    return {name: made.metrics[name] for name in ("rows_per_second", "waiting_share")}


def recall(folder: Path, name: str, tuning: bool, k: int = 100) -> float:
    """Recall@k of the held-out clicks, earlier clicks masked; even users are for testing, odd ones for tuning."""
    data, vectors = np.load(folder / "clicks.npz"), np.load(folder / name)
    found, chosen = [], np.arange(int(tuning), len(data["held_out"]), 2)[:5000]
    for users in np.array_split(chosen, 20):
        scores = vectors["user"][users + FIRST_INDEX] @ vectors["item"].T  # [n, I]
        scores[:, :FIRST_INDEX] = -np.inf
        own = scores[np.arange(len(users)), data["held_out"][users]].copy()
        np.put_along_axis(scores, data["seen"][users], -np.inf, axis=1)
        found.append((scores > own[:, None]).sum(axis=1) < k)
    return float(np.concatenate(found).mean())


def run(kind: str, settings: dict[str, Any], python: Path | None) -> dict[str, float]:
    """The metrics of a training in its own process. python: TensorFlow's; None in a smoke run."""
    text = json.dumps(settings)
    if kind == "this project":
        printed = output_of("benchmarks.quality.against_tfrs", ["--one", text], smoke=python is None)
    else:
        command = [str(python), str(Path(__file__).with_name("tfrs_model.py")), text]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, float] = json.loads(printed.strip().splitlines()[-1])
    return found


def install(environment: Path) -> Path:
    """Install TensorFlow Recommenders into the environment; returns its Python."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--clicks", type=int, default=20, help="of each user")
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, default=Path("benchmarks/out/tfrs"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parse(parser, argv, users=40, items=60, clicks=4, batch=32, epochs=1, rounds=1)
    if args.one:
        print(json.dumps(train_ours(json.loads(args.one))))
        return
    python = None if args.smoke else install(args.environment)
    with tempfile.TemporaryDirectory(prefix="against-tfrs-") as text:
        folder = Path(text)
        write_clicks(folder, args.users, args.items, args.clicks)
        settings = {
            "folder": text, "users": args.users + FIRST_INDEX, "items": args.items + FIRST_INDEX,
            "dim": 64, "batch": args.batch,
            "epochs": args.epochs, "temperature": 0.1, "seed": 1, "ranks": 1, "threads": 0,
        }  # fmt: skip
        files = {"this project": "ours.npz", "TensorFlow Recommenders": "tfrs.npz"}
        if args.smoke:
            print("TensorFlow Recommenders: skipped, a smoke run installs nothing")
            del files["TensorFlow Recommenders"]
        chosen = {}
        for kind in files:
            tried = {}
            for rate in RATES[kind][:1] if args.smoke else RATES[kind]:
                run(kind, {**settings, "learning_rate": rate}, python)
                tried[rate] = recall(folder, files[kind], tuning=True)
            chosen[kind] = max(tried, key=lambda rate: tried[rate])
            print(f"{kind}: recall@100 by learning rate {tried}", flush=True)
        speeds: dict[str, list[float]] = {kind: [] for kind in files}
        recalls: dict[str, list[float]] = {kind: [] for kind in files}
        waiting: list[float] = []
        for seed in range(1, args.rounds + 1):
            for kind, file in files.items():
                found = run(kind, {**settings, "learning_rate": chosen[kind], "seed": seed}, python)
                speeds[kind].append(found["rows_per_second"])
                recalls[kind].append(recall(folder, file, tuning=False))
                waiting += [found["waiting_share"]] if "waiting_share" in found else []
                time.sleep(1)
    sizes = f"{args.users * args.clicks:,} clicks of {args.users:,} users on {args.items:,} items"
    print(f"\n{sizes}, batch {args.batch:,}, {args.epochs} epochs\n")
    print("| | examples a second | recall@100 |\n|---|---|---|")
    for kind in files:
        print(f"| {kind} | {statistics.median(speeds[kind]):,.0f} | {statistics.mean(recalls[kind]):.4f} |")
    print(f"\nwaiting for data {statistics.median(waiting):.1%} of the time")
    if not args.smoke:
        ours, theirs = (statistics.median(speeds[kind]) for kind in files)
        print(f"speed-up: {ours / theirs:.2f} (at least 1.8)")


if __name__ == "__main__":
    main()
