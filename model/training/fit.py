"""Train one model version and write its folder: `python -m model.training.fit training_spec.json`.

The trainer is a separate process, so that it can run on another machine, with a GPU and without Spark. torchrun can
start several such processes, which train one model together.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import faiss
import pyarrow  # noqa: F401  # must be imported before torch
import torch

from model.artifacts.formats import MODEL, CheckpointCorrupt
from model.artifacts.model_version import ModelVersion, save_model
from model.artifacts.stored_folders import StoredFolders
from model.data.pinned_files import RowCountMismatch
from model.towers import TwoTowers
from model.towers.table_memory import require_tables_fit
from model.training.inputs import TrainingInputs, example_features
from model.training.learner import Learner, standardise
from model.training.loop import Progress, TrainingDiverged
from model.training.processes.lines import USER_ERROR, crashes_as_lines, library_output, say
from model.training.processes.parent_process import end_with_parent
from model.training.processes.progress_bar import progress_bar
from model.training.processes.ranks import ALONE, Ranks
from model.training.run import OnEpochEnd, OnStep, Run
from model.training.spec import RunSpec, TrainingSpec
from model.training.step_loss import StepLoss, make_objective


def fit(
    spec: TrainingSpec,
    on_step: OnStep = lambda progress: None,
    on_epoch_end: OnEpochEnd = lambda progress, towers: None,
) -> ModelVersion:
    """Train a model version together with the other ranks, and write its folder.

    on_step is called after each step on rank zero, on_epoch_end after each epoch on every rank.
    Raises what `check_files`, `epoch_batches`, `start_from` and `train` raise.
    """
    device, ranks = _join_ranks(spec.run)
    inputs = open_inputs(spec, device, ranks)
    learner = make_learner(spec, inputs, ranks)
    on_step = on_step if ranks.is_rank_zero else lambda progress: None
    run = Run(spec.run, spec.identity, learner, inputs, on_step, on_epoch_end)
    last = run.train()
    if not learner.is_finite():
        raise TrainingDiverged("the last step left weights that are NaN or infinite")
    version = _model_version(run, last)
    if ranks.is_rank_zero:
        save_model(spec.run.folder, learner.towers.cpu(), version, learner.tables)
        if spec.run.model_store is not None:
            StoredFolders(spec.run.model_store, MODEL.manifest).put(spec.run.folder)
            shutil.rmtree(spec.run.folder.parent, ignore_errors=True)
    ranks.leave()
    return version


def _join_ranks(run: RunSpec) -> tuple[torch.device, Ranks]:
    """This process's device, and the ranks. Raises ValueError unless exactly `run.ranks` processes were started."""
    if run.threads:
        torch.set_num_threads(run.threads)
        faiss.omp_set_num_threads(run.threads)
    device = pick_device(run.device)
    ranks = Ranks.join(device)
    if ranks.size != run.ranks:
        raise ValueError(f"training.ranks is {run.ranks}, but {ranks.size} processes were started")
    return device, ranks


def open_inputs(spec: TrainingSpec, device: torch.device, ranks: Ranks = ALONE) -> TrainingInputs:
    """Verify the pinned files; returns their reader."""
    features = example_features(spec.run.model, spec.loss, spec.data)
    return TrainingInputs(spec.data, spec.run.model, features, seed=spec.run.seed, device=device, ranks=ranks)


def make_learner(spec: TrainingSpec, inputs: TrainingInputs, ranks: Ranks = ALONE) -> Learner:
    """The untrained model with its loss and optimisers."""
    run, device = spec.run, inputs.device
    live = inputs.live_indices
    model = replace(run.model, table_rows={name: len(indices) for name, indices in live.items()})
    require_tables_fit(model, device, run.max_table_gb)
    torch.manual_seed(run.seed)
    towers = TwoTowers(model)
    towers.assign_rows(live)
    standardise(towers, spec.data.numeric_stats)
    towers.to(device)
    towers.set_item_row_counts(inputs.row_counts(with_last_day=False))
    if run.compile:
        towers.compile_layers()
    objective = make_objective(
        spec.loss,
        inputs.sampling_probs(spec.data.share_column),
        dim=run.model.embedding_dim,
        batch_size=spec.data.batch_size,
        seed=run.seed,
        device=device,
        ranks=ranks,
    )
    step_loss = StepLoss(
        towers,
        objective,
        spec.loss,
        inputs.item_inputs(),
        inputs.item_versions,
        validation_day=spec.data.epoch_day,
        seed=run.seed,
        device=device,
        ranks=ranks,
    )
    return Learner(run, step_loss, device, ranks)


def _model_version(run: Run, last: Progress) -> ModelVersion:
    """The manifest of a finished run."""
    spec = run.spec
    metrics = _metrics(run, last)
    model = run.learner.towers.spec
    return ModelVersion(spec.model_version, model, dict(spec.inputs), dict(spec.configuration), metrics)


def _metrics(run: Run, last: Progress) -> dict[str, Any]:
    """The metrics in the model's manifest."""
    history, data, calibration = run.history, run.inputs.data, run.calibration()
    return {
        "final_loss": last.loss,
        "training_rows": data.examples.rows + (data.last_day.rows if data.last_day else 0),
        "steps": last.step,
        "seconds": last.seconds,
        "rows_per_second": last.rows_per_second,
        "waiting_share": last.waiting_share,
        "validation": history.kept(run.spec.patience),
        "validations": history.validations,
        "popularity": run.popularity(),
        "last_pass": run.last_pass_metrics(),
        "calibration": None if calibration is None else calibration.to_json(),
        "loss_curve": history.curve,
        **run.learner.objective.report(),
    }


def pick_device(name: str) -> torch.device:
    """The device that `training.device` names; `auto` is a GPU if there is one.

    Raises ValueError for an unknown name, and for cuda if torch sees no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"training.device must be auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device is cuda, but torch sees no GPU here: use auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # one GPU per rank of this machine


def train(spec: TrainingSpec) -> int:
    """Fit with a progress bar; returns the exit code: 0, or 2 after an error message."""
    last_rows = spec.data.last_day.rows * (1 - spec.data.held_back_share) if spec.data.last_day else 0
    try:
        with progress_bar(spec.data.examples.rows * spec.run.epochs + round(last_rows)) as on_step:
            fit(spec, on_step)
    except (ValueError, OSError, TrainingDiverged, RowCountMismatch, CheckpointCorrupt) as error:
        text = f"{type(error).__name__}: {error}"
        say(text, level="error", text=f"error: {text}")
        return USER_ERROR
    return 0


def train_json(text: str) -> int:
    """Like `train`, with the spec as JSON text. A launcher calls it on each rank."""
    with crashes_as_lines():
        return train(TrainingSpec.from_json(json.loads(text)))


def main() -> int:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=Path, help="the training_spec.json that jobs.train_two_tower wrote")
    with library_output():
        return train_json(parser.parse_args().spec.read_text("utf-8"))


def _end(code: int) -> NoReturn:
    """End the process. One of several ranks skips the destructors: gloo's threads can abort a rank that is done."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _end(main())
