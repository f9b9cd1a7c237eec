"""What the search of `tune_two_tower` finds on a log that it does not know, beside settings that were chosen by hand.

    python -m benchmarks.training.tuned_settings --sets toys --minutes 60

The search starts from recall.toml and draws from its [tuning.space]. Its training rows are those of a set's validation
part; its held-out day are the clicks on which this part is evaluated, of half of the users, as in the job. Then the
defaults, what the search has found and the settings chosen by hand are each trained on the test part with every seed,
and evaluated there once. All have the same features; trials and trainings have one thread each. The study is kept under
--folder, so that an interrupted search goes on.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import measure, spread
from benchmarks.quality.scheme_sets import SETS as SCHEME_SETS
from benchmarks.worlds import sequences
from benchmarks.worlds.prepared_folder import USERS_FILE, has_pool, is_prepared, read_spec
from jobs.config.loading import Config, load_config, merge
from jobs.tuning.search import EPOCHS, Base, best_settings, ended, open_study, search, values_of
from jobs.tuning.space import Settings, configured
from jobs.tuning.spec import trial_spec
from model.data.parquet_files import read_file, read_files
from model.data.pinned_files import PinnedFiles
from model.training.inputs import LAST_DAY_SHARE
from model.training.spec import TrainingSpec
from model.vocabulary import PADDING

ALL_TRIALS = 100_000  # more than any search has time for


@dataclass(frozen=True)
class DataSet:
    """A set: its two prepared folders, the length of its lists, and the settings that were chosen by hand."""

    parts: Callable[[Path], tuple[Path, Path]]  # writes (validation, test) into a folder, unless they exist
    k: int
    by_hand: Settings
    is_history_excluded: bool = True


def _sequences(name: str, folder: Path, source: Path = sequences.FOLDER) -> tuple[Path, Path]:
    return sequences.SETS[name].prepare(folder / name, source)


def _of_schemes(name: str, folder: Path) -> tuple[Path, Path]:
    chosen = SCHEME_SETS[name]
    if not all(map(is_prepared, chosen.folders(folder))):
        chosen.prepare(folder)
    return chosen.folders(folder)


def _by_hand(temperature: float, rate: float, epochs: int, batch_size: int, **others: Any) -> Settings:
    return {
        "training.temperature": temperature,
        "training.learning_rate": rate,
        "training.epochs": epochs,
        "training.batch_size": batch_size,
        **{key.replace("__", "."): value for key, value in others.items()},
    }


MEAN, ATTENTION = {"model__user_encoder": "mean"}, {"model__user_encoder": "attention"}
NO_ITEM_DROPOUT = {"model__item_id_dropout": 0.0, "model__item_id_shrinkage": 0.0}
DATA_SETS = {
    "toys": DataSet(
        partial(_sequences, "toys"), 10, _by_hand(0.1, 0.1, 10, 1_024, negatives__mask="history", **ATTENTION)
    ),
    "yelp": DataSet(
        partial(_sequences, "yelp"),
        10,
        _by_hand(0.1, 0.1, 4, 1_024, training__embedding_weight_decay=0.01, **ATTENTION),
        is_history_excluded=False,
    ),
    "amazon_beauty": DataSet(
        partial(_of_schemes, "amazon_beauty"),
        20,
        _by_hand(0.2, 0.1, 28, 2_048, negatives__mask="history", model__history_dropout=0.5, **MEAN, **NO_ITEM_DROPOUT),
    ),
    "movielens": DataSet(partial(_of_schemes, "movielens"), 20, _by_hand(0.2, 0.1, 9, 512, **MEAN)),
    "simulated": DataSet(
        partial(_of_schemes, "simulated"),
        20,
        _by_hand(0.2, 0.04, 3, 512, model__user_id_dropout=0.5, model__history_dropout=0.3, **MEAN),
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(DATA_SETS), default=list(DATA_SETS))
    parser.add_argument("--minutes", type=float, default=60, help="of each search, without the comparison after it")
    parser.add_argument("--processes", type=int, default=2, help="trials side by side")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of the test part")
    parser.add_argument(
        "--folder", type=Path, default=Path("benchmarks/out/tuned_settings"), help="where all is stored"
    )
    args = parse(parser, argv, sets=["toys"], minutes=0.01, processes=1, seeds=[1])
    with tempfile.TemporaryDirectory(prefix="tuned-settings-") as temporary:
        folder, data_sets = args.folder, DATA_SETS
        if args.smoke:
            folder = Path(temporary)
            sequences.write_tiny_source(folder)
            data_sets = {"toys": replace(DATA_SETS["toys"], parts=partial(_sequences, "toys", source=folder))}
        for name in args.sets:
            validation, test = data_sets[name].parts(folder)
            base = base_of(validation, data_sets[name], folder / name / "search", epochs=1 if args.smoke else None)
            found, trials = run_search(base, folder / name / "search", args.minutes * 60, args.processes)
            print(f"\n{name}: {trials} trials; found: {found}\n", flush=True)
            compared = {"the defaults": {}, "found by the search": found, "chosen by hand": data_sets[name].by_hand}
            rows = {
                label: [evaluated_on_test(base, test, settings, seed, data_sets[name].k) for seed in args.seeds]
                for label, settings in compared.items()
            }
            print(table(rows, data_sets[name].k), flush=True)


def base_of(validation: Path, data_set: DataSet, folder: Path, epochs: int | None = None) -> Base:
    """What the trials vary. epochs: of a trial at most; None: as recall.toml says."""
    values = load_config().model_dump()
    changes: dict[str, Any] = {"training": {"threads": 1}}
    if epochs is not None:
        changes["tuning"] = {"max_epochs": epochs}
    day = with_held_out(validation, folder, is_history_excluded=data_set.is_history_excluded)
    if "user_id" in [feature.name for feature in day.run.model.user]:  # the space has its dropout only then
        user_id = {"name": "user_id", "kind": "id", "dim": values["model"]["embedding_dim"]}
        changes["features"] = {"user": [user_id, *values["features"]["user"]]}
    config = Config.model_validate(merge(values, changes))
    return Base(day, config, pool_is_empty=not has_pool(validation))


def with_held_out(prepared: Path, folder: Path, *, is_history_excluded: bool) -> TrainingSpec:
    """The spec of a prepared folder; its held-out day, written into `folder`, are the clicks of the evaluation."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = read_spec(prepared)
    users = pq.read_table(prepared / USERS_FILE)
    counts = pc.list_value_length(users["relevant"]).fill_null(0).to_numpy()
    rows = users.take(np.repeat(np.arange(len(users)), counts))
    items = pc.list_flatten(users["relevant"]).combine_chunks().cast(pa.int32())
    schema = read_file(spec.data.examples.files[0]).schema
    known = {"item_index": items, "epoch_day": pa.array(np.full(len(rows), spec.data.epoch_day + 1), pa.int32())}
    known |= {name: rows[name] for name in rows.column_names}
    held_out = pa.table(
        {field.name: _column(known, field, len(rows)) for field in schema if field.name in known or _is_read(field)}
    )
    counted = read_files(spec.data.probabilities.files)
    clicks = np.bincount(items.to_numpy(), minlength=1 + int(counted["item_index"].to_numpy().max()))
    shares = pa.array(clicks[counted["item_index"].to_numpy()] / len(items))
    for name, values in (("q_before", counted["q"]), (LAST_DAY_SHARE, shares)):
        if name in counted.column_names:
            counted = counted.drop_columns([name])
        counted = counted.append_column(name, values)
    data = replace(
        spec.data,
        last_day=_pinned(held_out, folder / "held_out.parquet"),
        probabilities=_pinned(counted, folder / "probabilities.parquet"),
        hide_history=is_history_excluded,
        candidates_per_user=0,  # scores are not calibrated
    )
    return replace(spec, data=data)


def _is_read(field: pa.Field) -> bool:
    """Whether training may read a column of the examples: no text and no time, such as those of the impression."""
    return pa.types.is_list(field.type) or pa.types.is_integer(field.type) or pa.types.is_floating(field.type)


def _column(known: Mapping[str, Any], field: pa.Field, rows: int) -> pa.Array | pa.ChunkedArray:
    """A column of the held-out rows: what is known, or the value that says that there is nothing."""
    if field.name in known:
        return known[field.name].cast(field.type)
    if pa.types.is_list(field.type):
        return pa.array([[]] * rows, field.type)
    return pa.array(np.full(rows, 1.0 if field.name == "weight" else PADDING), field.type)


def _pinned(table: pa.Table, file: Path) -> PinnedFiles:
    pq.write_table(table, file, row_group_size=2_048)
    return PinnedFiles(0, (file.resolve().as_uri(),), table.num_rows)


def run_search(base: Base, folder: Path, seconds: float, processes: int) -> tuple[Settings, int]:
    """The best settings, with their number of epochs, and the number of trials."""
    study = open_study(base, folder / f"{base.study_name}.log")
    metric = base.config.tuning.metric

    def on_trial(trial: Any) -> None:
        values = values_of(trial)
        best = f"{max(values):.4f} after {len(values)} epochs" if values else "failed"
        print(f"trial {trial.number} {trial.state.name}: {metric} {best}; {trial.params}", flush=True)

    search(base, study, trials=ALL_TRIALS, seconds=seconds, processes=processes, on_trial=on_trial)
    epochs = study.best_trial.user_attrs[EPOCHS]
    return {**best_settings(study), "training.epochs": epochs}, len(ended(study))


def evaluated_on_test(base: Base, test: Path, settings: Settings, seed: int, k: int) -> Mapping[str, float]:
    """The metrics on the test part after the last epoch."""
    config = configured(base.config, settings, pool_is_empty=base.pool_is_empty)
    spec = trial_spec(read_spec(test), config, pool_is_empty=base.pool_is_empty, seed=seed)
    epochs = config.training.epochs
    spec = replace(spec, run=replace(spec.run, epochs=epochs))
    found: Mapping[str, float] = measure(test, overrides=spec.to_json(), at=(k, 5 * k))
    print(f"{settings} seed {seed}: {found[f'recall@{k}']:.4f} {found[f'ndcg@{k}']:.4f}", flush=True)
    return found


def table(rows: Mapping[str, Sequence[Mapping[str, float]]], k: int) -> str:
    """A line for each setting: mean and deviation over the seeds, and the share of what was chosen by hand."""
    by_hand = [
        statistics.fmean(found[name] for found in rows["chosen by hand"]) for name in (f"recall@{k}", f"ndcg@{k}")
    ]
    lines = [f"| settings | Recall@{k} | NDCG@{k} | of those chosen by hand |", "|---|---|---|---|"]
    for label, runs in rows.items():
        cells, shares = [], []
        for name, other in zip((f"recall@{k}", f"ndcg@{k}"), by_hand, strict=True):
            values = [found[name] for found in runs]
            cells.append(spread(values))
            shares.append(f"{statistics.fmean(values) / other:.3f}" if other else "none")
        lines.append(f"| {label} | {' | '.join(cells)} | {', '.join(shares)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
