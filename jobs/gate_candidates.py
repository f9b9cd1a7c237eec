"""gate: whether a day's candidates may be published, one row per rule (jobs/serving/gate_rules.py).

Compares recall on the held-out last day with that of popularity on the same clicks, and with that of the model last
published before the day, on its own last day; and recall after the last pass, which trains on that day, with that
before it, on clicks of users whom it left out. Verdicts on recall say how many clicks they rest on. Also checks the
coverage and shares of the lists, that the towers have not collapsed, the recall of the searched index, that training
read every row, and the age of the model and its inputs.
Measures the newest versions of the tables when the job begins; the rows record the model version and the time of the
lists. Overwrites the day. If a rule fails, the job ends with `error [gate]` and the day is not published.
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
from collections.abc import Mapping, Sequence

from pyspark.sql import DataFrame, Row, SparkSession

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.references import model_row
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from jobs.serving.gate_measurements import list_measurements, training_measurements, vector_measurements
from jobs.serving.gate_rules import LIST_RULES, TRAINING_RULES, VECTOR_RULES
from jobs.serving.publications import last_scored_at, newest_versions
from jobs.serving.verdicts import Verdict
from model.training.processes.lines import say

MORE = "see docs/publication.md, The gate"


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__)


def gate_verdicts(lake: Lake, config: Config, ds: dt.date, model: Row, versions: Mapping[str, int]) -> list[Verdict]:
    """One verdict per rule on the day's model (its row of model_versions) and its lists at these versions."""
    training = training_measurements(lake, config, ds, model)
    lists = list_measurements(lake, config, ds, versions)
    vectors = vector_measurements(lake, config, ds, versions)
    return [
        *(rule(training, config) for rule in TRAINING_RULES),
        *(rule(lists, config) for rule in LIST_RULES),
        *(rule(vectors, config) for rule in VECTOR_RULES),
    ]


def gate(
    spark: SparkSession, verdicts: Sequence[Verdict], ds: dt.date, version: str, scored_at: dt.datetime | None
) -> DataFrame:
    """The rows of the table gate: the verdicts, with the model version and the time of the lists that they judge."""
    rows = [(ds, v.rule, v.value, v.min_value, v.max_value, v.passed, version, scored_at, *_noise(v)) for v in verdicts]
    return spark.createDataFrame(rows, tables.GATE.schema)


def _noise(verdict: Verdict) -> tuple[int | None, float | None, float | None]:
    """(clicks, low end, high end of the interval); None for a value that is not of clicks, and for infinite ends."""
    noise = verdict.noise
    if noise is None:
        return None, None, None
    low, high = (end if math.isfinite(end) else None for end in (noise.low, noise.high))
    return noise.clicks, low, high


def require_passed(ds: dt.date, verdicts: Sequence[Verdict]) -> None:
    """Print each verdict. Raises DayStopped `gate` that lists the rules that failed."""
    for verdict in verdicts:
        said = f"gate: {'ok    ' if verdict.passed else 'FAILED'} {verdict}"
        say(said, rule=verdict.rule, value=verdict.value, passed=verdict.passed)
    if failed := [str(verdict) for verdict in verdicts if not verdict.passed]:
        raise DayStopped("gate", f"{ds} is not published: {'; '.join(failed)}; {MORE}")


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "gate_candidates", uses_adopted=True)
    model, versions = model_row(lake, args.ds), newest_versions(lake)
    scored_at = last_scored_at(lake, args.ds, versions["candidates_version"])
    verdicts = gate_verdicts(lake, config, args.ds, model, versions)
    lake.overwrite(tables.GATE, args.ds, gate(lake.spark, verdicts, args.ds, model.model_version, scored_at))
    require_passed(args.ds, verdicts)
    return len(verdicts)


if __name__ == "__main__":
    run(main)
