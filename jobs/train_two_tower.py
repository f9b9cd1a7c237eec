"""model_versions: two towers trained on the training examples of the window that ends with the day.

Pins the versions of its inputs, runs a trainer process on their files (`python -m model.training.fit`), and puts the
model folder under models/ in the lake. With `training.retrain_every_days` above 1, a model is used for several days and
is trained only on the first of them. Overwrites the day of model_versions.
"""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import require_trainable_day
from jobs.training.earlier_models import reusable_model
from jobs.training.launch import remove_checkpoints, train
from jobs.training.spec import training_spec
from jobs.training.tracking import record_training
from jobs.tuning.adoption.records import require_settings_chosen
from model.training.processes.lines import say


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def model_versions(spark: SparkSession, ds: dt.date, manifest: Mapping[str, Any]) -> DataFrame:
    """The day's row, from the manifest of the model trained on it."""
    metrics, versions = manifest["metrics"], manifest["inputs"]["versions"]
    row = (
        ds,
        manifest["model_version"],
        ds,
        metrics["training_rows"],
        versions["training_examples"],
        metrics["seconds"],
        metrics["final_loss"],
    )
    return spark.createDataFrame([row], tables.MODEL_VERSIONS.schema)


def require_ready(lake: Lake, ds: dt.date) -> None:
    """Raises DayStopped if a day cannot be trained on, SettingsNotChosen if its settings have not been decided."""
    require_trainable_day(lake, ds)
    require_settings_chosen(lake, ds)


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "train_two_tower", uses_adopted=True)
    require_ready(lake, args.ds)
    if (reused := reusable_model(lake, config, args.ds)) is not None:
        every = config.training.retrain_every_days
        say(f"the model of {reused.trained_on} is reused: training.retrain_every_days is {every}")
        rows = lake.spark.createDataFrame([reused], tables.MODEL_VERSIONS.schema)
        lake.overwrite(tables.MODEL_VERSIONS, args.ds, rows)
        return int(reused.training_rows)
    manifest = train(lake, config, training_spec(lake, config, args.ds))
    lake.overwrite(tables.MODEL_VERSIONS, args.ds, model_versions(lake.spark, args.ds, manifest))
    record_training(lake, config, manifest)
    remove_checkpoints(lake, manifest["model_version"])
    return int(manifest["metrics"]["training_rows"])


if __name__ == "__main__":
    run(main)
