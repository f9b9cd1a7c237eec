"""Runs of training that are killed at a step, or while a checkpoint is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.model.small_world import changed

ROOT = Path(__file__).resolve().parents[3]
EVERY = 7  # steps between checkpoints; an epoch has 20 steps, and a block of shuffled row groups about 6
# The first epoch is chosen, as if all later ones were clearly worse: so early stopping goes back to it.
FIRST_EPOCH = """
from model.training.validation.history import History
add = History.add
def first(history, clicks):
    add(history, clicks)
    history.chosen = 0
    return len(history.validations) == 1
History.add = first
"""
TRAINER = f"{FIRST_EPOCH}\nimport os\nfrom model.training.fit import main\nos._exit(main())\n"
# step: killed after that step; save: killed while the checkpoint of that step is written
KILLED = f"""{FIRST_EPOCH}
import json, os, signal, sys
from model.training import fit
from model.artifacts import verified_folder as folders
where, step = sys.argv[2], int(sys.argv[3])
now = 0
def die(): os.kill(os.getpid(), signal.SIGKILL)
def watch(progress):
    global now
    now = progress.step
    if where == "step" and now == step: die()
flush = folders.flush
def killed_flush(path):
    if where == "save" and now + 1 >= step: die()
    flush(path)
folders.flush = killed_flush
fit.fit(fit.TrainingSpec.from_json(json.load(open(sys.argv[1]))), watch)
"""


def placed(values: dict[str, Any], there: Path) -> dict[str, Any]:
    return changed(values, folder=str(there / "model"), checkpoints=str(there / "checkpoints"))
