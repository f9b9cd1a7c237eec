"""How fast users are embedded with each encoder of the history, in one Python worker and by Spark.

    python -m benchmarks.serving.user_encoders                  # the worker alone
    python -m benchmarks.serving.user_encoders --spark          # also what build_user_embeddings does, without the lake

Worker: from an Arrow batch with users and histories to an Arrow column of unit vectors, on one thread. Spark: from
Parquet files, with a local session; the vectors are not written. Each round times every encoder once, in a random
order: the worker in seconds of the processor, Spark by the clock. Ratios are of medians. Histories: full, or of 1 to L
items.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.command_line import benchmark_parser, parse
from jobs.inference.embedding import user_embeddings
from jobs.lake.session import spark_session
from jobs.workers.embedding import list_array
from jobs.workers.references import ModelReference
from model.artifacts.model_version import ModelVersion, save_model
from model.features import FeatureSpec, ModelSpec
from model.features.tensors import tensors
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.vocabulary import FIRST_INDEX, PADDING

BOUND = 1 / 3  # of the speed of `mean`, which `attention` must reach
FILES = 8  # of users, for Spark
Timed = Callable[[str], float]  # the seconds with an encoder


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=10_000, help="rows of a batch, and of a file that Spark reads")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=50, help="clicks of a history")
    parser.add_argument("--mean-length", type=float, default=9.0)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--spark", action="store_true")
    args = parse(parser, argv, users=40, items=100, length=5, mean_length=2.0, dim=8, rounds=2, spark=True)
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    towers = {name: user_tower(name, args.users, args.items, args.length, args.dim) for name in USER_ENCODERS.built_in}
    print(f"batches of {args.users:,} users, {args.items:,} items, L {args.length}, D {args.dim}\n")
    print("| where | histories | encoder | users a second | speed of `mean` |")
    print("|---|---|---|---|---|")
    for label, lengths in {
        "full": np.full(args.users, args.length),
        "short": np.minimum(random.geometric(1 / args.mean_length, args.users), args.length),
    }.items():
        batch, histories = users(lengths, args.items, args.length, random), f"{label}, mean {lengths.mean():.1f}"
        report(f"worker | {histories}", args.users, args.rounds, lambda name: seconds_of(towers[name], batch))  # noqa: B023
        if args.spark:
            with tempfile.TemporaryDirectory(prefix="user-encoders-") as folder:
                report(f"Spark | {histories}", args.users * FILES, args.rounds, by_spark(Path(folder), towers, batch))


def report(label: str, n_users: int, rounds: int, timed: Timed) -> None:
    """Print a line per encoder; the first round does not count."""
    random = np.random.default_rng(1)
    seconds: dict[str, list[float]] = {name: [] for name in USER_ENCODERS.built_in}
    for _ in range(rounds + 1):
        for name in random.permutation(list(seconds)):
            seconds[name].append(timed(name))
    medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
    for name, taken in medians.items():
        bound = f" (at least {BOUND:.2f})" if name == "attention" else ""
        print(f"| {label} | `{name}` | {n_users / taken:,.0f} | {medians['mean'] / taken:.2f}{bound} |", flush=True)


def user_tower(encoder: str, n_users: int, n_items: int, length: int, dim: int) -> TwoTowers:
    """Towers of user ids and histories with this encoder, not trained."""
    torch.manual_seed(0)
    user = (
        FeatureSpec("user_id", "id", dim, 1, "user_index", "user_id"),
        FeatureSpec("history", "item_list", dim, length, "history", "item_id"),
    )
    item = (FeatureSpec("item_id", "id", dim, 1, "item_index", "item_id"),)
    sizes = {"user_id": FIRST_INDEX + n_users, "item_id": FIRST_INDEX + n_items}
    return TwoTowers(ModelSpec(user, item, sizes, dim, (), share_item_table=True, user_encoder=encoder)).eval()


def users(lengths: np.ndarray, n_items: int, length: int, random: np.random.Generator) -> pa.RecordBatch:
    """A batch of users whose histories have these lengths [U], with the columns of `user_embeddings`."""
    count = len(lengths)
    items = random.integers(FIRST_INDEX, FIRST_INDEX + n_items, (count, length))
    padded = np.where(np.arange(length) < lengths[:, None], items, PADDING).astype(np.int32)  # [U, L]
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * length)
    columns = {
        "user_id": pa.array([f"user-{number}" for number in range(count)]),
        "user_index": pa.array(np.arange(count, dtype=np.int32) + FIRST_INDEX),
        "history": pa.ListArray.from_arrays(offsets, pa.array(padded.ravel())),
        "is_cold": pa.array(np.zeros(count, dtype=bool)),
        "segment": pa.array(np.zeros(count, dtype=np.int32)),
        "scored_from": pa.array(np.arange(count, dtype=np.int64)),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), list(columns))


def seconds_of(towers: TwoTowers, batch: pa.RecordBatch) -> float:
    began = time.process_time()
    with torch.no_grad():
        list_array(towers.user(tensors(batch, towers.spec.user)).numpy())
    return time.process_time() - began


def by_spark(folder: Path, towers: dict[str, TwoTowers], batch: pa.RecordBatch) -> Timed:
    """The seconds in which Spark embeds the users of FILES files with each of the towers."""
    for number in range(FILES):
        pq.write_table(pa.Table.from_batches([batch]), folder / f"users-{number}.parquet")
    for name, model in towers.items():
        save_model(folder / name, model, ModelVersion(name, model.spec, {}, {}, {}))
    read = spark_session("user_encoders").read.parquet(f"{folder}/users-*.parquet")

    def timed(name: str) -> float:
        embedded = user_embeddings(read, ModelReference(name, str(folder / name)))
        began = time.perf_counter()
        embedded.write.format("noop").mode("overwrite").save()
        return time.perf_counter() - began

    return timed


if __name__ == "__main__":
    main()
