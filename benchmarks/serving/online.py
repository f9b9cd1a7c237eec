"""How long examples/serve_nearest_items.py takes for a request on one core, and its vectors beside the tower's.

    python -m benchmarks.serving.online

The service runs in a process of its own that may use one core; requests come one after the other over one connection
and have full histories of random items. Time: from the request to its answer, by the clock of the client; processor:
what the process of the service used in all, by request, which other work on the machine does not lengthen as much. The
towers have random weights, which changes no time. Difference: the largest one of a number, over 1,000 users.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.serving.user_encoders import user_tower
from model.towers import TwoTowers
from model.towers.online import OnlineModel, User
from model.towers.online.folder import write_online_model
from model.towers.online.ids import SortedIds, Vocabulary
from model.towers.online.program import exported_user_tower
from model.vocabulary import FIRST_INDEX

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "serve_nearest_items.py"
BOUND = 20.0  # milliseconds
USERS = 1_000
TICKS = os.sysconf("SC_CLK_TCK")  # a second, in /proc


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--length", type=int, default=50, help="clicks of a history")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--requests", type=int, default=500)
    args = parse(parser, argv, items=200, length=5, dim=8, k=10, requests=20)
    print(f"{args.items:,} items, L {args.length}, D {args.dim}, k {args.k}; {args.requests} requests\n")
    print("| encoder | median, ms | 99th percentile, ms | processor, ms | largest difference |")
    print("|---|---|---|---|---|")
    for encoder in ("mean", "recency", "attention"):
        with tempfile.TemporaryDirectory(prefix="online-") as folder:
            towers = with_noise(user_tower(encoder, USERS, args.items, args.length, args.dim))
            write(Path(folder), towers, args.items)
            gap = largest_difference(towers, OnlineModel.current(folder), args.items)
            taken, processor = milliseconds(folder, args.items, args.length, args.k, args.requests)
        median, late = np.median(taken), np.percentile(taken, 99)
        print(
            f"| `{encoder}` | {median:.1f} (at most {BOUND:.0f}) | {late:.1f} | {processor:.1f} | {gap:.0e} |",
            flush=True,
        )


def with_noise(towers: TwoTowers) -> TwoTowers:
    """Weights as after training: untrained attention weighs all clicks alike, and its vectors are those of `mean`."""
    with torch.no_grad():
        for weights in towers.user.parameters():
            weights.add_(torch.randn_like(weights) * 0.2)
    return towers


def write(root: Path, towers: TwoTowers, n_items: int) -> None:
    """An online model of these towers, with random vectors of the items."""
    vectors = np.random.default_rng(0).normal(size=(n_items, towers.spec.embedding_dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vocabularies = {"user_id": vocabulary("user", USERS), "item_id": vocabulary("item", n_items)}
    publication = {"publication": 1, "ds": "2026-01-31", "model_version": "random", "candidates_version": 0}
    publication["forgotten_users"] = 0
    program, items = exported_user_tower(towers), vocabularies["item_id"].ids
    write_online_model(root / "one", program, towers.spec, publication, "history", vocabularies, items, vectors)
    (root / "current.json").write_text('{"version": "one"}', "utf-8")


def vocabulary(name: str, count: int) -> Vocabulary:
    ids = pa.array([f"{name}-{number:08}" for number in range(count)], pa.large_string())
    return Vocabulary(SortedIds(ids), np.arange(FIRST_INDEX, FIRST_INDEX + count))


def largest_difference(towers: TwoTowers, online: OnlineModel, n_items: int) -> float:
    """Between a number of the online model's vectors and of the tower's; histories have any length up to L."""
    random, length = np.random.default_rng(1), towers.spec.user[1].length
    clicks = random.integers(0, n_items, (USERS, length))
    lengths = random.integers(0, length + 1, USERS)
    users = [
        User(f"user-{number:08}", [f"item-{item:08}" for item in clicks[number, : lengths[number]]])
        for number in range(USERS)
    ]
    padded = np.where(np.arange(length) < lengths[:, None], clicks + FIRST_INDEX, 0)
    inputs = {"user_id": torch.arange(FIRST_INDEX, FIRST_INDEX + USERS), "history": torch.from_numpy(padded)}
    with torch.no_grad():
        want = towers.user(inputs).numpy()
    return float(np.abs(online.embed(users)[:, 0] - want).max())


def milliseconds(folder: str, n_items: int, length: int, k: int, requests: int) -> tuple[np.ndarray, float]:
    """The time of each request, and the processor time of the service by request; the first tenth does not count."""
    random = np.random.default_rng(2)
    taken = []
    with service(folder) as (process, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for number in range(-(requests // 10), requests):
            if number == 0:
                used = processor_seconds(process)
            history = [f"item-{item:08}" for item in random.integers(0, n_items, length)]
            body = json.dumps({"user_id": f"user-{random.integers(USERS):08}", "history": history, "k": k})
            began = time.perf_counter()
            connection.request("POST", "/", body)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            if number >= 0:
                taken.append(1_000 * (time.perf_counter() - began))
            assert len(found["items"]) == k, found
        return np.array(taken), 1_000 * (processor_seconds(process) - used) / requests


@contextmanager
def service(folder: str) -> Iterator[tuple[int, int]]:
    """The example on one core: its process id and port."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    variables = {**os.environ, **one_thread, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(EXAMPLE), folder, "--port", "0"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            core = {min(os.sched_getaffinity(0))}
            for thread in os.listdir(f"/proc/{process.pid}/task"):
                os.sched_setaffinity(int(thread), core)
            yield process.pid, port
        finally:
            process.kill()


def processor_seconds(process: int) -> float:
    """What a process has used so far, in the kernel and outside."""
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    main()
