"""Every scheme of negatives under the same budget, on three sets: what each is worth.

    python -m benchmarks.compare_schemes                 # all sets; hours on two cores, and it goes on where it stopped
    python -m benchmarks.compare_schemes --sets movielens --report-only

For each set and scheme, temperature, learning rate and number of epochs are chosen on a validation part of the training
data (one seed), by Recall@20 or, where both are published, by its sum with NDCG@20. The chosen setting is then trained
on all of it and judged on the test part with three seeds. Every training is a process of its own, so that its peak
memory is its own. Results are kept a line a run under --folder; the tables go into RESULTS.md, the plots beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.measure import measure, read_spec
from benchmarks.memory import peak_mib
from benchmarks.scheme_report import write_report
from benchmarks.scheme_sets import LARGER, SCHEMES, SETS, SchemeSet
from jobs.config.loading import Config, load_config, merge
from jobs.training.settings import spec_settings
from model.data.item_tables import read_files

SEEDS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--schemes", nargs="+", choices=sorted(SCHEMES), default=list(SCHEMES))
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/out"), help="where lakes and results are kept")
    parser.add_argument("--report-only", action="store_true", help="write the report from what has been run")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a single run, by the parent process
    parser.add_argument("--prepare", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(train_once(**json.loads(args.one))))
    elif args.prepare:
        SETS[args.prepare].prepare(args.folder)
    else:
        for name in args.sets:
            compare(SETS[name], args.schemes, args.folder, args.report_only)


def compare(chosen: SchemeSet, schemes: list[str], folder: Path, report_only: bool) -> None:
    if why_not := chosen.missing():
        print(f"{chosen.name}: skipped, {why_not}", flush=True)
        return
    results = Results(folder / f"schemes_{chosen.name}.jsonl")
    prepared = chosen.folders(folder)
    if not report_only:
        if not all((part / "relevant.parquet").exists() for part in prepared):
            _child("--prepare", chosen.name, "--folder", str(folder))
        for scheme in schemes:
            if scheme in chosen.schemes:
                _choose_and_test(chosen, scheme, prepared, results)
    write_report(chosen, results.lines, prepared[1])


def _choose_and_test(chosen: SchemeSet, scheme: str, prepared: tuple[Path, Path], results: Results) -> None:
    validation, test = prepared
    base = merge(chosen.configuration, SCHEMES[scheme])
    if scheme == "in_batch_8x":
        base = merge(base, {"training": {"batch_size": chosen.batch_size * LARGER}})

    def try_out(training: Mapping[str, Any]) -> dict[str, Any]:
        changed = merge(base, {"training": {**training, "seed": SEEDS[0]}})
        return results.of(scheme, "validation", validation, changed)

    tried = [try_out({"temperature": temperature}) for temperature in chosen.temperatures]
    best = max(tried, key=chosen.best_of)["configuration"]["training"]["temperature"]
    rate = chosen.configuration["training"]["learning_rate"]
    tried += [try_out({"temperature": best, "learning_rate": rate * factor}) for factor in chosen.rates]
    winner = max(tried, key=chosen.best_of)
    epochs = max(winner["curve"], key=chosen.value)[0]
    for seed in SEEDS:
        final = merge(winner["configuration"], {"training": {"epochs": epochs, "seed": seed}})
        results.of(scheme, "test", test, final)


class Results:
    """What has been run: a line of JSON each, found again by scheme, part and configuration."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []

    def of(self, scheme: str, part: str, prepared: Path, configuration: dict[str, Any]) -> dict[str, Any]:
        run = {"scheme": scheme, "part": part, "configuration": configuration}
        for line in self.lines:
            if all(line[key] == value for key, value in run.items()):
                return line
        asked = {"prepared": str(prepared), "configuration": configuration, "clicked_only": scheme == "in_batch"}
        line = run | json.loads(_child("--one", json.dumps(asked)).splitlines()[-1])
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
    """One training in this process, judged after each epoch; adds its peak memory in MiB."""
    folder = Path(prepared)
    config = Config.model_validate(merge(load_config().model_dump(), configuration))
    pool = read_files(read_spec(folder).data.probabilities.files)["p"].to_numpy()
    overrides = spec_settings(config, pool_is_empty=not pool.any())
    found = measure(folder, clicked_only, curve=True, overrides=overrides)
    return found | {"peak_mib": peak_mib()}


def _child(*arguments: str) -> str:
    command = [sys.executable, "-m", "benchmarks.compare_schemes", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
