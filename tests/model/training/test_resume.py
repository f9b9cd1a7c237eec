"""A killed run, with a full bank, estimator and shuffle buffer, continues and ends like an uninterrupted one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from model.artifacts.formats import MODEL
from model.artifacts.model_version import WEIGHTS
from model.training.fit import fit
from model.training.loop import Progress, TrainingDiverged
from model.training.spec import TrainingSpec
from model.training.validation.history import History
from tests.marks import slow_after
from tests.model.small_world import changed
from tests.model.training.interrupted_runs import EVERY, FIRST_EPOCH, KILLED, ROOT, TRAINER, placed
from tests.processes import wait_until


@pytest.fixture(autouse=True)
def first_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History, "add", History.add)  # restored after the test
    exec(FIRST_EPOCH, {})


def ended(values: dict[str, Any], folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights and metrics of the run in `folder`, which continues from its checkpoints if there are any."""
    there = Path(values["run"]["folder"]).with_name(folder)
    fit(TrainingSpec.from_json(placed(values, there)))
    metrics = json.loads((there / "model" / MODEL.manifest).read_text())["metrics"]
    return load_file(there / "model" / WEIGHTS), metrics


def killed(values: dict[str, Any], folder: str, where: str, step: int) -> Path:
    there = Path(values["run"]["folder"]).with_name(folder)
    spec = there.with_suffix(".json")
    spec.write_text(json.dumps(placed(values, there)))
    done = subprocess.run([sys.executable, "-c", KILLED, str(spec), where, str(step)], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    assert not (there / "model").exists()
    return there / "checkpoints"


@pytest.mark.parametrize(
    ("where", "step"),
    [
        pytest.param("save", 21, id="in a checkpoint's write"),
        pytest.param("step", 33, id="in the second epoch"),
        pytest.param("step", 10, id="in the first epoch", marks=pytest.mark.slow),
        pytest.param("step", 14, id="at a checkpoint", marks=pytest.mark.slow),
        pytest.param("step", 43, id="on the last day", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_like_an_uninterrupted_one(everything: dict[str, Any], where: str, step: int) -> None:
    want, undisturbed = ended(everything, "undisturbed")
    checkpoints = killed(everything, "killed", where, step)
    assert (checkpoints / f"step-{(step - (where == 'save')) // EVERY * EVERY:012}").exists()
    found, metrics = ended(everything, "killed")
    assert want.keys() == found.keys()
    for name, weights in want.items():
        assert (weights - found[name]).abs().max() < 1e-6, name
    for name in (
        "steps",
        "final_loss",
        "validations",
        "loss_curve",
        "bank_drift",
        "estimator",
        "last_pass",
        "calibration",
    ):
        assert metrics[name] == undisturbed[name], name
    assert undisturbed["steps"] == 44  # two epochs of 20, the second not chosen, and the last day
    assert undisturbed["bank_warm_at"] is not None
    assert undisturbed["calibration"] is not None


@pytest.mark.slow
def test_a_killed_run_continues_from_the_store_on_another_machine(everything: dict[str, Any], tmp_path: Path) -> None:
    """A folder stands in for the store. The run is killed after its best epoch, which it must find there too."""
    want, undisturbed = ended(everything, "undisturbed")
    everything["run"]["checkpoint_store"] = (tmp_path / "store").as_uri()
    shutil.rmtree(killed(everything, "killed", "step", 36))
    found, metrics = ended(everything, "killed")
    assert metrics["steps"] == undisturbed["steps"]
    for name, weights in want.items():
        assert (weights - found[name]).abs().max() < 1e-6, name


def test_the_reported_validation_is_that_of_the_weights_that_are_kept(everything: dict[str, Any]) -> None:
    for patience, kept in ((0, -1), (1, 0)):  # only early stopping goes back to the first epoch
        values = placed(
            changed(everything, epochs=2, patience=patience), Path(everything["run"]["folder"]) / str(patience)
        )
        metrics = fit(TrainingSpec.from_json(values)).metrics
        first, second = metrics["validations"]
        assert first != second
        assert metrics["validation"] == metrics["validations"][kept], patience


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(
    everything: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.training.step_loss import StepLoss

    whole, steps = StepLoss.__call__, iter(range(1, 1000))

    def explodes(self: StepLoss, batch: Any) -> Any:
        return whole(self, batch) * (float("inf") if next(steps) == 17 else 1.0)

    monkeypatch.setattr(StepLoss, "__call__", explodes)
    seen: list[int] = []
    with pytest.raises(TrainingDiverged, match=r"the loss of step 17 .* is inf"):
        fit(TrainingSpec.from_json(everything), lambda progress: seen.append(progress.step))
    assert seen[-1] == 16
    checkpoints = sorted(path.name for path in Path(everything["run"]["checkpoints"]).glob("step-*"))
    assert checkpoints == ["step-000000000007", "step-000000000014"]
    assert not Path(everything["run"]["folder"]).exists()
    monkeypatch.setattr(StepLoss, "__call__", whole)
    fit(TrainingSpec.from_json(everything), lambda progress: seen.append(progress.step))
    assert seen[17 - 1] == 15  # the run continues after the checkpoint
    assert Path(everything["run"]["folder"]).exists()


def test_a_changed_spec_does_not_continue_from_the_checkpoints(everything: dict[str, Any]) -> None:
    first = killed(everything, "killed", "step", 10)
    assert any(first.iterdir())
    seen: list[Progress] = []
    there = first.parent
    fit(TrainingSpec.from_json(placed(changed(everything, learning_rate=0.05), there)), seen.append)
    assert json.loads((there / "model" / MODEL.manifest).read_text())["metrics"]["loss_curve"][0][0] == 1


@pytest.mark.parametrize("victim", slow_after(1, [0, 1]))
def test_if_one_rank_dies_all_ranks_end(everything: dict[str, Any], tmp_path: Path, victim: int) -> None:
    """torchrun starts two processes, and one is killed during training."""
    values = changed(everything, ranks=2, epochs=2000, checkpoint_steps=20)
    (tmp_path / "training_spec.json").write_text(json.dumps(values))
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=0"]
    command = [sys.executable, *several, "-m", "model.training.fit", str(tmp_path / "training_spec.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        checkpoints = Path(values["run"]["checkpoints"])
        assert wait_until(lambda: list(checkpoints.glob("step-*")) or run.poll() is not None)
        assert run.poll() is None
        children = workers_of(run.pid)
        assert len(children) == 2
        os.kill(children[victim], signal.SIGKILL)
        assert run.wait(timeout=120) != 0
        assert not any(Path(f"/proc/{child}").exists() for child in children)
    finally:
        run.kill()
    assert not Path(values["run"]["folder"]).exists()


@pytest.mark.slow
def test_two_killed_ranks_end_like_uninterrupted_ones(everything: dict[str, Any], tmp_path: Path) -> None:
    """With early stopping, so that both runs restore the best epoch; one run is killed in its second epoch."""
    values = changed(everything, ranks=2)
    found = {}
    for name, step in (("undisturbed", None), ("killed", 30), ("killed", None)):
        there = tmp_path / name
        (tmp_path / "training_spec.json").write_text(json.dumps(placed(values, there)))
        several = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            "--max-restarts=0",
        ]
        (tmp_path / "killed.py").write_text(KILLED)
        (tmp_path / "trainer.py").write_text(TRAINER)
        work = [str(tmp_path / "trainer.py"), str(tmp_path / "training_spec.json")]
        if step:
            work = [str(tmp_path / "killed.py"), str(tmp_path / "training_spec.json"), "step", str(step)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run([*several, *work], check=False, env=environment, capture_output=True, text=True)
        assert (done.returncode != 0) == bool(step), done.stderr[-2000:]
        found[name] = load_file(there / "model" / WEIGHTS) if not step else {}
    for name, weights in found["undisturbed"].items():
        assert (weights - found["killed"][name]).abs().max() < 1e-6, name
    metrics = json.loads((tmp_path / "killed" / "model" / MODEL.manifest).read_text())["metrics"]
    assert metrics["validation"] != metrics["validations"][-1]  # an earlier epoch was restored


def workers_of(pid: int) -> list[int]:
    """The trainers among the children of a launcher, by their rank."""
    found = {}
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                parent = int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
                environment = (process / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            ranks = [int(entry[5:]) for entry in environment if entry.startswith(b"RANK=")]
            if parent == pid and ranks:
                found[ranks[0]] = int(process.name)
    return [found[rank] for rank in sorted(found)]
