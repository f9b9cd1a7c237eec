"""Runs the trainer: as processes on this machine, or as ranks that Spark starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.config.loading import Config
from jobs.inference.references import MODELS, model_path
from jobs.lake.files import put_folder, remove_folder
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from model.artifacts.formats import MODEL
from model.artifacts.stored_folders import StoredFolders
from model.training.processes.lines import say
from model.training.spec import RunSpec, TrainingSpec

SPEC_FILE = "training_spec.json"


class TrainingFailed(ValueError):
    """The trainer process ended without a model."""


def train(lake: Lake, config: Config, spec: TrainingSpec) -> dict[str, Any]:
    """Run the trainer and put the model folder into the lake; returns the model's manifest.

    Checkpoints are stored in the lake; a run that is started again continues from them. Raises TrainingFailed if the
    trainer ends without a model.
    """
    version = spec.run.model_version
    with tempfile.TemporaryDirectory(prefix=".batch-recall-", dir=_shared_folder(lake, config)) as text:
        folder = Path(text)
        placed = spec.in_folders(**output_places(lake.model_path(), config.training.launch, spec.run, folder))
        if code := _launch(lake, placed, config, folder):
            raise TrainingFailed(f"the trainer of {version} ended with exit code {code}")
        if placed.run.model_store is not None:
            stored = StoredFolders(placed.run.model_store, MODEL.manifest)
            stored.fetch(placed.run.folder.name, folder / "model")
            stored.delete(placed.run.folder.name)
        manifest: dict[str, Any] = json.loads((folder / "model" / MODEL.manifest).read_text("utf-8"))
        put_folder(lake.spark, folder / "model", model_path(lake, version))
    return manifest


def output_places(root: str, launch: str, run: RunSpec, folder: Path) -> dict[str, Any]:
    """The arguments of `TrainingSpec.in_folders`; folder: a temporary one of the driver.

    root: the URI of the lake, or of a variant in it. A trainer that does not share a disk with the lake also copies its
    checkpoints into the lake; on executors, its model too. Raises ValueError if executors would have to continue from
    an earlier model that only the driver has.
    """
    checkpoints = f"{root}/checkpoints/{run.model_version}"
    if (mounted := local_path(checkpoints)) is not None:
        return {"folder": folder / "model", "checkpoints": mounted}
    if launch != "spark_executors":
        return {
            "folder": folder / "model", "checkpoints": folder / "checkpoints", "checkpoint_store": checkpoints,
        }  # fmt: skip
    if run.warm_start is not None:
        raise ValueError(
            f'training.start = "warm" with training.launch = "spark_executors" requires a lake that every machine '
            f"mounts, got {root}"
        )
    there = Path(tempfile.gettempdir()) / f"batch-recall-{uuid.uuid4().hex}"  # on the executors
    return {
        "folder": there / run.model_version, "checkpoints": there / "checkpoints",
        "checkpoint_store": checkpoints, "model_store": f"{root}/{MODELS}/.trained",
    }  # fmt: skip


def remove_checkpoints(lake: Lake, version: str) -> None:
    """Delete the checkpoints of a model version."""
    remove_folder(lake.spark, lake.model_path("checkpoints", version))


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
        say(f"note: the ranks train on CPUs, because {key} is not set; see docs/cluster.md, A trainer with a GPU")
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
    command = [sys.executable, "-P", *(torchrun if ranks > 1 else []), "-m", "model.training.fit", str(file)]
    return subprocess.run(command, check=False, env=environment_of_code()).returncode


def environment_of_code() -> dict[str, str]:
    """The environment in which a process finds this code, which may be in a zip, before modules of extensions."""
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _by_spark(spec: str, ranks: int, *, on_driver: bool, use_gpu: bool) -> int:
    """Run the trainer as ranks that Spark starts, on the driver or on executors; returns the exit code of rank 0."""
    from pyspark.ml.torch.distributor import TorchDistributor

    from model.training.fit import train_json  # imported here because it loads torch

    distributor = TorchDistributor(ranks, local_mode=on_driver, use_gpu=use_gpu)
    return int(distributor.run(train_json, spec) or 0)


def _shared_folder(lake: Lake, config: Config) -> Path | None:
    """A folder of a mounted lake that the driver and the executors share; None if a temporary one is enough."""
    folder = local_path(lake.model_path(MODELS))
    if config.training.launch != "spark_executors" or folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder
