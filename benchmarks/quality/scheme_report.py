"""The report of a comparison of schemes: a table in RESULTS.md, and a plot of recall against training time."""

from __future__ import annotations

import datetime as dt
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.quality.measure import AT, Evaluator
from benchmarks.quality.scheme_sets import SCHEMES, SchemeSet

RESULTS = Path(__file__).resolve().parents[1] / "RESULTS.md"
COLUMNS = {  # name in the results: heading
    "recall@20": "Recall@20",
    "ndcg@20": "NDCG@20",
    "recall@100": "Recall@100",
    "recall@100_head": "head",
    "recall@100_tail": "tail",
    "tail_among_tail": "tail among tail",
    "recall@100_cold": "recall@100 of never-clicked items",
    "never_clicked_share@20": "never clicked in top 20",
    "never_clicked_share": "never clicked in top 100",
    "cold_coverage": "never-clicked items shown",
    "rows_per_second": "examples/s",
    "peak_mib": "peak MiB",
}
WHOLE = ("rows_per_second", "peak_mib")  # printed without decimals and without a deviation
Line = Mapping[str, Any]


def write_report(chosen: SchemeSet, lines: Sequence[Line], test: Path, results: Path = RESULTS) -> None:
    """Replace the set's part of `results` and draw its plot, from the runs on the test part."""
    runs: dict[str, list[Line]] = {}
    for line in lines:
        if line["part"] == "test":
            runs.setdefault(line["scheme"], []).append(line)
    if not runs:
        print(f"{chosen.name}: no run on the test part yet")
        return
    plot = results.with_name("plots") / f"schemes_{chosen.name}.svg"
    plot.parent.mkdir(exist_ok=True)
    draw(chosen.title, runs, plot)
    text = f"{table(chosen, runs, Evaluator(test))}\n![]({plot.parent.name}/{plot.name})\n"
    replace_part(results, f"schemes {chosen.name}", text)


def table(chosen: SchemeSet, runs: Mapping[str, list[Line]], evaluator: Evaluator) -> str:
    """A Markdown table with a row per scheme and a column per metric that all runs have."""
    rows: dict[str, Sequence[Line]] = {}
    if "oracle" in evaluator.users.column_names:
        rows["oracle"] = [evaluator.oracle()]
    rows["popularity"] = [evaluator.popularity()]
    for scheme in (scheme for scheme in chosen.schemes if scheme in runs):
        rows[f"{scheme} ({_settings(runs[scheme][0])})"] = runs[scheme]
        if "clicked_only" in runs[scheme][0]:
            rows[f"{scheme}, lists of clicked items only"] = [run["clicked_only"] for run in runs[scheme]]
    trained = [run for found in runs.values() for run in found]
    columns = [name for name in COLUMNS if all(not math.isnan(run.get(name, math.nan)) for run in trained)]
    seeds = max(len(found) for found in runs.values())
    users = f"{len(evaluator.users):,} users"
    least = ", ".join(f"{evaluator.least_never_clicked_share(k):.4f} (top {k})" for k in AT)
    return "\n".join(
        [
            f"{chosen.title}. Batch {chosen.batch_size:,}; {users}; {seeds} seeds; {dt.date.today()}.",
            f"Never-clicked items are at least {least} of any lists.",
            "",
            f"| scheme | {' | '.join(COLUMNS[name] for name in columns)} |",
            "|---" * (len(columns) + 1) + "|",
            *(f"| {label} | {' | '.join(cell(name, found) for name in columns)} |" for label, found in rows.items()),
            "",
        ]
    )


def _settings(run: Line) -> str:
    training = run["configuration"]["training"]
    epochs = "1 epoch" if training["epochs"] == 1 else f"{training['epochs']} epochs"
    return f"τ {training['temperature']:g}, rate {training['learning_rate']:g}, {epochs}"


def cell(name: str, runs: Sequence[Line]) -> str:
    """Mean and, of several runs, standard deviation; empty if a run lacks the metric."""
    values = [run.get(name, math.nan) for run in runs]
    mean = statistics.mean(values)
    if math.isnan(mean):
        return ""
    if name in WHOLE:
        return f"{mean:,.0f}"
    return f"{mean:.4f} ± {statistics.stdev(values):.4f}" if len(values) > 1 else f"{mean:.4f}"


def draw(title: str, runs: Mapping[str, list[Line]], file: Path) -> None:
    """Recall@20 on the test part after each epoch against the seconds of training, the mean over the seeds."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for scheme, found in runs.items():
        epochs = zip(*(run["curve"] for run in found), strict=False)
        points = [
            (statistics.mean(point[1] for point in epoch), statistics.mean(point[2] for point in epoch))
            for epoch in epochs
        ]
        colour = f"C{list(SCHEMES).index(scheme)}"  # the same colours on every set
        axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=scheme, color=colour)
    axes.set(xlabel="seconds of training (one thread)", ylabel="Recall@20", title=title, xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    with rc_context({"svg.hashsalt": file.stem, "svg.fonttype": "none"}):  # the same runs give the same file
        figure.savefig(file, metadata={"Date": None})


def replace_part(file: Path, name: str, text: str) -> None:
    """Replace the text between the comments that open and close the part; a new part goes to the end of the file."""
    opening, closing = f"<!-- {name} -->", f"<!-- end of {name} -->"
    part = f"{opening}\n{text}{closing}"
    old = file.read_text("utf-8")
    pattern = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", re.DOTALL)
    new = pattern.sub(lambda _: part, old) if pattern.search(old) else f"{old.rstrip()}\n\n{part}\n"
    file.write_text(new, "utf-8")
