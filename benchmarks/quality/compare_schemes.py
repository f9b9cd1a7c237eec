"""All schemes of negatives under the same budget on several data sets.

    python -m benchmarks.quality.compare_schemes         # all sets: hours on two cores; continues an interrupted run
    python -m benchmarks.quality.compare_schemes --sets movielens --report-only

For each set and scheme, temperature, learning rate and number of epochs are chosen on a validation part of the
training data (one seed), by Recall@20 or, where both are published, by its sum with NDCG@20. The chosen setting is
then trained on all of it and evaluated on the test part with three seeds. Every training is its own process, with its
own peak memory. The runs are stored under --folder, one line each; the tables go into RESULTS.md, the plots beside it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.command_line import benchmark_parser, output_of, parse
from benchmarks.memory import peak_mib
from benchmarks.quality.measure import measure
from benchmarks.quality.one_key import overrides_of
from benchmarks.quality.scheme_report import RESULTS, write_report
from benchmarks.quality.scheme_sets import LARGER, SCHEMES, SETS, SchemeSet
from benchmarks.worlds import amazon_beauty
from benchmarks.worlds.prepared_folder import is_prepared
from jobs.config.loading import Config, load_config, merge

SEEDS = (1, 2, 3)


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--schemes", nargs="+", choices=sorted(SCHEMES), default=list(SCHEMES))
    parser.add_argument(
        "--folder", type=Path, default=Path("benchmarks/out"), help="where lakes and results are stored"
    )
    parser.add_argument("--report-only", action="store_true", help="write the report of the runs so far")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # of a child process
    parser.add_argument("--prepare", help=argparse.SUPPRESS)  # of a child process
    args = parse(parser, argv)
    if args.one:
        print(json.dumps(train_once(**json.loads(args.one))))
    elif args.prepare:
        SETS[args.prepare].prepare(args.folder)
    elif args.smoke:
        smoke()
    else:
        for name in args.sets:
            compare(SETS[name], args.schemes, args.folder, args.report_only)


def smoke() -> None:
    """Compare two schemes on a tiny set, with few trainings; the report is written to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="compare-schemes-") as text:
        folder = Path(text)
        amazon_beauty.write_tiny_source(folder)
        beauty = SETS["amazon_beauty"]
        tiny = replace(
            beauty,
            configuration=merge(beauty.configuration, {"training": {"batch_size": 16, "epochs": 1}}),
            temperatures=(0.2,),
            make=partial(amazon_beauty.prepare, source=folder),
            source=folder,
        )
        (folder / RESULTS.name).write_text("# Results\n", "utf-8")
        tiny.prepare(folder)
        results = Results(folder / "schemes.jsonl", smoke=True)
        for scheme in ("in_batch", "none"):
            choose_and_test(tiny, scheme, tiny.folders(folder), results)
        write_report(tiny, results.lines, tiny.folders(folder)[1], folder / RESULTS.name)


def compare(chosen: SchemeSet, schemes: list[str], folder: Path, report_only: bool) -> None:
    """Do the runs of a set that are not stored yet, and write its part of the report."""
    if reason := chosen.missing():
        print(f"{chosen.name}: skipped, {reason}", flush=True)
        return
    results = Results(folder / f"schemes_{chosen.name}.jsonl")
    prepared = chosen.folders(folder)
    if not report_only:
        if not all(is_prepared(part) for part in prepared):
            _child("--prepare", chosen.name, "--folder", str(folder))
        for scheme in schemes:
            if scheme in chosen.schemes:
                choose_and_test(chosen, scheme, prepared, results)
    write_report(chosen, results.lines, prepared[1])


def choose_and_test(chosen: SchemeSet, scheme: str, prepared: tuple[Path, Path], results: Results) -> None:
    """Choose temperature, learning rate and epochs on the validation part, then test them with all seeds."""
    validation, test = prepared
    base = merge(chosen.configuration, SCHEMES[scheme])
    if scheme == "in_batch_8x":
        base = merge(base, {"training": {"batch_size": chosen.batch_size * LARGER}})

    def validated(training: Mapping[str, Any]) -> dict[str, Any]:
        changed = merge(base, {"training": {**training, "seed": SEEDS[0]}})
        return results.run(scheme, "validation", validation, changed)

    tried = [validated({"temperature": temperature}) for temperature in chosen.temperatures]
    best = max(tried, key=chosen.best_value)["configuration"]["training"]["temperature"]
    rate = chosen.configuration["training"]["learning_rate"]
    tried += [validated({"temperature": best, "learning_rate": rate * factor}) for factor in chosen.rates]
    winner = max(tried, key=chosen.best_value)
    epochs = max(winner["curve"], key=chosen.selection_value)[0]
    for seed in SEEDS:
        final = merge(winner["configuration"], {"training": {"epochs": epochs, "seed": seed}})
        results.run(scheme, "test", test, final)


class Results:
    """All runs, a line of JSON each, identified by scheme, part and configuration."""

    def __init__(self, file: Path, *, smoke: bool = False) -> None:
        self.file, self.smoke = file, smoke
        self.lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def run(self, scheme: str, part: str, prepared: Path, configuration: dict[str, Any]) -> dict[str, Any]:
        """The result of a run: a stored one, or that of a new child process."""
        run = {"scheme": scheme, "part": part, "configuration": configuration}
        for line in self.lines:
            if all(line[key] == value for key, value in run.items()):
                return line
        request = {"prepared": str(prepared), "configuration": configuration, "clicked_only": scheme == "in_batch"}
        line = run | json.loads(_child("--one", json.dumps(request), smoke=self.smoke).splitlines()[-1])
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.lines.append(line)
        training = configuration["training"]
        settings = {key: training.get(key) for key in ("temperature", "learning_rate", "epochs", "seed")}
        found = f"Recall@20 {line['recall@20']:.4f}, NDCG@20 {line['ndcg@20']:.4f}, {line['seconds']:.0f} s"
        print(f"{self.file.stem} {scheme} {part} {settings}: {found}", flush=True)
        return line


def train_once(prepared: str, configuration: dict[str, Any], clicked_only: bool) -> dict[str, Any]:
    """Train in this process and evaluate after each epoch; adds the peak memory in MiB."""
    folder = Path(prepared)
    config = Config.model_validate(merge(load_config().model_dump(), configuration))
    found = measure(folder, clicked_only, curve=True, overrides=overrides_of(config, folder))
    return found | {"peak_mib": peak_mib()}


def _child(*arguments: str, smoke: bool = False) -> str:
    return output_of("benchmarks.quality.compare_schemes", arguments, smoke=smoke)


if __name__ == "__main__":
    main()
