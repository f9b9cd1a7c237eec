"""Runs the trainer: as processes on this machine, or as ranks that Spark starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.config.loading import Config
from jobs.inference.references import MODELS, model_path
from jobs.lake.files import put_folder
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from model.artifacts.formats import MODEL
from model.training.spec import TrainingSpec

SPEC_FILE = "training_spec.json"


class TrainingFailed(ValueError):
    """The trainer process ended without a model."""


def train(lake: Lake, config: Config, spec: TrainingSpec) -> dict[str, Any]:
    """Run the trainer and put the model folder into the lake; returns the model's manifest.

    Checkpoints are stored in the lake if it is on a local or mounted disk; a run that is started again then continues.
    Raises TrainingFailed if the trainer ends without a model.
    """
    version = spec.run.model_version
    checkpoints = checkpoint_folder(lake, version)
    with tempfile.TemporaryDirectory(prefix=".batch-recall-", dir=_shared_folder(lake, config)) as text:
        folder = Path(text)
        placed = spec.in_folders(folder / "model", checkpoints or folder / "checkpoints")
        if code := _launch(lake, placed, config, folder):
            raise TrainingFailed(f"the trainer of {version} ended with exit code {code}")
        manifest: dict[str, Any] = json.loads((folder / "model" / MODEL.manifest).read_text("utf-8"))
        put_folder(lake.spark, folder / "model", model_path(lake, version))
    return manifest


def checkpoint_folder(lake: Lake, version: str) -> Path | None:
    """The folder of a model version's checkpoints; None for a lake that is not on a local or mounted disk."""
    return local_path(lake.model_path("checkpoints", version))


def remove_checkpoints(lake: Lake, version: str) -> None:
    folder = checkpoint_folder(lake, version)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _launch(lake: Lake, spec: TrainingSpec, config: Config, folder: Path) -> int:
    """Run the trainer as `training.launch` says; returns its exit code."""
    text, ranks, launch = json.dumps(spec.to_json()), config.training.ranks, config.training.launch
    if launch == "process":
        return _in_processes(text, folder, ranks)
    on_driver = launch == "spark_driver"
    settings = dict(lake.spark.sparkContext.getConf().getAll())
    use_gpu = uses_spark_gpus(settings, config.training.device, on_driver=on_driver)
    return _by_spark(text, ranks, on_driver=on_driver, use_gpu=use_gpu)


def uses_spark_gpus(settings: Mapping[str, str], device: str, *, on_driver: bool) -> bool:
    """Whether the ranks get the GPUs that Spark was given; settings: of Spark.

    Ranks on executors see no other GPU, so a note is printed if `auto` leaves them with CPUs. Raises ValueError if
    Spark was given no GPU for `cuda`, or a part of one.
    """
    key = "spark.driver.resource.gpu.amount" if on_driver else "spark.task.resource.gpu.amount"
    amount = settings.get(key, "0")
    if device == "auto" and amount == "0" and not on_driver:
        print(f"note: the ranks train on CPUs, because {key} is not set; see docs/cluster.md, A trainer with a GPU")
    if device == "cpu" or (device == "auto" and amount == "0"):
        return False
    if not amount.isdecimal() or int(amount) < 1:
        raise ValueError(f"{key} must be a whole number of at least 1 to train on GPUs, got {amount}")
    return True


def _in_processes(spec: str, folder: Path, ranks: int) -> int:
    """Run the trainer on this machine, with torchrun for several ranks; returns the exit code."""
    file = folder / SPEC_FILE
    file.write_text(spec, "utf-8")
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}", "--max-restarts=0"]
    # PYTHONPATH instead of the working directory: the code may be in a zip; modules of extensions come after it
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-P", *(torchrun if ranks > 1 else []), "-m", "model.training.fit", str(file)]
    return subprocess.run(command, check=False, env=environment).returncode


def _by_spark(spec: str, ranks: int, *, on_driver: bool, use_gpu: bool) -> int:
    """Run the trainer as ranks that Spark starts, on the driver or on executors; returns the exit code of rank 0."""
    from pyspark.ml.torch.distributor import TorchDistributor

    from model.training.fit import train_json  # imported here because it loads torch

    distributor = TorchDistributor(ranks, local_mode=on_driver, use_gpu=use_gpu)
    return int(distributor.run(train_json, spec) or 0)


def _shared_folder(lake: Lake, config: Config) -> Path | None:
    """A folder that the driver and the executors share; None (use a local temporary one) if only this machine trains.

    Raises ValueError if there is no such folder.
    """
    if config.training.launch != "spark_executors":
        return None
    folder = local_path(lake.model_path(MODELS))
    if folder is None:
        raise ValueError(
            f'training.launch = "spark_executors" requires a lake that every machine mounts, got {lake.uri}'
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
