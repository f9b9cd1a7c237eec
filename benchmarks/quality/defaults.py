"""Which defaults hold on a log that nobody has tuned: each candidate on every set, judged by its worst one.

    python -m benchmarks.quality.defaults                       # all sets and candidates: hours on two cores
    python -m benchmarks.quality.defaults --candidates today recency --sets movielens_100k toys

A candidate is recall.toml with a few keys changed; it is trained on the validation part of each set, never on the test
part. It is judged by the Recall@20 of its best epoch on these users, relative to the best candidate of the set. Users
have an id and a history, or the history alone. Prints Recall@20, and the worst and the mean of the relative values; the
candidate with the best worst one comes first. The runs are stored under --folder, one line each, so that an interrupted
comparison continues.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import measure
from benchmarks.quality.one_key import LOGS, TINY, Results, override, overrides_of
from benchmarks.worlds import sequences
from benchmarks.worlds.click_log import HISTORY, USER_ID
from benchmarks.worlds.prepared_folder import SPEC_FILE, USERS_FILE, is_prepared, read_spec
from jobs.config.loading import Config, load_config, merge

SAMPLE = 5_000  # users whose lists are evaluated


@dataclass(frozen=True)
class Candidate:
    """Values of keys, each KEY=VALUE, and whether users have an embedding of their own."""

    keys: tuple[str, ...] = ()
    has_user_id: bool = True


RECENCY, ATTENTION = 'model.user_encoder="recency"', 'model.user_encoder="attention"'
CANDIDATES = {
    "today": Candidate(),
    "temperature .1": Candidate(("training.temperature=0.1",)),
    "temperature .15": Candidate(("training.temperature=0.15",)),
    "learned from .2": Candidate(("training.learn_temperature=true",)),
    "learned from .1": Candidate(("training.learn_temperature=true", "training.temperature=0.1")),
    "rate .1": Candidate(("training.learning_rate=0.1",)),
    "user id dropped .5": Candidate(("model.user_id_dropout=0.5",)),
    "user id dropped .9": Candidate(("model.user_id_dropout=0.9",)),
    "decay .01": Candidate(("training.embedding_weight_decay=0.01",)),
    "recency": Candidate((RECENCY,)),
    "recency, user id dropped .5": Candidate((RECENCY, "model.user_id_dropout=0.5")),
    "recency, .5, temperature .15": Candidate((RECENCY, "model.user_id_dropout=0.5", "training.temperature=0.15")),
    "attention, user id dropped .5": Candidate((ATTENTION, "model.user_id_dropout=0.5")),
    "no user id": Candidate(has_user_id=False),
    "recency, no user id": Candidate((RECENCY,), has_user_id=False),
    "recency, no user id, temperature .15": Candidate((RECENCY, "training.temperature=0.15"), has_user_id=False),
    "recency, no user id, temperature .1": Candidate((RECENCY, "training.temperature=0.1"), has_user_id=False),
    "recency, no user id, rate .1": Candidate((RECENCY, "training.learning_rate=0.1"), has_user_id=False),
    "attention, no user id": Candidate((ATTENTION,), has_user_id=False),
}


def _sequences(name: str, folder: Path) -> list[Path]:
    """The validation part of a set of sequences, with user ids."""
    chosen = replace(sequences.SETS[name], user=(USER_ID, HISTORY))
    return [chosen.prepare(folder / f"{name}_with_ids")[0]]


SETS: dict[str, Callable[[Path], list[Path]]] = {
    "movielens_100k": LOGS["movielens_100k"].make,
    "ml_latest_small": LOGS["movielens"].make,
    "amazon_beauty": LOGS["amazon_beauty"].make,
    "toys": partial(_sequences, "toys"),
    "yelp": partial(_sequences, "yelp"),
    "planted": LOGS["planted"].make,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--candidates", nargs="+", choices=sorted(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out/defaults"), help="where all is stored")
    args = parse(parser, argv, sets=["planted"], candidates=["today", "recency, no user id"])
    with tempfile.TemporaryDirectory(prefix="defaults-") as temporary:
        folder, sets = (Path(temporary), {"planted": TINY.make}) if args.smoke else (args.folder, SETS)
        found: dict[str, dict[str, float]] = {candidate: {} for candidate in args.candidates}
        for name in args.sets:
            prepared = sampled(sets[name](folder)[0], folder / "sampled" / name)
            results = Results(folder / f"{name}.jsonl")
            for candidate in args.candidates:
                found[candidate][name] = recall(prepared, CANDIDATES[candidate], results, epochs=1 if args.smoke else 0)
                print(f"{name} | {candidate} | {found[candidate][name]:.4f}", flush=True)
    print(table(found))


def sampled(prepared: Path, folder: Path) -> Path:
    """The prepared folder with SAMPLE of its users at most, written into `folder` by the first call."""
    if not is_prepared(folder):
        folder.mkdir(parents=True, exist_ok=True)
        users = pq.read_table(prepared / USERS_FILE)
        pq.write_table(users.take(list(range(0, len(users), -(-len(users) // SAMPLE)))), folder / USERS_FILE)
        shutil.copy(prepared / SPEC_FILE, folder)
    return folder


def recall(prepared: Path, candidate: Candidate, results: Results, *, epochs: int) -> float:
    """Recall@20 of the best epoch, stored or new. epochs: 0: as many as recall.toml says."""
    changes = (override(*key.split("=", 1)) for key in candidate.keys)
    configuration = reduce(merge, changes, {"training": {"threads": 1}})
    if epochs:
        configuration = merge(configuration, {"training": {"epochs": epochs}})
    settings = load_config().model_dump(include={"model", "training", "negatives"})
    known: dict[str, Any] = {"set": prepared.name, "configuration": configuration, "defaults": settings}
    known |= {"has_user_id": candidate.has_user_id}
    if (line := results.find(known)) is None:
        line = results.add(known | {"curve": trained(prepared, configuration, candidate.has_user_id)})
    return max(float(point[2]) for point in line["curve"])


def trained(prepared: Path, configuration: dict[str, Any], has_user_id: bool) -> list[Sequence[float]]:
    """(epoch, seconds, Recall@20, NDCG@20) after each epoch."""
    config = Config.model_validate(merge(load_config().model_dump(), configuration))
    overrides = overrides_of(config, prepared)
    if not has_user_id:
        features = read_spec(prepared).to_json()["run"]["model"]["user"]
        others = [feature for feature in features if feature["column"] != USER_ID.column]
        overrides = merge(overrides, {"run": {"model": {"user": others}}})
    curve: list[Sequence[float]] = measure(prepared, curve=True, overrides=overrides)["curve"]
    return curve


def table(found: Mapping[str, Mapping[str, float]]) -> str:
    """A line for each candidate, that with the largest worst value first; values are relative to the best of a set."""
    names = list(next(iter(found.values())))
    best = {name: max(values[name] for values in found.values()) for name in names}
    shares = {candidate: [values[name] / best[name] for name in names] for candidate, values in found.items()}
    lines = [f"\n| candidate | {' | '.join(names)} | worst | mean |", "|" + "---|" * (len(names) + 3)]
    for candidate in sorted(shares, key=lambda each: -min(shares[each])):
        cells = " | ".join(f"{found[candidate][name]:.4f}" for name in names)
        lines.append(
            f"| {candidate} | {cells} | {min(shares[candidate]):.3f} | {statistics.fmean(shares[candidate]):.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
