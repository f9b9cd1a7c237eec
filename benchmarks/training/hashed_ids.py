"""What hashing user ids costs: recall and bytes of the table, with a row for each user, hashed, and without user ids.

    python -m benchmarks.training.hashed_ids --sets movielens_100k toys --seeds 1 2 3

Trains with the product's defaults, in this process and on one thread, on the validation part of each set. `share`: the
buckets of the table as a share of the users. Prints a table for each set: mean and standard deviation over the seeds.
The runs are stored under --folder, one line each, so that an interrupted run continues.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.defaults import SETS
from benchmarks.quality.measure import measure, spread
from benchmarks.quality.one_key import TINY, Results, overrides_of
from benchmarks.worlds.prepared_folder import read_spec
from jobs.config.loading import Config, load_config, merge
from model.towers.table_memory import table_sizes

SHARES, HASHES = (0.5, 0.25, 0.1), (1, 2, 4)
METRICS = {"recall@20": "Recall@20", "recall@100": "Recall@100"}
TRAINING = {"threads": 1, "batch_size": 1_024}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=["movielens_100k", "toys"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--epochs", type=int, default=load_config().training.epochs)
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out/hashed_ids"), help="where all is stored")
    args = parse(parser, argv, sets=["planted"], seeds=[1], epochs=1)
    with tempfile.TemporaryDirectory(prefix="hashed-ids-") as temporary:
        folder, sets = (Path(temporary), {"planted": TINY.make}) if args.smoke else (args.folder, SETS)
        for name in args.sets:
            prepared = sets[name](folder)[0]
            results = Results(folder / f"{name}.jsonl")
            rows = {
                label: [trained(results, prepared, label, user, seed, args.epochs) for seed in args.seeds]
                for label, user in variants(prepared).items()
            }
            print(f"\n{name}, {args.epochs} epochs\n\n{table(rows)}", flush=True)


def variants(prepared: Path) -> dict[str, list[dict[str, Any]]]:
    """The features of users, as JSON, by what the table calls them."""
    features = [asdict(feature) for feature in read_spec(prepared).run.model.user]
    users = read_spec(prepared).run.model.vocabulary_sizes["user_id"]
    found = {"a row for each user": features, "no user id": [f for f in features if f["kind"] != "id"]}
    for share in SHARES:
        for hashes in HASHES:
            hashed = {"kind": "hashed_id", "buckets": max(16, round(share * users)), "hashes": hashes}
            label = f"hashed: share {share}, {hashes} hash function{'s' if hashes > 1 else ''}"
            found[label] = [f | hashed if f["kind"] == "id" else f for f in features]
    return found


def trained(
    results: Results, prepared: Path, label: str, user: list[dict[str, Any]], seed: int, epochs: int
) -> dict[str, Any]:
    """The metrics of one training, stored or new, and the bytes of the table of users."""
    known = {"features": user, "seed": seed, "epochs": epochs}
    return results.find(known) or results.add(known | measured(prepared, label, user, seed, epochs))


def measured(prepared: Path, label: str, user: list[dict[str, Any]], seed: int, epochs: int) -> dict[str, Any]:
    training = TRAINING | {"seed": seed, "epochs": epochs}
    config = Config.model_validate(merge(load_config().model_dump(), {"training": training}))
    overrides = merge(overrides_of(config, prepared), {"run": {"model": {"user": user}}})
    found = measure(prepared, overrides=overrides)
    print(f"{prepared.name}, {label}, seed {seed}: {', '.join(f'{k} {found[k]:.4f}' for k in METRICS)}", flush=True)
    sizes = table_sizes(read_spec(prepared, overrides).run.model)
    size = sum(size.bytes for size in sizes if size.feature == "user_id")
    return {name: found[name] for name in METRICS} | {"bytes": size, "seconds": found["seconds"]}


def table(rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """A line for each variant."""
    lines = [f"| user ids | {' | '.join(METRICS.values())} | table of users |", "|" + "---|" * (2 + len(METRICS))]
    for label, of_seeds in rows.items():
        cells = [spread([found[name] for found in of_seeds]) for name in METRICS]
        lines.append(f"| {label} | {' | '.join(cells)} | {of_seeds[0]['bytes'] / 1e6:.2f} MB |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
