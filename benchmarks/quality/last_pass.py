"""How often the gate holds back a model that its last pass has spoiled, and how often an honest one.

    python -m benchmarks.quality.last_pass

For each seed a world of clustered clicks, whose last fifth is the held-out day, is trained on once for each kind of
last pass. The rule `recall_after_last_pass` judges each model with the bounds of recall.toml.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds.clusters import training_spec, write_clicks
from jobs.config.loading import load_config
from jobs.serving.gate_measurements import last_pass_of
from jobs.serving.gate_rules import last_pass_verdict
from model.data.held_back import held_back
from model.data.pinned_files import PinnedFiles
from model.training.fit import make_learner, open_inputs
from model.training.learner import Learner
from model.training.run import Run
from model.training.spec import TrainingSpec
from model.vocabulary import FIRST_INDEX

LAST_DAY_SHARE = 0.2  # of the clicks


def scaled_rate(factor: float) -> Callable[[Learner, TrainingSpec], None]:
    """A spoiler that multiplies the learning rates."""

    def spoil(learner: Learner, spec: TrainingSpec) -> None:
        rates = (spec.run.learning_rate, spec.run.dense_learning_rate)
        for optimizer, rate in zip(learner.optimizers, rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = factor * rate

    return spoil


@torch.no_grad()
def add_noise(learner: Learner, spec: TrainingSpec) -> None:
    """A spoiler that replaces a third of each weight by noise at every step."""
    for weights in learner.towers.parameters():
        weights.mul_(2 / 3).add_(weights.std() / 3 * torch.randn_like(weights))


# What happens after each step of the last pass; `shuffled clicks` changes the day itself.
SPOILERS: dict[str, Callable[[Learner, TrainingSpec], None]] = {
    "honest": lambda learner, spec: None,
    "shuffled clicks": lambda learner, spec: None,
    "learning rates x 100": scaled_rate(100.0),
    "gradients of the wrong sign": scaled_rate(-1.0),
    "weights become noise": add_noise,
}


def write_last_day(folder: Path, spec: TrainingSpec, shuffled: bool) -> TrainingSpec:
    """Hold out the last clicks of the examples as a day, and count the shares; returns the spec that reads them.

    shuffled: the rows that are trained on get the items of other such rows.
    """
    clicks = np.load(folder / "clicks.npz")
    users, items = clicks["users"], clicks["items"]
    start = round(len(users) * (1 - LAST_DAY_SHARE))
    indices = np.arange(FIRST_INDEX, spec.run.model.vocabulary_sizes["item_id"])
    columns: dict[str, Any] = {"item_index": pa.array(indices, pa.int32())}
    shares = {"q_before": items[:start], "q_last": items[start:]}
    for name, part in shares.items():
        columns[name] = np.bincount(part, minlength=indices[-1] + 1)[indices] / len(part)
    columns |= {"u": np.full(len(indices), 1 / len(indices)), "p": np.zeros(len(indices))}
    pq.write_table(pa.table(columns), folder / "probabilities.parquet")
    data = replace(spec.data, examples=_written(folder / "before.parquet", users[:start], items[:start]))
    data = replace(data, last_day=_written(folder / "last_day.parquet", users[start:], items[start:]))
    data = replace(data, probabilities=PinnedFiles(0, data.probabilities.files, len(indices)))
    if shuffled:
        last = items[start:].copy()
        chosen = held_back(torch.from_numpy(users[start:]).long(), data.held_back_share, data.epoch_day)  # [rows]
        trained = np.flatnonzero(~chosen.numpy())
        last[trained] = np.random.default_rng(spec.run.seed).permutation(last[trained])
        data = replace(data, last_day=_written(folder / "last_day.parquet", users[start:], last))
    return replace(spec, data=data)


def _written(file: Path, users: np.ndarray, items: np.ndarray) -> PinnedFiles:
    rows = {"user_index": pa.array(users, pa.int32()), "item_index": pa.array(items, pa.int32())}
    pq.write_table(pa.table(rows), file)
    return PinnedFiles(0, (file.as_uri(),), len(users))


def last_pass(name: str, seed: int, users: int, items: int, clicks: int, epochs: int) -> dict[str, Any]:
    """Train on a world of `clicks` clicks of each user; returns the part `last_pass` of the model's metrics.

    name: of the spoiler.
    """
    settings = {
        "users": users + FIRST_INDEX, "items": items + FIRST_INDEX, "dim": 32, "batch": 256, "epochs": epochs,
        "temperature": 0.1, "seed": seed, "learning_rate": 0.1, "ranks": 1, "threads": 1,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="last-pass-") as text:
        folder = Path(text)
        write_clicks(folder, users, items, clicks, clusters=20, seed=seed)
        spec = write_last_day(folder, training_spec(folder, settings), name == "shuffled clicks")
        inputs = open_inputs(spec, torch.device("cpu"))
        learner = make_learner(spec, inputs)

        def on_step(progress: object) -> None:
            if run.history.on_last_day:
                SPOILERS[name](learner, spec)

        run = Run(spec.run, spec.identity, learner, inputs, on_step, lambda progress, towers: None)
        run.train()
        found = run.last_pass_metrics()
    assert found is not None  # a day is held out
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--users", type=int, default=1_500)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--clicks", type=int, default=20, help="of each user")
    parser.add_argument("--epochs", type=int, default=2)
    args = parse(parser, argv, seeds=1, users=60, items=100, clicks=5, epochs=1)
    config, sizes = load_config(), {name: getattr(args, name) for name in ("users", "items", "clicks", "epochs")}
    torch.set_num_threads(1)
    print("| last pass | held back | recall@100 before | after | of popularity | clicks |")
    print("|---|---|---|---|---|---|")
    for name in SPOILERS:
        runs = [last_pass(name, seed, **sizes) for seed in range(1, args.seeds + 1)]
        failed = sum(not last_pass_verdict(last_pass_of(run), config).passed for run in runs)
        recalls = [np.mean([run[part]["recall@100"] for run in runs]) for part in ("before", "after", "popularity")]
        cells = [name, f"{failed} of {args.seeds}", *(f"{recall:.3f}" for recall in recalls)]
        print(f"| {' | '.join(cells)} | {np.mean([run['rows'] for run in runs]):.0f} |", flush=True)


if __name__ == "__main__":
    main()
