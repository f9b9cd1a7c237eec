"""Rows per second of each table's job, compared with a bare Spark read, join and write of the same columns.

One large day is built after a first one. A bare job reads the same inputs, joins them on the same keys without any
other logic, and writes as many columns to Delta. Both take turns in one warm session. CPU time of the JVM and shuffled
bytes say how much work each is, also on a machine that others use.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.command_line import benchmark_parser, parse
from benchmarks.tables.costs import cost, median
from benchmarks.worlds import WITH_POOL
from benchmarks.worlds.synthetic_log import SLATE, SyntheticLog
from jobs import (
    build_histories,
    build_interactions,
    build_item_counts,
    build_negative_pools,
    build_reconciliation,
    build_sampling_probs,
    build_snapshots,
    build_training_examples,
    build_window_counts,
)
from jobs.cli.display import Display
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from jobs.run_day import TABLE_JOBS, run_day

FIRST = dt.date(2026, 1, 1)
DAY = FIRST + dt.timedelta(days=1)


class Bare:
    """A bare counterpart of each job: its inputs, joined on its keys, with as many columns as it writes."""

    def __init__(self, lake: Lake) -> None:
        self.lake, self.config = lake, load_config()

    def day(self, table: tables.Table, ds: dt.date = DAY) -> DataFrame:
        return self.lake.day(table, ds)

    @property
    def items(self) -> DataFrame:
        vocabulary = self.lake.read(tables.VOCABULARIES).where("feature = 'item_id'")
        return vocabulary.select(F.col("value").alias("item_id"), F.col("index").alias("item_index"))

    def interactions(self) -> DataFrame:
        clicks = self.day(tables.CLICKS).select("impression_id", "clicked_at", "reward")
        joined = self.day(tables.IMPRESSIONS).join(clicks, "impression_id", "left")
        return joined.withColumns(
            {"clicked": F.col("clicked_at").isNotNull(), "final_at": F.col("impressed_at"), "examined": F.lit(True)}
        )

    def reconciliation(self) -> DataFrame:
        """Two days of impressions and of interactions, as the job reads."""
        shown = self.lake.window(tables.IMPRESSIONS, DAY, 2).drop("ds")
        kept = self.lake.window(tables.INTERACTIONS, DAY, 2).select("impression_id", "clicked_at", "outcome_final_at")
        joined = shown.join(kept, "impression_id", "full")
        counted = ("request_id", "user_id", "item_id", "position", "impressed_at", "clicked_at", "outcome_final_at")
        return joined.agg(*(F.count(name).alias(name) for name in counted))

    def snapshots(self) -> tuple[DataFrame, DataFrame]:
        """Users and items of the snapshot before, with a mark on those of the day."""
        known = [self.day(make(self.config), FIRST) for make in (tables.user_snapshot, tables.item_snapshot)]
        keys = ("user_id", "item_id")
        seen = [self.day(tables.INTERACTIONS).select(key).distinct().withColumn("today", F.lit(DAY)) for key in keys]
        users, items = (rows.join(today, key, "left") for rows, today, key in zip(known, seen, keys, strict=True))
        return users, items

    def training_examples(self) -> DataFrame:
        """Clicks with their request's items, their user's features and history."""
        shown = self.day(tables.INTERACTIONS)
        clicks = shown.where("clicked").join(self.items, "item_id")
        requests = (
            shown.join(self.items, "item_id").groupBy("request_id").agg(F.collect_list("item_index").alias("unclicked"))
        )
        users = self.day(tables.user_snapshot(self.config), FIRST).drop("ds")
        histories = self.day(tables.USER_HISTORIES, FIRST).select("user_id", "history")
        return clicks.join(requests, "request_id").join(users, "user_id").join(histories, "user_id", "left")

    def histories(self) -> DataFrame:
        clicks = self.day(tables.INTERACTIONS).where("clicked").join(self.items, "item_id")
        today = clicks.groupBy("user_id").agg(F.collect_list("item_index").alias("today"))
        return today.join(self.day(tables.USER_HISTORIES, FIRST), "user_id", "full")

    def item_counts(self) -> DataFrame:
        counts = (
            self.day(tables.INTERACTIONS)
            .groupBy("item_id")
            .agg(F.count("*").alias("n"), F.count("clicked_at").alias("clicks"))
        )
        return counts.join(self.items, "item_id")

    def window_counts(self) -> DataFrame:
        before = self.day(tables.WINDOW_ITEM_COUNTS, FIRST).select("item_id", "item_index", F.col("clicks").alias("c"))
        return before.join(self.day(tables.DAILY_ITEM_COUNTS).drop("item_index"), "item_id", "full")

    def negative_pools(self) -> DataFrame:
        counts = self.day(tables.WINDOW_ITEM_COUNTS).where("clicks = 0")
        return counts.join(self.day(tables.INTERACTIONS).groupBy("item_id").count(), "item_id", "left")

    def sampling_probs(self) -> DataFrame:
        counts = self.day(tables.WINDOW_ITEM_COUNTS).drop("ds", "item_index")
        items = self.day(tables.item_snapshot(self.config)).select("item_id", "item_index")
        return items.join(counts, "item_id", "left")


def main(argv: Sequence[str] | None = None) -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--impressions", type=int, default=2_000_000, help="of the day (default 2,000,000)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", help="only these")
    args = parse(parser, argv, impressions=400, rounds=1)
    log = SyntheticLog(args.impressions // SLATE, args.impressions // 20, args.impressions // 20, late=0.0)
    modules = {
        "interactions": build_interactions,
        "reconciliation": build_reconciliation,
        "snapshots": build_snapshots,
        "training_examples": build_training_examples,
        "histories": build_histories,
        "item_counts": build_item_counts,
        "window_counts": build_window_counts,
        "negative_pools": build_negative_pools,
        "sampling_probs": build_sampling_probs,
    }
    with tempfile.TemporaryDirectory(prefix="job-throughput-") as folder:
        lake = Lake(spark_session("job_throughput"), folder)
        for ds in (FIRST, DAY):
            log.land(lake, load_config(), ds, first=ds == FIRST)
            run_day(lake, load_config(), ds, ["--lake", folder], Display(str(ds)), jobs=TABLE_JOBS)
        bare = Bare(lake)

        def written(made: Callable[[], DataFrame | tuple[DataFrame, ...]]) -> None:
            rows = made()
            for number, part in enumerate(rows if isinstance(rows, tuple) else (rows,)):
                writer = part.write.format("delta").mode("overwrite").option("overwriteSchema", True)
                writer.save(f"{folder}/bare-{number}")

        print(f"\n{args.impressions:,} impressions a day\n")
        print("| job | rows a second | bare | ratio (at least .5) | CPU s | bare | ratio | MB shuffled | bare |")
        print("|---|---|---|---|---|---|---|---|---|")
        for name, module in ((name, module) for name, module in modules.items() if name in (args.jobs or modules)):
            command = ["--lake", folder, "--ds", str(DAY), "--config", str(WITH_POOL)]
            jobs, plains = [], []
            for _ in range(args.rounds + 1):
                jobs.append(cost(lake.spark, partial(module.main, command)))
                plains.append(cost(lake.spark, partial(written, getattr(bare, name))))
            job, plain = median(jobs[1:]), median(plains[1:])  # the first round warms up
            rates = " | ".join(f"{args.impressions / each.seconds:,.0f}" for each in (job, plain))
            cpu = f"{job.cpu_seconds:.1f} | {plain.cpu_seconds:.1f} | {plain.cpu_seconds / job.cpu_seconds:.2f}"
            shuffled = " | ".join(f"{each.shuffled_bytes / 1e6:,.0f}" for each in (job, plain))
            print(f"| {name} | {rates} | {plain.seconds / job.seconds:.2f} | {cpu} | {shuffled} |", flush=True)


if __name__ == "__main__":
    main()
