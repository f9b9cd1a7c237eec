"""An embedding table under five optimisers: look-up, backward and update of a batch of Zipf-distributed ids, no loss.

    python -m benchmarks.training.embedding_step

Each round times every optimiser once, in a random order, because an optimiser starts with the caches that the one
before it has filled. Ratios are of medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.command_line import benchmark_parser, parse
from model.training.optimizers import RowWiseAdagrad

BOUNDS = {
    "dense Adam": 6.0,
    "fused Adam": 2.0,
    "SparseAdam": 2.5,
}  # how many times as long as row-wise Adagrad they must take, at least


def zipf_ids(rows: int, count: int, seed: int) -> Tensor:
    """[count] Zipf-distributed ids; frequent ids are scattered over the table."""
    random = np.random.default_rng(seed)
    share = 1 / np.arange(1, rows + 1)
    ranks = np.searchsorted(np.cumsum(share / share.sum()), random.random(count))
    return torch.from_numpy(random.permutation(rows)[np.minimum(ranks, rows - 1)])


class Case:
    """One optimiser and its embedding table."""

    def __init__(
        self, rows: int, dim: int, sparse: bool, make: Callable[[nn.Parameter], torch.optim.Optimizer]
    ) -> None:
        torch.manual_seed(0)
        self.table = nn.EmbeddingBag(rows, dim, mode="mean", sparse=sparse)
        self.optimizer = make(self.table.get_parameter("weight"))

    def step(self, ids: Tensor, gradient: Tensor) -> float:
        began = time.perf_counter()
        self.table(ids[:, None]).backward(gradient)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - began

    def state_bytes(self) -> int:
        state = self.optimizer.state[self.table.weight]
        return sum(value.numel() * value.element_size() for value in state.values() if isinstance(value, Tensor))


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8_192)
    parser.add_argument("--rounds", type=int, default=45)
    args = parse(parser, argv, rows=100, dim=8, batch=16, rounds=2)
    makes: dict[str, tuple[bool, Callable[[nn.Parameter], torch.optim.Optimizer]]] = {
        "row-wise Adagrad": (True, lambda table: RowWiseAdagrad([table], lr=0.05)),
        "dense Adam": (False, lambda table: torch.optim.Adam([table], foreach=False)),
        "fused Adam": (False, lambda table: torch.optim.Adam([table], fused=True)),
        "SparseAdam": (True, lambda table: torch.optim.SparseAdam([table])),
        "Adagrad": (True, lambda table: torch.optim.Adagrad([table])),
    }
    cases = {name: Case(args.rows, args.dim, *how) for name, how in makes.items()}
    gradient = torch.randn(args.batch, args.dim) / args.batch
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    random = np.random.default_rng(0)
    for ids in [zipf_ids(args.rows, args.batch, round_) for round_ in range(args.rounds + 2)]:
        for name in random.permutation(list(cases)):
            seconds[name].append(cases[name].step(ids, gradient))
    medians = {name: statistics.median(taken[2:]) for name, taken in seconds.items()}
    ours = medians["row-wise Adagrad"]
    adam = cases["dense Adam"].state_bytes()
    print(f"{args.rows:,} rows of {args.dim}, batch {args.batch:,}, {torch.get_num_threads()} threads\n")
    print("| optimiser | rows a second | row-wise Adagrad speed-up | state, MB |")
    print("|---|---|---|---|")
    for name, taken in medians.items():
        bound = f" (at least {BOUNDS[name]})" if name in BOUNDS else ""
        state = cases[name].state_bytes()
        print(f"| {name} | {args.batch / taken:,.0f} | {taken / ours:.2f}{bound} | {state / 1e6:.1f} |", flush=True)
    print(f"\noptimiser state / dense Adam's: 1/{adam / cases['row-wise Adagrad'].state_bytes():.0f} (at most 1/32)")


if __name__ == "__main__":
    main()
