"""A synthetic world, as the benchmarks of growth, skew, executors and the largest day measure it.

Its sizes, and what each job of its last day costs.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.memory import peak_mib, reset_peak
from benchmarks.tables.costs import Cost, cost, jvm_pid
from benchmarks.tables.process_tree import largest_worker_mib
from benchmarks.worlds.synthetic_log import SLATE, SyntheticLog
from jobs.cli.display import Display
from jobs.config.loading import load_config
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.run_day import DAY, TABLE_JOBS, run_day

FIRST = dt.date(2026, 1, 1)
REBUILT = "rebuild_days"  # under which the jobs of earlier days are counted
LOCAL = "local[2]"
WINDOW_DAYS = 2  # full on the first measured day of `benchmarks.growth`, so that a longer history adds no days to it
# Every job builds something; the model trains briefly; every index is built, and always the same one is searched, so
# that the faster of two does not change with the size; the gate lets random clicks pass.
CONFIG = """
[examples]
row_group_rows = 8192
[training]
epochs = 1
batch_size = 4096
threads = 2
[tracking]
uri = "none"
[index]
backend = "exact"
[scoring]
popular_quota = 10
explore_quota = 10
neighbour_quota = 10
[gate]
max_recall_drop = 1.0
max_last_pass_drop = 1.0
min_recall = 0.0
min_recall_over_popularity = 0.0
min_coverage = 0.0
max_never_clicked_share = 1.0
max_head_share = 1.0
max_short_list_share = 1.0
max_mean_cosine = 1.0
max_index_recall_drop = 1.0
[variants.mns]
training = { preset = "mns" }
"""


@dataclass(frozen=True)
class World:
    """impressions: of a day. days: before the measured one, of which only tables are built.

    hot_item, hot_user: the share of a day's rows that one item, or one user, has. max_impressions_per_user: above
    which a user is set aside; 0: nobody is.
    """

    users: int
    items: int
    impressions: int
    days: int = 1
    hot_item: float = 0.0
    hot_user: float = 0.0
    max_impressions_per_user: int = 0

    def grown(self, axes: Sequence[str], factor: int) -> World:
        """The world whose sizes in `axes` are `factor` times as large."""
        return replace(self, **{axis: getattr(self, axis) * factor for axis in axes})

    def measured_days(self) -> list[int]:
        """After how many days a day is measured: 1, 2, 4 and so on, and the last one."""
        powers = (1 << power for power in range(self.days.bit_length()))
        return sorted({*(days for days in powers if days <= self.days), self.days})


@dataclass
class CostDisplay(Display):
    """Measures each job of `measured`, the day that is run, and all of earlier days together. jvm: its process."""

    measured: dt.date = FIRST
    jvm: int = 0
    measure: Callable[[Callable[[], object]], Cost] | None = None
    costs: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def step(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        if self.measure is None or day > self.measured:  # the interactions of the day on which lists are evaluated
            return super().step(job, day, work)
        reset_peak()
        measured = self.measure(lambda: super(CostDisplay, self).step(job, day, work))
        # read after each job, since idle workers end after a minute
        peaks = {"driver_peak_mib": peak_mib(), "worker_peak_mib": largest_worker_mib(self.jvm)}
        found = {**asdict(measured), **peaks, "rows": float(self.steps[-1].rows)}
        self.costs.setdefault(job if day == self.measured else REBUILT, []).append(found)
        return self.steps[-1].rows


def summed(costs: Sequence[dict[str, float]]) -> dict[str, float]:
    """The costs of several jobs together; of largest task and peak memory the largest one."""
    largest = ("largest_task_seconds", "driver_peak_mib", "worker_peak_mib")
    return {name: (max if name in largest else sum)(one[name] for one in costs) for name in costs[0]}


def measure_world(
    world: World, lake_folder: Path | None = None, settings: str = CONFIG, master: str = LOCAL
) -> Iterator[dict[str, Any]]:
    """For each measured day: the world up to it, the costs of its jobs, and peak memory in MiB until then.

    The lists of a measured day are evaluated on the clicks of the next one, which has landed already. lake_folder: of
    the new lake; by default a temporary one. settings: the configuration, without the section [log]. master: of Spark.
    """
    spark = spark_session("growth", master)
    jvm = jvm_pid(spark)
    with tempfile.TemporaryDirectory(prefix="growth-") as folder:
        file = Path(folder) / "growth.toml"
        log = f"examples_window_days = {WINDOW_DAYS}\nmax_impressions_per_user = {world.max_impressions_per_user}"
        file.write_text(f"{settings}\n[log]\n{log}\n", "utf-8")
        lake, config = Lake(spark, str(lake_folder or f"{folder}/lake")), load_config(file)
        synthetic = SyntheticLog(world.impressions // SLATE, world.users, world.items, world.hot_item, world.hot_user)
        shared = ["--lake", lake.uri, "--config", str(file)]
        synthetic.land(lake, config, FIRST, first=True)
        for number in range(world.days + 1):
            ds = FIRST + dt.timedelta(days=number)
            synthetic.land(lake, config, following := ds + dt.timedelta(days=1), first=False)
            display = CostDisplay(str(ds), Console(stderr=True, highlight=False, soft_wrap=True), measured=ds, jvm=jvm)
            if number not in world.measured_days():
                run_day(lake, config, ds, shared, display, jobs=TABLE_JOBS)
                continue
            display.measure = partial(cost, spark)
            run_day(lake, config, ds, shared, display, jobs=DAY, against=[following])
            jobs = {job: summed(found) for job, found in display.costs.items()}
            peaks = {name: max(job[f"{name}_peak_mib"] for job in jobs.values()) for name in ("driver", "worker")}
            peaks["jvm"] = peak_mib(jvm)
            yield {"world": asdict(replace(world, days=number)), "jobs": jobs, "peak_mib": peaks}
