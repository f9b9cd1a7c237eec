"""One key of the configuration at several values: recall, also of items without a click, and their share of the lists.

    python -m benchmarks.quality.one_key model.item_id_shrinkage 0 0.3 1 3 10
    python -m benchmarks.quality.one_key training.temperature 0.15 0.2 0.25 --set training.preset=mns --sets movielens

Trains in this process, on one thread, with each value, preset and seed on each log. `cold`: of the clicks afterwards,
only those on items without a click in the training rows. Prints a table for each log: mean and standard deviation over
the seeds, and the smallest share of never-clicked items that lists can have. The runs are stored under --folder, one
line each, so that an interrupted run continues.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import statistics
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.quality.measure import AT, Evaluator, measure
from benchmarks.quality.scheme_sets import SETS as SCHEME_SETS
from benchmarks.worlds import amazon_beauty, click_log, cold_logs
from benchmarks.worlds.prepared_folder import has_pool, is_prepared
from jobs.config.loading import Config, load_config, merge
from jobs.training.settings import spec_settings

SEEDS = (1, 2, 3)
PRESETS = ("in_batch", "mns")
METRICS = {
    "recall@20": "Recall@20",
    "recall@100": "Recall@100",
    "recall@100_cold": "cold Recall@100",
    "never_clicked_share@20": "never clicked in top 20",
    "never_clicked_share": "never clicked in top 100",
}
EARLIER, LATER = (
    [dt.date(2023, 2, 25), dt.date(2023, 2, 26)],
    [dt.date(2023, 2, 27), dt.date(2023, 2, 28)],
)  # last days of training in EB-NeRD


class Logs:
    """Prepared folders whose metrics are averaged, and what their trainings share."""

    def __init__(self, make: Callable[[Path], list[Path]], batch_size: int, **configuration: Any) -> None:
        """make: writes the folders into a given one, unless they exist, and returns them."""
        sizes = {"corpus": batch_size, "unclicked": batch_size // 4, "empty_pool": "skip"}
        shared = {"training": {"batch_size": batch_size, "threads": 1}, "negatives": sizes}
        self.make, self.configuration = make, merge(shared, configuration)


def _eb_nerd(days: Sequence[dt.date], folder: Path) -> list[Path]:
    return [click_log.write(folder / f"eb_nerd_{day}", cold_logs.eb_nerd(day)) for day in days]


def _movielens_100k(folder: Path) -> list[Path]:
    """The part of MovieLens-100K on which the demo's settings are chosen: up to day 8, evaluated on day 9."""
    made = SCHEME_SETS["movielens"].folders(folder)[0]
    if not is_prepared(made):
        SCHEME_SETS["movielens"].prepare(folder)
    return [made]


def _timed(name: str, gaps: bool, folder: Path) -> list[Path]:
    """MovieLens in the order of its own times, with or without the gaps of the histories."""
    is_small = name == "small"
    log = cold_logs.movielens(False, 1, gaps=gaps) if is_small else cold_logs.movielens_100k(gaps=gaps)
    return [click_log.write(folder / f"timed_{name}{'_gaps' if gaps else ''}", log)]


def _one_day(folder: Path) -> list[Path]:
    return [click_log.write(folder / f"eb_nerd_only_{day}", cold_logs.eb_nerd(day, days=1)) for day in LATER]


LOGS = {
    "planted": Logs(lambda folder: [click_log.write(folder / "planted", cold_logs.planted())], 512),
    "eb_nerd_earlier": Logs(partial(_eb_nerd, EARLIER), 64),
    "eb_nerd": Logs(partial(_eb_nerd, LATER), 64),
    "eb_nerd_day": Logs(_one_day, 64),
    "movielens": Logs(lambda folder: [click_log.write(folder / "movielens", cold_logs.movielens())], 1_024),
    "movielens_ids": Logs(
        lambda folder: [click_log.write(folder / "movielens_ids", cold_logs.movielens(with_features=False))], 1_024
    ),
    "movielens_100k": Logs(_movielens_100k, 1_024),
    "timed_small": Logs(partial(_timed, "small", False), 1_024),  # both on their validation parts
    "timed_small_gaps": Logs(partial(_timed, "small", True), 1_024),
    "timed_100k": Logs(partial(_timed, "100k", False), 1_024),
    "timed_100k_gaps": Logs(partial(_timed, "100k", True), 1_024),
    "amazon_beauty": Logs(
        lambda folder: [amazon_beauty.prepare(folder / "amazon_beauty")[0]],
        2_048,
        **SCHEME_SETS["amazon_beauty"].configuration,
    ),
}
UNTIMED = [name for name in LOGS if not name.startswith("timed")]


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("key", nargs="?", default="model.item_id_shrinkage", help="SECTION.KEY of the configuration")
    parser.add_argument("values", nargs="*", default=["0", "0.3", "1", "3", "10"], help="its values, as in TOML")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key, in all runs")
    parser.add_argument("--sets", nargs="+", choices=sorted(LOGS), default=UNTIMED, help="the logs")
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out/one_key"), help="where all is stored")
    args = parse(parser, argv, values=["0", "1.0"], sets=["planted"], presets=["mns"], seeds=[1])
    fixed = [override(*text.split("=", 1)) for text in args.set]
    with tempfile.TemporaryDirectory(prefix="one-key-") as temporary:
        folder, logs = (Path(temporary), {"planted": TINY}) if args.smoke else (args.folder, LOGS)
        for name in args.sets:
            results = Results(folder / f"{name}.jsonl")
            rows = {
                f"{preset} | {value}": [
                    run(logs[name], [*fixed, override(args.key, value)], preset, seed, folder, results)
                    for seed in args.seeds
                ]
                for preset in args.presets
                for value in args.values
            }
            least = ", ".join(f"{least_share(logs[name].make(folder), k):.4f} of {k}" for k in AT)
            title = f"{name} {' '.join(args.set)} (never clicked: at least {least})"
            print(f"\n{title}\n\n{table(args.key, rows)}", flush=True)


TINY = Logs(
    lambda folder: [click_log.write(folder / "planted", cold_logs.planted(30, 40, clusters=4, clicks=4, held_out=2))],
    16,
    training={"epochs": 1},
)


def override(key: str, value: str) -> dict[str, Any]:
    """The configuration that sets SECTION.KEY; a value that is not TOML is a text."""
    try:
        return tomllib.loads(f"{key} = {value}")
    except tomllib.TOMLDecodeError:
        return tomllib.loads(f"{key} = {json.dumps(value)}")


class Results:
    """All runs on a set of logs, a line of JSON each, identified by log and configuration."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def find(self, run: Mapping[str, Any]) -> dict[str, Any] | None:
        return next((line for line in self.lines if all(line[key] == run[key] for key in run)), None)

    def add(self, line: dict[str, Any]) -> dict[str, Any]:
        self.lines.append(line)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line


def run(
    logs: Logs, overrides: Sequence[dict[str, Any]], preset: str, seed: int, folder: Path, results: Results
) -> dict[str, float]:
    """The mean of each metric over the logs, from stored runs or new ones."""
    configuration = merge(logs.configuration, {"training": {"preset": preset, "seed": seed}})
    for changes in overrides:
        configuration = merge(configuration, changes)
    lines = []
    for prepared in logs.make(folder):
        known = {"log": prepared.name, "configuration": configuration}
        lines.append(results.find(known) or results.add(known | trained(prepared, configuration)))
    return {name: mean([line[name] for line in lines]) for name in METRICS}


def trained(prepared: Path, configuration: dict[str, Any]) -> dict[str, float]:
    """Train once; the metrics, and the seconds of training."""
    config = Config.model_validate(merge(load_config().model_dump(), configuration))
    found = measure(prepared, overrides=overrides_of(config, prepared))
    print(f"{prepared.name} {configuration}: {', '.join(f'{name} {found[name]:.4f}' for name in METRICS)}", flush=True)
    return {name: found[name] for name in (*METRICS, "seconds")}


def least_share(prepared: Sequence[Path], k: int) -> float:
    """The mean over the logs of the smallest share of never-clicked items that lists of k items can have."""
    return mean([Evaluator(folder).least_never_clicked_share(k) for folder in prepared])


def overrides_of(config: Config, prepared: Path) -> dict[str, Any]:
    """What the configuration says of the training of a prepared folder, as `measure` takes it."""
    of_model = config.model.model_dump(include={"item_id_shrinkage", "user_encoder", "interests"})
    settings = spec_settings(config, pool_is_empty=not has_pool(prepared))
    return merge(settings, {"run": {"model": of_model}})


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are not NaN; NaN if none is left, as where no item without a click is clicked."""
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def table(key: str, rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A line for each row, whose label is `preset | value`, with the mean and the deviation over the seeds."""
    lines = [f"| preset | {key} | {' | '.join(METRICS.values())} |", "|" + "---|" * (2 + len(METRICS))]
    for label, of_seeds in rows.items():
        cells = []
        for name in METRICS:
            values = [found[name] for found in of_seeds]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.4f}{spread}")
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
