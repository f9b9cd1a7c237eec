"""What comes next: each user encoder on public sequences, last item out, over the whole corpus.

    python -m benchmarks.quality.sequences                                   # all sets and encoders: hours
    python -m benchmarks.quality.sequences --sets toys --encoders attention --validate

For each set and encoder, the keys of GRID are tried one after the other on the validation part (the last item but one;
one seed), each with the best values of the earlier keys, and the number of epochs with them; then the chosen setting is
trained and evaluated on the test part (the last item), with each seed. The runs are stored under --folder, one line
each, so that an interrupted comparison continues. Trains in this process, on one thread.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import measure, spread
from benchmarks.quality.one_key import Results, override, overrides_of
from benchmarks.worlds import sequences
from jobs.config.loading import Config, load_config, merge
from model.features.user_encoders import USER_ENCODERS

AT = (10, 50)
GRID = {
    "training.temperature": (0.1, 0.07, 0.15),
    "model.history_dropout": (0.0, 0.2),
    "model.user_encoder_dropout": (0.0, 0.2),
    "training.embedding_weight_decay": (0.0, 0.01, 0.03),
}
SHARED = {"training": {"batch_size": 1024, "learning_rate": 0.1, "threads": 1}}


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(sequences.SETS), default=list(sequences.SETS))
    parser.add_argument("--encoders", nargs="+", default=list(USER_ENCODERS.built_in))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3], help="of the test part")
    parser.add_argument("--epochs", type=int, default=16, help="at most, of a run on the validation part")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="another key, in all runs; not searched"
    )
    parser.add_argument("--validate", action="store_true", help="choose settings, but leave the test part alone")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out/sequences"), help="where all is stored")
    parser.add_argument(
        "--neighbours", type=int, default=0, help="so many items that users clicked with an item are a feature of it"
    )
    args = parse(parser, argv, sets=["toys"], encoders=["attention"], seeds=[1], epochs=1, neighbours=2)
    others = [override(*text.split("=", 1)) for text in args.set]
    with tempfile.TemporaryDirectory(prefix="sequences-") as temporary:
        folder, source = args.folder, sequences.FOLDER
        if args.smoke:
            folder = source = Path(temporary)
            sequences.write_tiny_source(source)
        for name in args.sets:
            print(f"\n{name}\n\n| encoder | setting | Recall@10 | NDCG@10 | examples a second |\n|---|---|---|---|---|")
            for encoder in args.encoders:
                fixed = reduce(merge, others, shared(name, encoder, args.epochs))
                run = partial(trained, Results(folder / f"{name}.jsonl"))
                parts = sequences.SETS[name].prepare(folder / name, source, args.neighbours)
                chosen, line = choose(partial(run, parts[0]), fixed)
                print(row(encoder, f"validation: {values_of(chosen)}", [line]), flush=True)
                if not args.validate:
                    lines = [run(parts[1], merge(chosen, {"training": {"seed": seed}})) for seed in args.seeds]
                    print(row(encoder, "test", lines), flush=True)


def shared(name: str, encoder: str, epochs: int) -> dict[str, Any]:
    """The configuration of all runs of an encoder on a set; items that lists leave out are not negatives either."""
    mask = "history" if sequences.SETS[name].is_history_excluded else "item"
    own = {"model": {"user_encoder": encoder}, "training": {"epochs": epochs}, "negatives": {"mask": mask}}
    return merge(SHARED, own)


def choose(run: Any, fixed: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The best configuration of GRID on the validation part, with its number of epochs; and its run.

    A key that is set in `fixed` is not searched.
    """
    grid = {key: values for key, values in GRID.items() if not is_set(key, fixed)}
    best = reduce(merge, (override(key, str(values[0])) for key, values in grid.items()), fixed)
    best_line = run(best)
    for key, values in grid.items():
        if key == "model.user_encoder_dropout" and fixed["model"]["user_encoder"] == "mean":
            continue  # which drops nothing
        start = best
        for value in values[1:]:
            configuration = merge(start, override(key, str(value)))
            line = run(configuration)
            if value_of(best_point(line)) > value_of(best_point(best_line)):
                best, best_line = configuration, line
    epochs = int(best_point(best_line)[0])
    return merge(best, {"training": {"epochs": epochs}}), best_line


def is_set(key: str, configuration: dict[str, Any]) -> bool:
    section, _, name = key.partition(".")
    return name in configuration.get(section, {})


def best_point(line: dict[str, Any]) -> Sequence[float]:
    """(epoch, seconds, Recall@10, NDCG@10) after the best epoch of a run."""
    return max(line["curve"], key=value_of)


def value_of(point: Sequence[float]) -> float:
    """What is chosen by: the sum of Recall@10 and NDCG@10."""
    return point[2] + point[3]


def values_of(configuration: dict[str, Any]) -> str:
    chosen = {key.partition(".")[2]: key.split(".") for key in (*GRID, "training.epochs")}
    found = {name: configuration[section].get(key) for name, (section, key) in chosen.items()}
    return ", ".join(f"{name} {value}" for name, value in found.items() if value)


def trained(results: Results, prepared: Path, configuration: dict[str, Any]) -> dict[str, Any]:
    """The stored or new run of a configuration on a prepared folder, with the metrics after each epoch."""
    known = {"part": prepared.name, "configuration": configuration}
    if (line := results.find(known)) is None:
        config = Config.model_validate(merge(load_config().model_dump(), configuration))
        found = measure(prepared, curve=True, overrides=overrides_of(config, prepared), at=AT)
        line = results.add(known | {name: found[name] for name in ("curve", "rows_per_second", "recall@50")})
    return line


def row(encoder: str, setting: str, lines: Sequence[dict[str, Any]]) -> str:
    """A line of the table: the best epoch of a validation run, the last one of test runs, with the spread of seeds."""
    is_test = setting == "test"
    points = [line["curve"][-1] if is_test else best_point(line) for line in lines]
    cells = [spread([point[column] for point in points]) for column in (2, 3)]
    speed = statistics.fmean(line["rows_per_second"] for line in lines)
    return f"| `{encoder}` | {setting} | {' | '.join(cells)} | {speed:,.0f} |"


if __name__ == "__main__":
    main()
