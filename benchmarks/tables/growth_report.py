"""The report of `benchmarks.growth`: how each job's cost grows along each axis, what a million costs, and the plots.

The CPU time of a job is that of its tasks and of its Python processes: the JVM's compilation and planning, which do not
depend on the size, are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.tables.growth_world import World

BOUND = 1.1  # of linear growth
# Figures that are judged, and from which difference to the bound on (in their unit) they are marked: less is noise.
MIN_EXCESS = {"work_cpu_seconds": 0.5, "shuffled_mb": 1.0}
MIN_DIFFERENCE = {"work_cpu_seconds": 0.5, "shuffled_mb": 0.14}  # of two worlds: less is between two runs of one, too
MIN_DRAWN = 0.1  # CPU seconds
AXES: dict[str, tuple[str, ...]] = {  # the sizes that grow, all others stay as they are
    "users": ("users",),
    "items": ("items",),
    "rows": ("impressions",),
    "users and rows": ("users", "impressions"),
    "history": ("days",),
}
FLAT = ("history",)  # axes along which a day must cost the same
PER_MILLION = ("users", "items", "rows")
Figures = Mapping[str, float]
Curve = dict[int, dict[str, dict[str, float]]]  # factor: job: figure


def figures(job: Figures) -> dict[str, float]:
    """The figures of a job that the report shows, from what was measured."""
    return {
        "work_cpu_seconds": job["task_cpu_seconds"] + job["python_cpu_seconds"],
        "shuffled_mb": job["shuffled_bytes"] / 1e6,
        "spilled_mb": job["spilled_bytes"] / 1e6,
        "largest_task_seconds": job["largest_task_seconds"],
        "seconds": job["seconds"],
        "driver_peak_mib": job["driver_peak_mib"],
    }


def curve(lines: Sequence[Mapping[str, Any]], base: World, axis: str, factors: Sequence[int]) -> Curve:
    """The figures along an axis, of the worlds that were measured; of one that was measured again, the last ones.

    The process of a long history also measures its first days, which are worlds of their own. Along an axis of FLAT
    they are compared with its later days; along the others they count only if the world has no process of its own.
    """
    if axis not in FLAT:
        lines = [line for _, line in sorted(zip(_are_last_days(lines), lines, strict=True), key=itemgetter(0))]
    measured = {World(**line["world"]): line["jobs"] for line in lines}
    worlds = {factor: base.grown(AXES[axis], factor) for factor in sorted(factors)}
    return {
        factor: {job: figures(found) for job, found in measured[world].items()}
        for factor, world in worlds.items()
        if world in measured
    }


def _are_last_days(lines: Sequence[Mapping[str, Any]]) -> list[bool]:
    """Whether each line is the last one of its process, whose lines follow each other, with more and more days."""
    worlds = [World(**line["world"]) for line in lines]
    goes_on = [
        following.days > world.days and following == replace(world, days=following.days)
        for world, following in pairwise(worlds)
    ]
    return [not further for further in [*goes_on, False][: len(lines)]]


def _expected_growth(axis: str, first: int, factor: int) -> float:
    """How many times the cost at the factor `first` is expected at `factor`."""
    return 1 if axis in FLAT else factor / first


def of_linear(values: Mapping[int, float], axis: str, *, last_step: bool = False) -> float | None:
    """The cost at the largest factor, relative to linear growth from the smallest one (or from the one before it).

    Along an axis of FLAT, relative to no growth. None if there is nothing to compare with.
    """
    *before, largest = sorted(values)
    if not before or not values[before[-1 if last_step else 0]]:
        return None
    first = before[-1 if last_step else 0]
    return values[largest] / (values[first] * _expected_growth(axis, first, largest))


def is_too_steep(values: Mapping[int, float], axis: str, figure: str) -> bool:
    """Whether a figure grows faster than BOUND, over all sizes or in the last step, by more than noise."""
    *before, largest = sorted(values)
    for first in {before[0], before[-1]} if before else ():
        allowed = BOUND * values[first] * _expected_growth(axis, first, largest)
        if values[largest] - allowed > MIN_EXCESS[figure]:
            return True
    return False


def axis_table(found: Curve, axis: str) -> str:
    """A Markdown table with a row per job: its figures, and how they relate to linear growth."""
    factors = sorted(found)
    first, last = factors[0], factors[-1]
    cpu = " | ".join(f"×{factor}" for factor in factors)
    rest = ("MB shuffled", "MB spilled", "largest task, s", "seconds")
    heading = f"| job | CPU s {cpu} | of {_expected(axis)} | last step | "
    heading += " | ".join(f"{name} ×{first} | ×{last}" for name in rest) + f" | MB, of {_expected(axis)} |"
    rows = [heading, "|---" * (len(factors) + 12) + "|"]
    for job in found[last]:
        figures_of = {f: found[f][job] for f in factors if job in found[f]}
        values = {figure: {f: one[figure] for f, one in figures_of.items()} for figure in found[last][job]}
        work = values["work_cpu_seconds"]
        cells = [job, *(f"{work[f]:.2f}" if f in work else "" for f in factors)]
        mark = is_too_steep(work, axis, "work_cpu_seconds")
        cells += [_ratio(of_linear(work, axis), mark), _ratio(of_linear(work, axis, last_step=True), mark)]
        for figure, digits in (("shuffled_mb", 1), ("spilled_mb", 1), ("largest_task_seconds", 2), ("seconds", 1)):
            found_at = values[figure]
            cells += [f"{found_at[f]:,.{digits}f}" if f in found_at else "" for f in (first, last)]
        shuffled = values["shuffled_mb"]
        cells.append(_ratio(of_linear(shuffled, axis), is_too_steep(shuffled, axis, "shuffled_mb")))
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _expected(axis: str) -> str:
    return "no growth" if axis in FLAT else "linear"


def _ratio(value: float | None, mark: bool) -> str:
    text = "" if value is None else f"{value:.2f}"
    return f"**{text}**" if mark else text


def too_steep(curves: Mapping[str, Curve]) -> list[str]:
    """One line per job, axis and figure that grows faster than BOUND."""
    found = []
    for axis, points in curves.items():
        for job in points[max(points)]:
            for figure in MIN_EXCESS:
                values = {factor: jobs[job][figure] for factor, jobs in points.items() if job in jobs}
                if is_too_steep(values, axis, figure):
                    shown = ", ".join(f"×{factor} {value:,.2f}" for factor, value in values.items())
                    found.append(f"{job}, {axis}: {figure} {shown}")
    return found


def per_million(curves: Mapping[str, Curve], base: World) -> str:
    """A Markdown table: CPU seconds and MB shuffled that a further million users, items or rows cost each job.

    A cell is empty if the worlds differ by less than MIN_DIFFERENCE.
    """
    axes = [axis for axis in PER_MILLION if len(curves.get(axis, {})) > 1]
    heading = "| job | " + " | ".join(f"CPU s per million {axis} | MB shuffled" for axis in axes) + " |"
    rows = [heading, "|---" * (1 + 2 * len(axes)) + "|"]
    jobs = list(curves[axes[0]][max(curves[axes[0]])]) if axes else []
    for job in jobs:
        cells = [job]
        for axis in axes:
            points = {factor: found[job] for factor, found in curves[axis].items() if job in found}
            millions = getattr(base, AXES[axis][0]) * (max(points) - min(points)) / 1e6
            for figure in ("work_cpu_seconds", "shuffled_mb"):
                more = points[max(points)][figure] - points[min(points)][figure]
                cells.append(f"{more / millions:,.3g}" if more >= MIN_DIFFERENCE[figure] else "")
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def all_axes(curves: Mapping[str, Curve]) -> str:
    """A Markdown table: what each job costs in the smallest world, and in the largest one of each axis."""
    if not curves:
        return ""
    smallest = curves[min(curves, key=lambda axis: axis in FLAT)]
    first = min(smallest)
    worlds = {f"×{first}": smallest[first]}
    worlds |= {f"{axis} ×{max(points)}": points[max(points)] for axis, points in curves.items()}
    columns = {
        f"{label}, {name}": {job: found[figure] for job, found in jobs.items()}
        for label, figure in (("CPU s", "work_cpu_seconds"), ("MB shuffled", "shuffled_mb"))
        for name, jobs in worlds.items()
    }
    rows = [f"| job | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for job in worlds[f"×{first}"]:
        cells = [f"{values[job]:,.1f}" if job in values else "" for values in columns.values()]
        rows.append(f"| {job} | {' | '.join(cells)} |")
    rows.append(f"| all | {' | '.join(f'{sum(values.values()):,.1f}' for values in columns.values())} |")
    return "\n".join(rows)


def worth_drawing(curves: Mapping[str, Curve]) -> list[str]:
    """The jobs that take MIN_DRAWN CPU seconds in some world."""
    points = [found for curve in curves.values() for found in curve.values()]
    jobs = dict.fromkeys(job for found in points for job in found)
    most = {job: max(found[job]["work_cpu_seconds"] for found in points if job in found) for job in jobs}
    return [job for job in jobs if most[job] >= MIN_DRAWN]


def draw(job: str, curves: Mapping[str, Curve], file: Path) -> None:
    """A panel per axis: the job's cost relative to that of the smallest world, and the bound, on logarithmic axes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = {"work_cpu_seconds": "CPU time", "shuffled_mb": "shuffled bytes", "largest_task_seconds": "largest task"}
    figure = Figure(figsize=(2.4 * len(curves), 2.6), layout="constrained")
    for panel, (axis, points) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        factors = sorted(factor for factor in points if job in points[factor])
        for name, label in shown.items():
            values = [points[factor][job][name] for factor in factors]
            if values and values[0] > 0:
                panel.plot(factors, [value / values[0] for value in values], marker="o", markersize=3, label=label)
        bound = [BOUND * _expected_growth(axis, 1, factor) for factor in factors]
        panel.plot(factors, bound, color="grey", linestyle="--", linewidth=1, label=f"{BOUND} of {_expected(axis)}")
        panel.set(xscale="log", yscale="log", title=axis, xlabel="times the size", xlim=(0.9, 9), ylim=(0.4, 12))
        for ticks in (panel.set_xticks, panel.set_yticks):
            ticks([1, 2, 4, 8], labels=["1", "2", "4", "8"])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    figure.axes[0].set_ylabel("times the cost")
    figure.axes[0].legend(fontsize="xx-small")
    figure.suptitle(job, fontsize="medium")
    file.parent.mkdir(parents=True, exist_ok=True)
    with rc_context({"svg.hashsalt": file.stem, "svg.fonttype": "none"}):  # the same runs give the same file
        figure.savefig(file, metadata={"Date": None})
