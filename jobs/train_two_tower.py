"""A model version: two towers trained on the training examples of the window that ends with the day.

Pins the versions of its inputs, hands their files to a trainer process (`python -m model.training.fit`), and puts the
model folder it leaves under models/ in the lake. With `training.retrain_every_days` the days between go on with
the last model. Overwrites the day of model_versions.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.cli.arguments import job_parser
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.config.loading import Config
from jobs.inference.references import MODELS, model_path
from jobs.lake import tables
from jobs.lake.files import local_path, put_folder
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import require_trainable_day
from jobs.training.specs import model_to_keep, training_order
from jobs.training.tracking import record_training
from model.artifacts.model_version import MANIFEST


class TrainingFailed(ValueError):
    """The trainer process ended without a model."""


def arg_parser() -> argparse.ArgumentParser:
    return job_parser(__doc__, variant=True)


def train(lake: Lake, config: Config, order: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the trainer, in as many processes as configured; returns the manifest of the model that it left in `folder`.

    Its checkpoints lie in the lake, where that is a local or mounted folder: a run that is begun again goes on.
    Raises TrainingFailed where it ends without a model.
    """
    version, ranks, launch = order["model_version"], config.training.ranks, config.training.launch
    kept = checkpoints(lake, version) or folder / "checkpoints"
    placed = {**order, "folder": str(folder / "model"), "checkpoints": str(kept)}
    text = json.dumps(placed, default=str)
    if launch == "process":
        code = _in_processes(text, folder, ranks)
    else:
        code = _by_spark(text, ranks, on_driver=launch == "spark_driver", use_gpu=config.training.device == "cuda")
    if code:
        raise TrainingFailed(f"the trainer of {version} ended with exit code {code}")
    return json.loads((folder / "model" / MANIFEST).read_text("utf-8"))


def checkpoints(lake: Lake, version: str) -> Path | None:
    """Where those of a model version lie; None for a lake that is no folder."""
    return local_path(lake.spark, lake.model_path("checkpoints", version))


def _in_processes(order: str, folder: Path, ranks: int) -> int:
    """Exit code of the trainer on this machine."""
    file = folder / "order.json"
    file.write_text(order, "utf-8")
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0"]
    # by PYTHONPATH, not by folder: the home may be a zip
    environment = {**os.environ, "PYTHONPATH": str(_home())}
    command = [sys.executable, "-P", *(several if ranks > 1 else []), "-m", "model.training.fit", str(file)]
    return subprocess.run(command, check=False, env=environment).returncode


def _by_spark(order: str, ranks: int, *, on_driver: bool, use_gpu: bool) -> int:
    """Exit code of the first rank, among those that Spark starts on the driver or on executors."""
    from pyspark.ml.torch.distributor import TorchDistributor

    from model.training.fit import train_text  # slow to import, and the other way needs neither

    distributor = TorchDistributor(ranks, local_mode=on_driver, use_gpu=use_gpu)
    return int(distributor.run(train_text, order) or 0)


def _shared(lake: Lake, config: Config) -> Path | None:
    """The folder in which executors and the driver find the same files; None where only this machine is to.

    Raises ValueError where there is none.
    """
    if config.training.launch != "spark_executors":
        return None
    folder = local_path(lake.spark, lake.model_path(MODELS))
    if folder is None:
        raise ValueError(f"training.launch spark_executors wants a lake that every machine mounts, got {lake.uri}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _home() -> Path:
    return Path(__file__).resolve().parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    args = arg_parser().parse_args(argv)
    lake, config = open_lake(args, "train_two_tower")
    require_trainable_day(lake, args.ds)
    if (kept := model_to_keep(lake, config, args.ds)) is not None:
        print(
            f"the model of {kept.trained_on} goes on: "
            f"training.retrain_every_days is {config.training.retrain_every_days}",
            flush=True,
        )
        lake.overwrite(tables.MODEL_VERSIONS, args.ds, lake.spark.createDataFrame([kept], tables.MODEL_VERSIONS.schema))
        return int(kept.training_rows)
    order = training_order(lake, config, args.ds)
    with tempfile.TemporaryDirectory(prefix=".batch-recall-", dir=_shared(lake, config)) as folder:
        manifest = train(lake, config, order, Path(folder))
        put_folder(lake.spark, Path(folder) / "model", model_path(lake, order["model_version"]))
    metrics, examples_version = manifest["metrics"], order["inputs"]["versions"]["training_examples"]
    row = (
        args.ds,
        order["model_version"],
        args.ds,
        metrics["training_rows"],
        examples_version,
        metrics["seconds"],
        metrics["final_loss"],
    )
    rows = lake.spark.createDataFrame([row], tables.MODEL_VERSIONS.schema)
    lake.overwrite(tables.MODEL_VERSIONS, args.ds, rows)
    record_training(lake, config, manifest)
    shutil.rmtree(checkpoints(lake, order["model_version"]) or folder, ignore_errors=True)
    return int(metrics["training_rows"])


if __name__ == "__main__":
    run(main)
