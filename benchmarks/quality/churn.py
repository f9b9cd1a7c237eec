"""Rows of the embedding tables and Recall@100 while users and items come and go, with and without expiry.

    python -m benchmarks.quality.churn

Each day 2 % of the users and of the items leave for ever, and as many come. After the first 30 days a model is trained
from scratch; each further day continues from the model of the day before, and on the last day a second model is trained
from scratch. Recall@100 is that of the next day's clicks on items that are known by then.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.worlds.churn import Day, simulated_days, training_spec, write_days
from model.artifacts.model_version import load_model
from model.data.pinned_files import PinnedFiles
from model.training.fit import fit
from model.training.validation.ranking import ranks_of_positives

K = 100


@dataclass(frozen=True)
class Result:
    """Of one model: rows of its tables for each live id, of its users and its items, and its recall."""

    user_rows: float
    item_rows: float
    recall: float


def trained(
    folder: Path, days: Sequence[Day], pinned: Sequence[PinnedFiles], expiry: bool, seed: int, older: Path | None
) -> tuple[Result, Path]:
    """Train on the last day but one, and measure on the last day; returns the model's folder too.

    pinned: the files of each day but the last; older: the model to continue from, None for none.
    """
    following, days = days[-1], days[:-1]
    spec = training_spec(folder, days, pinned, seed, older)
    if not expiry:
        spec = replace(spec, data=replace(spec.data, min_id_examples=0))
    version = fit(spec)
    sizes, live = version.spec.table_sizes, days[-1]
    result = Result(
        user_rows=sizes["user_id"] / len(live.live_users),
        item_rows=sizes["item_id"] / len(live.live_items),
        recall=recall(spec.run.folder, live.live_items, following),
    )
    return result, spec.run.folder


@torch.no_grad()
def recall(folder: Path, available: np.ndarray, day: Day) -> float:
    """Recall@100 of the day's clicks on available items, ranked by the model in `folder`."""
    towers, _ = load_model(folder)
    known = np.isin(day.items, available)
    items = torch.from_numpy(np.sort(available))
    users, histories, clicked = (values[known].astype(np.int64) for values in (day.users, day.histories, day.items))
    queries = towers.user({"user_id": torch.from_numpy(users), "history": torch.from_numpy(histories)})
    ranks = ranks_of_positives(queries, torch.from_numpy(clicked), towers.item({"item_id": items}), items, None)
    return float((ranks < K).double().mean())


def run(days: Sequence[Day], first: int, expiry: bool, seed: int) -> tuple[list[Result], Result]:
    """The models that continue from each other since day `first`, and one that is trained from scratch on the last."""
    results = []
    with tempfile.TemporaryDirectory(prefix="churn-") as text:
        folder, older = Path(text), None
        pinned = write_days(folder, days)
        for number in range(first, len(days)):
            result, older = trained(folder, days[: number + 1], pinned[:number], expiry, seed, older)
            results.append(result)
        return results, trained(folder / "scratch", days, pinned[:-1], expiry, seed, None)[0]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--first", type=int, default=30, help="day of the first model")
    parser.add_argument("--users", type=int, default=2_000, help="that live at a time")
    parser.add_argument("--items", type=int, default=1_500, help="that live at a time")
    parser.add_argument("--churn", type=float, default=0.02, help="share that is replaced each day")
    args = parse(parser, argv, seeds=1, days=4, first=3, users=60, items=110)
    torch.set_num_threads(1)
    print("| seed | expiry | most user rows / live | most item rows / live | recall@100, daily | last day, scratch |")
    print("|---|---|---|---|---|---|")
    for seed in range(1, args.seeds + 1):
        days = simulated_days(args.days + 1, args.users, args.items, args.churn, seed)
        for expiry in (False, True):
            daily, scratch = run(days, args.first, expiry, seed)
            users, items = (max(getattr(one, name) for one in [*daily, scratch]) for name in ("user_rows", "item_rows"))
            mean = np.mean([one.recall for one in daily])
            cells = [seed, "yes" if expiry else "no", f"{users:.3f}", f"{items:.3f}", f"{mean:.4f}"]
            print(f"| {' | '.join(map(str, cells))} | {scratch.recall:.4f} |", flush=True)


if __name__ == "__main__":
    main()
