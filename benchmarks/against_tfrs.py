"""Against TensorFlow Recommenders' retrieval task: the same towers, data, batch and family of optimiser.

    python -m benchmarks.against_tfrs

TensorFlow is installed into an environment of its own (--environment), which is kept. It reads arrays in memory; this
project reads Parquet files through its loader. Each is trained in turn, in a process of its own, and judged by the same
code: recall@100 of one held-out click of each user. The learning rate of each is the best of a few, by the held-out
clicks of other users than those that judge.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from jobs.config.loading import load_config
from jobs.training.settings import spec_settings
from model.artifacts.model_version import load_model
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec, ModelSpec
from model.negatives.settings import Negatives
from model.training.fit import fit
from model.training.spec import DataSpec, LossSpec, RunSpec, TrainingSpec
from model.vocabulary import FIRST_INDEX

PACKAGES = ("tensorflow-cpu==2.15.1", "tensorflow-recommenders==0.7.3")
GROUP = 65_536
RATES = {"this project": (0.02, 0.05, 0.1, 0.2), "TensorFlow Recommenders": (0.05, 0.1, 0.2, 0.5)}


def write_world(folder: Path, users: int, items: int, clicks: int, clusters: int = 200) -> None:
    """Users and items of hidden clusters, popular items more often; the last click of each user is held out."""
    random = np.random.default_rng(0)
    share = 1 / np.arange(10, 10 + items // clusters)
    cumulative = np.cumsum(share / share.sum())
    homes = random.integers(0, clusters, users)
    ranks = np.searchsorted(cumulative, random.random((users, clicks + 1)))
    away = random.random((users, clicks + 1)) < 0.2  # a click outside the user's cluster
    where = np.where(away, random.integers(0, clusters, (users, clicks + 1)), homes[:, None])
    chosen = FIRST_INDEX + np.minimum(ranks, items // clusters - 1) * clusters + where  # [users, clicks + 1]
    people = np.repeat(np.arange(users) + FIRST_INDEX, clicks)
    clicked = chosen[:, :-1].ravel()
    order = random.permutation(len(people))
    people, clicked = people[order], clicked[order]
    share_of = np.bincount(clicked, minlength=FIRST_INDEX + items) / len(clicked)
    np.savez(
        folder / "clicks.npz", users=people, items=clicked, share=share_of, held_out=chosen[:, -1], seen=chosen[:, :-1]
    )
    for number, start in enumerate(range(0, len(people), GROUP)):
        part = slice(start, start + GROUP)
        rows = {"user_index": pa.array(people[part], pa.int32()), "item_index": pa.array(clicked[part], pa.int32())}
        pq.write_table(pa.table(rows), folder / f"examples-{number}.parquet", compression="snappy")
    indices = np.flatnonzero(share_of)
    flat = np.full(len(indices), 1 / len(indices))
    probabilities = {"item_index": pa.array(indices, pa.int32()), "q": share_of[indices], "u": flat, "p": flat * 0}
    pq.write_table(pa.table(probabilities), folder / "probabilities.parquet")
    known = {
        "item_index": pa.array(np.arange(FIRST_INDEX, FIRST_INDEX + items), pa.int32()),
        "available": [True] * items,
    }
    pq.write_table(pa.table(known), folder / "items.parquet")


def spec_of(folder: Path, settings: dict[str, Any]) -> TrainingSpec:
    """What the job would write for the same training."""

    def pinned(pattern: str) -> PinnedFiles:
        files = sorted(folder.glob(pattern))
        rows = sum(pq.read_metadata(file).num_rows for file in files)
        return PinnedFiles(0, tuple(file.as_uri() for file in files), rows)

    dim = settings["dim"]
    specs = [FeatureSpec(f"{side}_id", "id", dim, 1, f"{side}_index", f"{side}_id") for side in ("user", "item")]
    sizes = {"user_id": settings["users"], "item_id": settings["items"]}
    base = spec_settings(load_config(), pool_is_empty=True)
    data = DataSpec(
        examples=pinned("examples-*.parquet"),
        last_day=None,
        items=pinned("items.parquet"),
        probabilities=pinned("probabilities.parquet"),
        numeric_stats={"user": {}, "item": {}},
        unclicked_length=0,
        hide_history=True,
        **{**base["data"], "batch_size": settings["batch"]},
    )
    fixed = {"user_id_dropout": 0.0, "item_id_dropout": 0.0, "negatives": Negatives("logq"), "final_before": 0}
    loss = LossSpec(**{**base["loss"], **fixed, "temperature": settings["temperature"]})
    chosen = {name: settings[name] for name in ("epochs", "learning_rate", "seed", "ranks", "threads")}
    run = RunSpec(
        model_version="benchmark",
        model=ModelSpec((specs[0],), (specs[1],), sizes, dim, ()),
        warm_start=None,
        inputs={},
        configuration={},
        folder=folder / "model",
        checkpoints=folder / "checkpoints",
        **{**base["run"], "device": "cpu", "checkpoint_steps": 0, "patience": 0, **chosen},
    )
    return TrainingSpec(data, loss, run)


def train_ours(settings: dict[str, Any]) -> dict[str, float]:
    """In this process; the vectors go where TensorFlow's go."""
    folder = Path(settings["folder"])
    made = fit(spec_of(folder, settings))
    towers, _ = load_model(folder / "model")
    with torch.no_grad():
        vectors = {
            side: getattr(towers, side)({f"{side}_id": torch.arange(settings[f"{side}s"])}).numpy()
            for side in ("user", "item")
        }
    np.savez(folder / "ours.npz", **vectors)
    return {name: made.metrics[name] for name in ("rows_per_second", "waiting_share")}


def recall(folder: Path, name: str, tuning: bool, k: int = 100) -> float:
    """Of users' held-out clicks, those among their k best items that they had not clicked; every other user tunes."""
    data, vectors = np.load(folder / "clicks.npz"), np.load(folder / name)
    found, chosen = [], np.arange(int(tuning), len(data["held_out"]), 2)[:5000]
    for users in np.array_split(chosen, 20):
        scores = vectors["user"][users + FIRST_INDEX] @ vectors["item"].T  # [n, I]
        scores[:, :FIRST_INDEX] = -np.inf
        own = scores[np.arange(len(users)), data["held_out"][users]].copy()
        np.put_along_axis(scores, data["seen"][users], -np.inf, axis=1)
        found.append((scores > own[:, None]).sum(axis=1) < k)
    return float(np.concatenate(found).mean())


def run(kind: str, settings: dict[str, Any], python: Path) -> dict[str, float]:
    """Train in a process of its own."""
    text = json.dumps(settings)
    if kind == "this project":
        command = [sys.executable, "-m", "benchmarks.against_tfrs", "--one", text]
    else:
        command = [str(python), str(Path(__file__).with_name("tfrs_model.py")), text]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def install(environment: Path) -> Path:
    """The environment's Python, with TensorFlow Recommenders in it."""
    python = environment / "bin" / "python"
    if not python.exists():
        venv.create(environment, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--clicks", type=int, default=20, help="of each user")
    parser.add_argument("--batch", type=int, default=4_096)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--environment", type=Path, default=Path("benchmarks/out/tfrs"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(train_ours(json.loads(args.one))))
        return
    python = install(args.environment)
    with tempfile.TemporaryDirectory(prefix="against-tfrs-") as text:
        folder = Path(text)
        write_world(folder, args.users, args.items, args.clicks)
        settings = {
            "folder": text, "users": args.users + FIRST_INDEX, "items": args.items + FIRST_INDEX,
            "dim": 64, "batch": args.batch,
            "epochs": args.epochs, "temperature": 0.1, "seed": 1, "ranks": 1, "threads": 0,
        }  # fmt: skip
        files = {"this project": "ours.npz", "TensorFlow Recommenders": "tfrs.npz"}
        chosen = {}
        for kind, rates in RATES.items():
            tried = {}
            for rate in rates:
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
    ours, theirs = (statistics.median(speeds[kind]) for kind in files)
    print(
        f"\nfaster by {ours / theirs:.2f} (at least 2); waiting for data {statistics.median(waiting):.1%} of the time"
    )


if __name__ == "__main__":
    main()
