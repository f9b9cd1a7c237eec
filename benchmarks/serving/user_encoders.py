"""How fast the user tower embeds users with each encoder of the history, as an executor's worker does.

    python -m benchmarks.serving.user_encoders

From an Arrow batch with users and histories to an Arrow column of unit vectors. Each round times every encoder once, in
a random order, in seconds of the processor. Ratios are of medians. Histories: full, or of 1 to L items.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import torch

from benchmarks.command_line import benchmark_parser, parse
from jobs.inference.embedding import list_array
from model.features import FeatureSpec, ModelSpec
from model.features.tensors import tensors
from model.features.user_encoders import USER_ENCODERS
from model.towers import TwoTowers
from model.vocabulary import FIRST_INDEX, PADDING

BOUND = 1 / 3  # of the speed of `mean`, which `attention` must reach


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--users", type=int, default=10_000, help="rows of a batch")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=50, help="clicks of a history")
    parser.add_argument("--mean-length", type=float, default=9.0)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parse(parser, argv, users=40, items=100, length=5, mean_length=2.0, dim=8, rounds=2)
    torch.set_num_threads(args.threads)
    random = np.random.default_rng(0)
    towers = {name: user_tower(name, args.users, args.items, args.length, args.dim) for name in USER_ENCODERS.built_in}
    print(
        f"batches of {args.users:,} users, {args.items:,} items, L {args.length}, D {args.dim}, {args.threads} thread\n"
    )
    print("| histories | encoder | users a second | speed of `mean` |")
    print("|---|---|---|---|")
    for label, lengths in {
        "full": np.full(args.users, args.length),
        "short": np.minimum(random.geometric(1 / args.mean_length, args.users), args.length),
    }.items():
        batch = users(lengths, args.items, args.length, random)
        seconds: dict[str, list[float]] = {name: [] for name in towers}
        for _ in range(args.rounds + 1):
            for name in random.permutation(list(towers)):
                seconds[name].append(seconds_of(towers[name], batch))
        medians = {name: statistics.median(taken[1:]) for name, taken in seconds.items()}
        for name, taken in medians.items():
            bound = f" (at least {BOUND:.2f})" if name == "attention" else ""
            ratio = medians["mean"] / taken
            print(f"| {label}, mean {lengths.mean():.1f} | `{name}` | {args.users / taken:,.0f} | {ratio:.2f}{bound} |")


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
    """A batch of users whose histories have these lengths [U]."""
    items = random.integers(FIRST_INDEX, FIRST_INDEX + n_items, (len(lengths), length))
    padded = np.where(np.arange(length) < lengths[:, None], items, PADDING).astype(np.int32)  # [U, L]
    offsets = pa.array(np.arange(len(lengths) + 1, dtype=np.int32) * length)
    history = pa.ListArray.from_arrays(offsets, pa.array(padded.ravel()))
    indices = pa.array(np.arange(len(lengths), dtype=np.int32) + FIRST_INDEX)
    return pa.RecordBatch.from_arrays([indices, history], ["user_index", "history"])


def seconds_of(towers: TwoTowers, batch: pa.RecordBatch) -> float:
    began = time.process_time()
    with torch.no_grad():
        list_array(towers.user(tensors(batch, towers.spec.user)).numpy())
    return time.process_time() - began


if __name__ == "__main__":
    main()
