"""A full disk under each kind of output: the error is one line that names the path, and no partial version is visible."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobs.cli.run import TRY_AGAIN, run
from jobs.inference.references import model_version
from jobs.lake.lake import Lake
from model.artifacts.model_version import load_model
from tests.conftest import DAYS, SMALL
from tests.faults.steps import Step, changed, of_day, rows
from tests.processes import isolated_process

THIRD = DAYS[2]
KIB = 1024
PAGE = 4 * KIB
Resize = Callable[[int], object]
Disk = Callable[[Path, int], Resize]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mount a disk with so many free bytes over a folder and keep its files; returns a function that resizes it."""
    with ExitStack() as mounted:

        def put(folder: Path, room: int) -> Resize:
            folder.mkdir(exist_ok=True)
            original = Path(shutil.move(folder, tmp_path / f"{folder.name}.original"))
            folder.mkdir()
            taken = sum(-(-file.stat().st_size // PAGE) * PAGE for file in original.rglob("*") if file.is_file())

            def mount(room: int, *how: str) -> subprocess.CompletedProcess[str]:
                options = ",".join((*how, f"size={max(taken + room, PAGE)}"))  # a size of 0 would be no limit
                command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder]
                return subprocess.run(command, capture_output=True, text=True, check="remount" in how)

            if (made := mount(room)).returncode:
                pytest.skip(f"a small disk cannot be mounted here: {made.stderr.strip()}")
            mounted.callback(subprocess.run, ["umount", "--lazy", folder], check=True)
            shutil.copytree(original, folder, dirs_exist_ok=True)
            return lambda room: mount(room, "remount")

        yield put


def failure(step: Step, lake: Path, capfd: pytest.CaptureFixture[str]) -> str | None:
    """Run a step; the error line if it fails, else None."""
    capfd.readouterr()
    try:
        run(lambda _: step.run(str(lake)))
        return None
    except SystemExit as ended:
        code = ended.code
    line = next(line for line in capfd.readouterr().err.splitlines() if line.startswith("error: "))
    return line if code == TRY_AGAIN else f"exit code {code}: {line}"


def test_a_table_on_a_full_disk_is_unchanged(
    simulated: Lake, simulated_copy: Lake, disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    """The disk grows from no free bytes until the job succeeds."""
    lake, before = Path(simulated_copy.uri), rows(simulated.uri, "user_histories")
    resize, failures = disk(lake / "user_histories", 0), 0
    for room in (0, *(PAGE * 2**power for power in range(2, 12))):
        resize(room)
        line = failure(of_day("build_histories", THIRD), lake, capfd)
        if line is None:
            break
        failures += 1
        assert line.startswith(f"error: no space to write {lake}/user_histories; free space: ")
        assert rows(str(lake), "user_histories") == before
    assert failures >= 2
    assert changed(simulated.uri, str(lake)) == ["user_histories"]
    assert rows(str(lake), "user_histories") == before


@pytest.mark.slow
def test_a_trainer_on_a_full_disk_leaves_no_model_and_resumes(
    simulated: Lake, simulated_copy: Lake, tmp_path: Path, disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    lake, often = Path(simulated_copy.uri), tmp_path / "often.toml"
    often.write_text(Path(SMALL).read_text("utf-8").replace("[training]", "[training]\ncheckpoint_steps = 2"), "utf-8")
    step = Step("train_two_tower", ("--ds", str(THIRD), "--config", str(often)))
    checkpoints, models = disk(lake / "checkpoints", 8 * PAGE), disk(lake / "models", 8 * PAGE)
    before = sorted(path.name for path in (lake / "models").iterdir())

    line = str(failure(step, lake, capfd))
    # the exit code is that of any failed training: the reason is in the message
    wanted = f"exit code 2: error: OSError: [Errno 28] No space left on device: '{lake}/checkpoints/2026-03-01-"
    assert line.startswith(wanted)
    checkpoints(64 * KIB * KIB)
    assert f"error: no space to write {lake}/models/2026-03-01-" in str(failure(step, lake, capfd))
    assert not changed(str(lake), simulated.uri)
    assert sorted(path.name for path in (lake / "models").iterdir()) == before
    models(64 * KIB * KIB)
    capfd.readouterr()
    step.run(str(lake))
    assert "continues after step " in capfd.readouterr().out
    load_model(lake / "models" / model_version(simulated_copy, THIRD))


def test_the_trainer_names_the_checkpoint_that_does_not_fit(tmp_path: Path, disk: Disk) -> None:
    from model.training.checkpoints import STEP, Checkpoints

    disk(tmp_path / "checkpoints", 0)
    import torch

    with pytest.raises(OSError, match=f"No space left on device: '{tmp_path}/checkpoints/step-000000000001'"):
        Checkpoints(tmp_path / "checkpoints", "a run").save(STEP, 1, {"weights": torch.zeros(100_000)})
    assert not list((tmp_path / "checkpoints").iterdir())


def test_an_index_on_a_full_disk_is_not_used(
    simulated: Lake, simulated_copy: Lake, disk: Disk, capfd: pytest.CaptureFixture[str]
) -> None:
    lake = Path(simulated_copy.uri)
    shutil.rmtree(lake / "indexes" / str(THIRD))
    disk(lake / "indexes" / str(THIRD), 8 * PAGE)
    line = failure(of_day("build_item_index", THIRD), lake, capfd)
    assert line is not None
    assert line.startswith(f"error: no space to write {lake}/indexes/{THIRD}/")
    assert not [path for path in (lake / "indexes" / str(THIRD)).iterdir() if path.name.endswith(".draft")]
    assert rows(str(lake), "item_indexes") == rows(simulated.uri, "item_indexes")


def test_a_shuffle_on_a_full_disk_names_the_spill_folder(
    simulated: Lake, simulated_copy: Lake, tmp_path: Path, disk: Disk
) -> None:
    step, lake = of_day("build_interactions", THIRD), simulated_copy.uri
    disk(tmp_path / "spill", 16 * PAGE)
    environment = {**os.environ, "SPARK_LOCAL_DIRS": str(tmp_path / "spill"), "TMPDIR": tempfile.gettempdir()}
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    with isolated_process(step.command(lake), env=environment, **pipes) as job:
        _, errors = job.communicate(timeout=240)
    assert job.returncode == TRY_AGAIN, errors
    assert re.search(rf"^error: no space to write; free space: .* MiB in {tmp_path}/spill", errors, re.MULTILINE), (
        errors
    )
    assert not changed(lake, simulated.uri)
