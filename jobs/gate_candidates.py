"""gate: whether a day's candidates are fit for readers, rule by rule.

Recall of the held-out last day beside that of the published model and of popularity on the same clicks; coverage and
shares of the lists; towers that have collapsed; recall of the searched index; rows that training lost; age of inputs.
Clicks that recall goes by are outcomes that no longer change. What is judged are the versions that are newest when
the job begins, and verdicts name the model and the time of the lists in them. Overwrites the day; a rule that fails
ends the job with `error [gate]`, and the day is not published.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Row
from pyspark.sql import functions as F

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items
from jobs.inference.item_slices import item_slices
from jobs.inference.manifests import required_manifest
from jobs.inference.references import model_row
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.raw_log.preconditions import DayStopped
from jobs.serving.publications import last_scored_at, newest_versions

SAMPLED = 100_000  # vectors whose mean cosine is taken
RECALL, RECALL_OF_THE_FIRST = "recall@100", "recall@10"  # popularity fills long lists of a small catalogue too


@dataclass(frozen=True)
class Verdict:
    """A rule and the number that it looks at, which has to lie within its bounds; None was not measured.

    That passes only where it is not `needed`: configuration has chosen so, or there is nothing to compare with.
    """

    rule: str
    value: float | None
    least: float | None = None
    most: float | None = None
    needed: bool = True

    @property
    def passed(self) -> bool:
        if self.value is None:
            return not self.needed
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        bound, side = (self.most, "most") if self.least is None else (self.least, "least")
        if self.value is None or bound is None:
            return f"{self.rule}: not measured{'' if self.passed else ', and it has to be'}"
        missed = "" if self.passed else f", off by {abs(self.value - bound):.4g}"
        return f"{self.rule} is {self.value:.4g}, wanted at {side} {bound:.4g}{missed}"


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def of_training(lake: Lake, config: Config, ds: dt.date, row: Row) -> list[Verdict]:
    """Recall on the held-out day, rows read, and the age of what was read; `row` is the day's of model_versions."""
    found, gate = required_manifest(lake, row.model_version)["metrics"], config.gate
    measured, popular = found["validation"] or {}, (found.get("popularity") or {}).get(RECALL_OF_THE_FIRST)
    last = lake.read(tables.PUBLICATIONS).where(F.col("ds") < F.lit(ds)).orderBy(F.desc("publication")).first()
    published = required_manifest(lake, last.model_version)["metrics"] if last is not None else {}
    before = (published.get("validation") or {}).get(RECALL)
    examples = lake.window(tables.training_examples(config), ds, config.log.examples_window_days)
    pinned = lake.read(tables.training_examples(config), version=row.training_examples_version)
    first = row.trained_on - dt.timedelta(days=config.log.examples_window_days - 1)
    read = pinned.where(F.col("ds").between(F.lit(first), F.lit(row.trained_on)))
    window = read.agg(F.count(F.lit(1)).alias("rows"), F.min("ds").alias("first")).first()
    assert window is not None  # it is an aggregate
    lost = window.rows - row.training_rows
    # with days before the last one training has one to hold out
    needed = config.training.validation == "last_day" and (window.first or row.trained_on) < row.trained_on
    newest = examples.agg(F.max("ds")).first()[0]  # type: ignore[index]
    floor = None if popular is None else gate.min_recall_over_popularity * popular
    return [
        Verdict(
            "recall_over_popularity",
            None if floor is None else measured.get(RECALL_OF_THE_FIRST),
            least=floor,
            needed=needed,
        ),
        Verdict(
            "recall_of_published",
            None if before is None else measured.get(RECALL),
            least=None if before is None else (1 - gate.max_recall_drop) * before,
            needed=needed and before is not None,
        ),
        Verdict("training_rows_lost", float(abs(lost)), most=0.0),
        Verdict("input_age_days", float((ds - newest).days), most=float(gate.max_input_age_days)),
        Verdict(
            "model_age_days", float((ds - row.trained_on).days), most=float(config.training.retrain_every_days - 1)
        ),
    ]


def of_lists(lake: Lake, config: Config, ds: dt.date, versions: Mapping[str, int]) -> list[Verdict]:
    """What the lists are made of."""
    gate, k, spark = config.gate, config.scoring.candidates_per_user, lake.spark
    rows = lake.required_day(tables.CANDIDATES, ds, version=versions["candidates_version"])
    frames = {
        "lists": rows.select("user_id", F.col("candidates.item_id").alias("item_ids")),
        "item_slices": item_slices(lake, config, ds),
        "item_snapshot": eligible_items(lake, config, ds),
    }
    metrics = query(spark, "evaluation/list_metrics", frames, k=k).collect()  # five rows
    found = {(row.metric, row.slice): row.value for row in metrics}
    short = query(spark, "gate/lists", {"candidates": rows}, k=k).first()
    assert short is not None  # it is an aggregate
    return [
        Verdict(
            "coverage", found.get(("item_coverage", "all")), least=gate.min_coverage
        ),  # None where no list has an item
        Verdict("never_clicked_share", found.get(("never_clicked_share", "all")), most=gate.max_never_clicked_share),
        Verdict("head_share", found.get(("list_share", "head")), most=gate.max_head_share),
        Verdict("short_lists", short.short_lists, most=gate.max_short_list_share),
    ]


def of_vectors(lake: Lake, config: Config, ds: dt.date, versions: Mapping[str, int]) -> list[Verdict]:
    """Whether the towers tell users and items apart, and the index finds what it should."""
    verdicts = []
    for side, table in (("user", tables.USER_EMBEDDINGS), ("item", tables.ITEM_EMBEDDINGS)):
        rows = lake.required_day(table, ds, version=versions[f"{table.name}_version"])
        rows = rows.select(F.col(f"{side}_id").alias("id"), "embedding")
        one_in = max(rows.count() // SAMPLED, 1)
        cosine = query(lake.spark, "gate/mean_cosine", {"vectors": rows}, one_in=one_in).first()
        assert cosine is not None  # it is an aggregate
        verdicts.append(Verdict(f"{side}_mean_cosine", cosine[0], most=config.gate.max_mean_cosine))
    index = lake.day(tables.ITEM_INDEXES, ds).where("is_chosen").first()
    assert index is not None  # scoring has searched it
    least = config.index.recall_target - config.gate.max_index_recall_drop
    return [*verdicts, Verdict("index_recall", index.recall, least=least)]


def write(lake: Lake, ds: dt.date, verdicts: Sequence[Verdict], model: str, scored_at: dt.datetime | None) -> None:
    """Put the verdicts, with the model and the time of the lists that they are about."""
    rows = [(ds, v.rule, v.value, v.least, v.most, v.passed, model, scored_at) for v in verdicts]
    lake.overwrite(tables.GATE, ds, lake.spark.createDataFrame(rows, tables.GATE.schema))


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "gate_candidates")
    row, versions = model_row(lake, args.ds), newest_versions(lake)
    scored_at = last_scored_at(lake, args.ds, versions["candidates_version"])
    verdicts = of_training(lake, config, args.ds, row)
    verdicts += [verdict for part in (of_lists, of_vectors) for verdict in part(lake, config, args.ds, versions)]
    write(lake, args.ds, verdicts, row.model_version, scored_at)
    for verdict in verdicts:
        print(f"gate: {'ok    ' if verdict.passed else 'FAILED'} {verdict}", flush=True)
    if failed := [str(verdict) for verdict in verdicts if not verdict.passed]:
        raise DayStopped("gate", f"{args.ds} is not published: " + "; ".join(failed))
    return len(verdicts)


if __name__ == "__main__":
    run(main)
