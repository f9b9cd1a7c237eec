"""What the sources of negatives cost in a step's loss, as ratios within one run.

    python -m benchmarks.training.loss_cost
    python -m benchmarks.training.loss_cost --large --threads 2

Each round times every case once, so that a disturbance affects all of them; ratios are of medians. Axis letters: B
rows, D embedding size, L excluded ids.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.memory import peak_mib, reset_peak
from model.losses import Columns, rescale_column_gradient, sampled_softmax_loss

B, D, LARGER, ITEMS, L = 2_048, 64, 8, 100_000, 50
ROUNDS = 9
MEMORY_COLUMNS = (4_096, 16_384, 65_536)
CHUNK = 1_024
LARGE = 16_384  # rows of the batch of the comparison with the naive loss


def vectors(rows: int, seed: int) -> Tensor:
    return normalize(torch.randn(rows, D, generator=torch.Generator().manual_seed(seed)), dim=1)


class Step:
    """A batch with the loss of each scheme, and the plain matrix product that they are compared with."""

    def __init__(self, rows: int) -> None:
        random = torch.Generator().manual_seed(0)
        self.rows, extra = rows, LARGER * rows
        self.query, self.fresh = vectors(rows, 1).requires_grad_(), vectors(rows, 2).requires_grad_()
        self.drawn, self.held = vectors(extra, 3).requires_grad_(), vectors(extra, 4)
        self.ids = torch.randint(ITEMS, (rows + extra,), generator=random)
        self.log_n = torch.rand(rows + extra, generator=random)
        self.excluded = torch.randint(ITEMS, (rows, L), generator=random)
        self.gradient = torch.rand(rows, extra, generator=random)  # of the plain product's logits

    def _loss(self, columns: Columns, constant: Columns | None = None, excluded: Tensor | None = None) -> Tensor:
        positives = self.ids[: self.rows]
        return sampled_softmax_loss(
            self.query,
            self.fresh,
            positives,
            columns,
            temperature=0.2,
            constant_columns=constant,
            excluded_ids=excluded,
        )

    def _columns(self, embeddings: Tensor, first: int = 0) -> Columns:
        last = first + len(embeddings)
        return Columns(embeddings, self.ids[first:last], self.log_n[first:last])

    def in_batch(self) -> Tensor:
        return self._loss(self._columns(self.fresh))

    def mns(self) -> Tensor:
        return self._loss(self._columns(torch.cat([self.fresh, self.drawn])))

    def cbns(self) -> Tensor:
        log_n = self.log_n[: self.rows]
        rescaled = rescale_column_gradient(self.fresh, log_n, log_n - 0.5)
        return self._loss(self._columns(rescaled), self._columns(self.held, self.rows))

    def mns_excluded(self) -> Tensor:
        columns = self._columns(torch.cat([self.fresh, self.drawn]))
        return self._loss(columns, excluded=self.excluded)

    def product(self) -> Tensor:
        """Logits [B, 8 B]; the backward pass is two products, one per side."""
        return self.query @ self.drawn.T

    def seconds(self, case: Callable[[], Tensor]) -> float:
        """Seconds of the case's forward and backward pass."""
        for leaf in (self.query, self.fresh, self.drawn):
            leaf.grad = None
        started = time.perf_counter()
        result = case()
        result.backward(self.gradient if result.dim() else None)
        return time.perf_counter() - started


def compare(rows: int, rounds: int) -> dict[str, float]:
    """Median seconds of forward and backward pass by case."""
    step = Step(rows)
    cases = (step.in_batch, step.mns, step.cbns, step.mns_excluded, step.product)
    times: dict[str, list[float]] = {case.__name__: [] for case in cases}
    for case in cases:
        step.seconds(case)  # warm up
    for _ in range(rounds):
        for case in cases:
            times[case.__name__].append(step.seconds(case))
    return {name: statistics.median(found) for name, found in times.items()}


def extra_mib(columns: int) -> float:
    """Peak MiB of one step of 2,048 rows over `columns` columns in chunks, without the columns and their gradient."""
    query, fresh, embeddings = vectors(B, 1).requires_grad_(), vectors(B, 2), vectors(columns, 5).requires_grad_()
    made = Columns(embeddings, torch.arange(columns), torch.zeros(columns))
    gradient = embeddings.numel() * 4 / 2**20  # MiB that any loss needs
    reset_peak()
    before = peak_mib()
    loss = sampled_softmax_loss(query, fresh, torch.arange(B), made, temperature=0.2, chunk_size=CHUNK)
    torch.autograd.grad(loss, (query, embeddings))
    return peak_mib() - before - gradient


def naive_loss(query: Tensor, fresh: Tensor, ids: Tensor, log_n: Tensor) -> Tensor:
    """In-batch softmax without chunks: all logits at once, accidental hits masked."""
    logits = query @ fresh.T / 0.2 - log_n  # [B, B]
    positive = torch.eye(len(ids), dtype=torch.bool)
    logits = logits.masked_fill((ids[:, None] == ids) & ~positive, float("-inf"))
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(ids)))


def large_batch(form: str, rows: int) -> list[float]:
    """Seconds and extra MiB of a step, its loss, and a projection of its gradients; form: naive | ours."""
    random = torch.Generator().manual_seed(0)
    query, fresh = vectors(rows, 1).requires_grad_(), vectors(rows, 2).requires_grad_()
    ids, log_n = torch.randint(ITEMS, (rows,), generator=random), torch.rand(rows, generator=random)

    def step() -> tuple[Tensor, ...]:
        if form == "naive":
            loss = naive_loss(query, fresh, ids, log_n)
        else:
            columns = Columns(fresh, ids, log_n)
            loss = sampled_softmax_loss(
                query, fresh, ids, columns, temperature=0.2, correction="logq", positive_log_expected_count=log_n
            )
        return loss.detach(), *torch.autograd.grad(loss, (query, fresh))

    reset_peak()
    before, began = peak_mib(), time.perf_counter()
    loss, *gradients = step()
    extra, seconds = peak_mib() - before, [time.perf_counter() - began]
    for _ in range(2):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    weights = vectors(rows, 9)
    projections = (float((gradient * weights).sum()) for gradient in gradients)
    return [min(seconds), extra, float(loss), *projections]


def against_naive(rows: int, threads: int, smoke: bool) -> None:
    found = {}
    for form in ("naive", "ours"):
        child = ["--threads", str(threads), "--form", form, "--large-rows", str(rows)]
        found[form] = json.loads(output_of("benchmarks.training.loss_cost", child, smoke=smoke))
    (naive_s, naive_mib, *naive), (ours_s, ours_mib, *ours) = found["naive"], found["ours"]
    sizes = f"naive {naive_s:.2f} s and {naive_mib:,.0f} MiB, ours {ours_s:.2f} s and {ours_mib:,.0f} MiB"
    difference = max(abs(a - b) / abs(a) for a, b in zip(naive, ours, strict=True))
    print(f"in-batch, {rows:,} rows: {sizes}")
    print(
        f"time {ours_s / naive_s:.2f} (at most .5), memory 1/{naive_mib / max(ours_mib, 0.1):.0f} (at most 1/8); ",
        end="",
    )
    print(f"loss and projected gradients differ by {difference:.1e}")


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="only compare a large batch with the naive loss")
    parser.add_argument("--form", choices=("naive", "ours"), help=argparse.SUPPRESS)  # of a child process
    parser.add_argument("--columns", type=int, help=argparse.SUPPRESS)  # of a child process
    parser.add_argument("--large-rows", type=int, default=LARGE, help=argparse.SUPPRESS)
    args = parse(parser, argv)
    rows_of_cases, rounds, memory_columns = ((32,), 1, (64,)) if args.smoke else ((512, B), ROUNDS, MEMORY_COLUMNS)
    torch.set_num_threads(args.threads)
    if args.form:
        print(json.dumps(large_batch(args.form, args.large_rows)))
        return
    if args.columns:
        print(extra_mib(args.columns))
        return
    if args.smoke:
        against_naive(64, args.threads, smoke=True)
    if args.large:
        against_naive(LARGE, args.threads, smoke=False)
        return
    print(f"B, {LARGER} B extra columns, D = {D}, {args.threads} thread(s); bounds: 1.3, 1.3, 1.0, 1.2")
    print("| B | MNS / (in-batch + product) | CBNS / (in-batch + product) | CBNS / MNS | excluded ids |")
    print("|---|---|---|---|---|")
    for rows in rows_of_cases:
        took = compare(rows, rounds)
        bound = took["in_batch"] + took["product"]
        ratios = (
            took["mns"] / bound,
            took["cbns"] / bound,
            took["cbns"] / took["mns"],
            took["mns_excluded"] / took["mns"],
        )
        print(f"| {rows:,} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |", flush=True)
    print(f"memory of a step of {B:,} rows with chunk_size {CHUNK:,}, without its columns and their gradient:")
    for columns in memory_columns:
        child = ["--columns", str(columns)]
        extra = float(output_of("benchmarks.training.loss_cost", child, smoke=args.smoke))
        print(f"{columns:>6} columns: {extra:6.1f} MiB")


if __name__ == "__main__":
    main()
