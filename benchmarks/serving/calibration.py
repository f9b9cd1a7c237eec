"""Whether scores are probabilities: predicted and real clicks of the next day, by channel and by bins of the score.

    python -m benchmarks.serving.calibration                 # a simulated log, whose probabilities are known
    python -m benchmarks.serving.calibration --movielens     # ratings of 4 or more in ml-latest-small

A model is trained on the clicks before the last day, and calibrated on that day, which it then trains on in one pass.
Its lists are compared with the next clicks. The error is the sum over bins, which have equal predicted clicks, of
|predicted - real| clicks, per predicted click. `by chance` is the error that perfect probabilities would have.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds.click_log import ClickLog, write
from benchmarks.worlds.cold_logs import movielens
from benchmarks.worlds.known_probabilities import KnownLog, known_log
from benchmarks.worlds.prepared_folder import USERS_FILE, read_spec
from model.data.pinned_files import PinnedFiles
from model.features.ragged import of_lists
from model.features.tensors import tensors
from model.search.exact_index import ExactIndex
from model.search.lists import SOURCES
from model.search.lists.calibration import CHANNELS, COLD, Calibration
from model.search.lists.candidate_lists import CandidateLists, Lists, Quotas
from model.search.lists.popular import PopularItems
from model.training.fit import make_learner, open_inputs
from model.training.run import Run
from model.training.spec import TrainingSpec
from model.vocabulary import FIRST_INDEX, NO_ITEM

BINS, TOP = 10, 10
LAST_SHARE = 0.1  # of each user's clicks in MovieLens, the last ones


def with_last_day(folder: Path, rows: int, **settings: int) -> TrainingSpec:
    """The spec of a prepared folder with its last `rows` examples as the held-out day."""
    spec = read_spec(folder)
    examples = pq.read_table(folder / "examples.parquet")
    counted = pq.read_table(folder / "probabilities.parquet")
    parts = {"before": examples.slice(0, len(examples) - rows), "last": examples.slice(len(examples) - rows)}
    pinned = {}
    for name, part in parts.items():
        file = folder / f"{name}.parquet"
        pq.write_table(part, file, row_group_size=2_048)
        pinned[name] = PinnedFiles(0, (file.resolve().as_uri(),), len(part))
        shares = np.bincount(part["item_index"].to_numpy(), minlength=len(counted) + FIRST_INDEX)[FIRST_INDEX:]
        counted = counted.append_column(f"q_{name}", pa.array(shares / len(part)))
    pq.write_table(counted, folder / "probabilities.parquet")
    data = replace(spec.data, examples=pinned["before"], last_day=pinned["last"], candidates_per_user=settings["k"])
    run = replace(spec.run, epochs=settings["epochs"], device="cpu", threads=1, patience=0, checkpoint_steps=0)
    return replace(spec, data=replace(data, batch_size=settings["batch"]), run=run)


def trained(spec: TrainingSpec) -> Run:
    inputs = open_inputs(spec, torch.device("cpu"))
    run = Run(spec.run, spec.identity, make_learner(spec, inputs), inputs, lambda _: None, lambda _, __: None)
    run.train()
    return run


def lists_of(run: Run, folder: Path, quotas: Quotas, calibration: Calibration, *, by_score: bool = False) -> Lists:
    """The lists of all users of a prepared folder, as scoring would make them."""
    users, items = pq.read_table(folder / USERS_FILE), run.inputs.available_items
    clicks = run.inputs.row_counts(with_last_day=True)[items]
    index = ExactIndex.build(run.learner.item_vectors(items).numpy(), items.numpy(), model_version="benchmark")
    new = items[clicks == 0]
    by_features = run.learner.item_vectors(new, by_features=True).numpy()
    explore = ExactIndex.build(by_features, new.numpy(), model_version="benchmark") if len(new) else None
    best = torch.argsort(-clicks, stable=True)
    shares = (clicks / clicks.sum())[best].float().numpy()
    popular = PopularItems(np.zeros(len(items), dtype=np.int64), items[best].numpy(), shares)
    columns = {name: users[name].combine_chunks() for name in ("user_index", "history")}
    with torch.no_grad():
        queries = run.learner.towers.user(tensors(columns, run.spec.model.user)).numpy()
    excluded = of_lists(users["excluded"].combine_chunks())
    cold = np.diff(excluded.offsets) == 0
    made = CandidateLists(index, popular, quotas, explore, calibration=calibration, order_by_score=by_score)
    return made.lists_for(queries, excluded, cold, np.zeros(len(cold), dtype=np.int64))


def next_clicks(log: ClickLog, folder: Path) -> np.ndarray:
    """How often each user clicks each item next, float32 [U, I]; clicks on items that are not shown do not count."""
    counts = np.zeros((len(log.relevant), len(log.shown)), dtype=np.float32)
    for user, items in enumerate(log.relevant):
        np.add.at(counts[user], items, 1)
    counts[hidden(folder, counts.shape)] = 0
    return counts


def hidden(folder: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Whether an item is not shown to a user: bool [U, I]."""
    excluded = of_lists(pq.read_table(folder / USERS_FILE)["excluded"].combine_chunks())
    flags = np.zeros(shape, dtype=bool)
    flags[np.repeat(np.arange(shape[0]), np.diff(excluded.offsets)), excluded.flat - FIRST_INDEX] = True
    return flags


def error(scores: np.ndarray, predicted: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """The error of predicted and real clicks [N] in bins by score [N], per predicted click, and that by chance."""
    order = np.argsort(scores, kind="stable")
    edges = np.searchsorted(np.cumsum(predicted[order]), np.linspace(0, predicted.sum(), BINS + 1)[1:-1])
    starts = np.unique([0, *edges[edges < len(order)]])
    expected, found = (np.add.reduceat(values[order].astype(np.float64), starts) for values in (predicted, real))
    by_chance = np.sqrt(2 / np.pi * expected).sum()  # the mean of |x| of a Poisson number, about its mean
    return float(np.abs(expected - found).sum() / expected.sum()), float(by_chance / expected.sum())


def report(name: str, lists: dict[str, Lists], clicks: np.ndarray, oracle: np.ndarray | None) -> None:
    """Print a row for each channel and way of scoring."""
    rows, total = np.arange(len(clicks))[:, None], clicks.sum(axis=1, keepdims=True)  # [U, 1]
    for way, made in lists.items():
        filled = made.items != NO_ITEM
        numbers = np.where(filled, made.items - FIRST_INDEX, 0)
        real = clicks[rows, numbers]
        cold = (made.sources == SOURCES.index("popular")).all(axis=1, keepdims=True)
        channels = np.where(cold, COLD, made.sources)
        score = made.scores if way != "oracle" or oracle is None else oracle[rows, numbers]
        for channel in (*range(len(CHANNELS)), None):
            chosen = filled & (total > 0) & (channels == channel if channel is not None else True)
            predicted = (score * total)[chosen]
            if not len(predicted):
                continue
            found, by_chance = error(score[chosen], predicted, real[chosen])
            label = "all" if channel is None else CHANNELS[channel]
            counts = f"{chosen.sum():,} | {predicted.sum():,.0f} | {real[chosen].sum():,.0f}"
            print(f"| {name} | {label} | {way} | {counts} | {found:.3f} | {by_chance:.3f} |", flush=True)


def merged(ordered: dict[str, Lists], clicks: np.ndarray) -> None:
    """Print how many next clicks are among the best of each list, and of all lists together, by either order."""
    rows = np.arange(len(clicks))[:, None]
    for way, made in ordered.items():
        filled = (made.items != NO_ITEM) & clicks.any(axis=1, keepdims=True)
        real = clicks[rows, np.where(filled, made.items - FIRST_INDEX, 0)][filled]
        order = np.argsort(-getattr(made, f"{way}s")[filled], kind="stable")
        found = real[order[: len(order) // TOP]].sum()
        print(f"among a tenth of all candidates by {way}: {found / clicks.sum():.4f} of the next clicks")
        best = np.where(made.items[:, :TOP] == NO_ITEM, 0, made.items[:, :TOP] - FIRST_INDEX)
        hits = np.where(made.items[:, :TOP] == NO_ITEM, 0, clicks[rows, best]).sum()
        print(f"among the best {TOP} of a list by {way}: {hits / clicks.sum():.4f} of the next clicks")


def compare(
    name: str, folder: Path, log: ClickLog, last_day: int, args: argparse.Namespace, known: KnownLog | None
) -> None:
    write(folder, log)
    run = trained(with_last_day(folder, last_day, k=args.k, epochs=args.epochs, batch=args.batch))
    calibration = run.calibration()
    assert calibration is not None  # a day is held out
    quotas, clicks, oracle = Quotas(args.k, args.k // 10, args.k // 10), next_clicks(log, folder), None
    plain = Calibration(calibration.temperature, calibration.list_length)
    lists = {way: lists_of(run, folder, quotas, used) for way, used in (("share", plain), ("score", calibration))}
    if known is not None:
        oracle = known.tastes.probabilities(np.arange(len(clicks)))
        oracle[hidden(folder, clicks.shape)] = 0
        oracle /= oracle.sum(axis=1, keepdims=True)
        lists["oracle"] = lists["score"]
    report(name, lists, clicks, oracle)
    by_score = lists_of(run, folder, quotas, calibration, by_score=True)
    merged({"channel_score": lists["score"], "score": by_score}, clicks)


def movielens_log() -> tuple[ClickLog, int]:
    """MovieLens with each user's last clicks at the end, and how many these are."""
    log = movielens()
    numbers = np.bincount(log.users)
    order = np.argsort(log.users, kind="stable")
    number = np.empty(len(order), dtype=np.int64)  # of a click among those of its user
    number[order] = np.arange(len(order)) - np.repeat(np.cumsum(numbers) - numbers, numbers)
    is_last = number >= numbers[log.users] - np.ceil(LAST_SHARE * numbers[log.users])
    moved = np.argsort(is_last, kind="stable")
    return replace(log, users=log.users[moved], items=log.items[moved]), int(is_last.sum())


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=6_000)
    parser.add_argument("--items", type=int, default=3_000)
    parser.add_argument("--clicks", type=int, default=30, help="of an old user before the last day")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1_024)
    parser.add_argument("--k", type=int, default=100, help="length of a list")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--movielens", action="store_true", help="real clicks, without an oracle")
    args = parse(parser, argv, users=120, items=150, clicks=8, epochs=1, batch=64, k=20)
    torch.set_num_threads(1)
    print("| log | channel | probability | candidates | predicted clicks | clicks | error | by chance |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="calibration-") as folder:
        if args.movielens:
            compare("MovieLens", Path(folder), *movielens_log(), args, None)
        else:
            known = known_log(args.users, args.items, args.clicks, seed=args.seed)
            compare("simulated", Path(folder), known.log, known.last_day, args, known)


if __name__ == "__main__":
    main()
