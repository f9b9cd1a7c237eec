"""One trial, as a process: trains, and measures the held-out day after each epoch. Keeps no model.

    python -m jobs.tuning.trial training_spec.json

Prints a line of JSON for each epoch, and reads a line after it: STOP, or anything else to go on.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pyarrow  # noqa: F401  # must be imported before torch
import torch

from jobs.tuning.protocol import EPOCH, ERROR, JUDGED, LINE, SEARCHED, STOP
from model.data.held_back import held_back
from model.data.pinned_files import RowCountMismatch
from model.training.fit import make_learner, open_inputs, pick_device
from model.training.inputs import EXAMPLES
from model.training.loop import Progress, TrainingDiverged, train
from model.training.processes.lines import USER_ERROR, crashes_as_lines, library_output
from model.training.processes.parent_process import end_with_parent
from model.training.spec import TrainingSpec
from model.training.validation.clicks import RankedClicks
from model.training.validation.held_out import HeldOutClicks

SALT = -1  # of the hash that divides the users; no day has it, so the halves are not those of a last pass


def halves(clicks: RankedClicks) -> tuple[RankedClicks, RankedClicks]:
    """The clicks of the users by whom a search chooses, and those of the other half, by whom its choice is judged.

    Users without an index of their own are in the first half.
    """
    judged = held_back(clicks.users, 0.5, SALT)
    return clicks.part(~judged), clicks.part(judged)


def run_trial(spec: TrainingSpec) -> None:
    """Train until all epochs have run or the answer to one is STOP.

    Raises what `check_files`, `epoch_batches` and `train` raise.
    """
    if spec.run.threads:
        torch.set_num_threads(spec.run.threads)
    inputs = open_inputs(spec, pick_device(spec.run.device))
    learner = make_learner(spec, inputs)
    held_out = HeldOutClicks(learner, inputs)

    def after_epoch(progress: Progress) -> bool:
        if not learner.is_finite():  # its clicks would all seem to rank first
            raise TrainingDiverged(f"epoch {progress.epoch + 1} left weights that are NaN or infinite")
        searched, judged = halves(held_out.ranked_by_towers(inputs.validation_batches()))
        line = {EPOCH: progress.epoch + 1, SEARCHED: searched.metrics(), JUDGED: judged.metrics()}
        print(LINE + json.dumps(line), flush=True)
        return sys.stdin.readline().strip() == STOP

    train(
        learner.loss,
        partial(inputs.batches, EXAMPLES),
        learner.optimizers,
        spec.run.epochs,
        on_epoch_end=after_epoch,
        sum_gradients=learner.sum_gradients,
    )


def main() -> int:
    end_with_parent()
    spec = TrainingSpec.from_json(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    with crashes_as_lines(), library_output():
        try:
            run_trial(spec)
        except (ValueError, OSError, TrainingDiverged, RowCountMismatch) as error:
            print(LINE + json.dumps({ERROR: f"{type(error).__name__}: {error}"}), flush=True)
            return USER_ERROR
        return 0


if __name__ == "__main__":
    sys.exit(main())
