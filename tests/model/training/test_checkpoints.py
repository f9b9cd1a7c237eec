"""Checkpoints: a saved state is loaded unchanged, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.formats import CHECKPOINT, CheckpointCorrupt
from model.training.checkpoints import BEST, STEP, TENSORS, Checkpoints

STATE = CHECKPOINT.manifest

SAVED: dict[str, Any] = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "generator": torch.Generator().get_state()},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "groups": [{"betas": (0.9, 0.999), "on": True}]},
    "drift": float("nan"),
    "none": None,
    "step": 7,
}


@pytest.fixture(params=["a disk", "a store"])
def checkpoints(tmp_path: Path, request: pytest.FixtureRequest) -> Checkpoints:
    """A folder stands in for the store."""
    store = (tmp_path / "store").as_uri() if request.param == "a store" else None
    return Checkpoints(tmp_path / "run", "this run", store)


def test_a_saved_state_is_loaded_unchanged(checkpoints: Checkpoints) -> None:
    checkpoints.save(STEP, 7, SAVED)
    assert checkpoints.newest_step() == 7
    found = checkpoints.load_step(7)
    assert torch.equal(found["weights"]["a"], SAVED["weights"]["a"])
    assert torch.equal(found["weights"]["generator"], SAVED["weights"]["generator"])
    assert set(found["optimizer"]["state"]) == {0, 1}
    assert float(found["optimizer"]["state"][0]["step"]) == 3.0
    assert found["optimizer"]["groups"] == [{"betas": [0.9, 0.999], "on": True}]
    assert found["drift"] != found["drift"]
    assert (found["none"], found["step"]) == (None, 7)


def test_only_the_newest_two_are_kept(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest_step() is None
    for step in (8, 9):
        checkpoints.save(BEST, step, SAVED | {"step": step})
    for step in (9, 10, 200, 1000):
        checkpoints.save(STEP, step, SAVED)
    kept = ["best-000000000009", "step-000000000200", "step-000000001000"]
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == kept
    assert checkpoints.newest_step() == 1000
    assert checkpoints.load_best()["step"] == 9
    if checkpoints.stored is not None:
        assert checkpoints.stored.names() == kept


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def link(path: Path) -> None:
    elsewhere = path.with_suffix(".elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def of_another_run(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"identity": "another"}))


@pytest.mark.parametrize(
    ("spoil", "file"),
    [(cut, TENSORS), (cut, STATE), (flip, TENSORS), (link, TENSORS), (link, STATE), (Path.unlink, STATE), (of_another_run, STATE)],
)  # fmt: skip
def test_a_damaged_checkpoint_is_reported_and_an_older_one_is_used(
    checkpoints: Checkpoints, capsys: pytest.CaptureFixture[str], spoil: Any, file: str
) -> None:
    for step in (1, 2):
        checkpoints.save(STEP, step, SAVED)
    spoil(checkpoints.folder / "step-000000000002" / file)
    assert checkpoints.newest_step() == 1
    assert "step-000000000002" in capsys.readouterr().err
    with pytest.raises(CheckpointCorrupt):
        checkpoints.load_step(2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1}', "[" * 100_000])
def test_an_invalid_manifest_is_refused(checkpoints: Checkpoints, text: str) -> None:
    checkpoints.save(STEP, 1, SAVED)
    (checkpoints.folder / "step-000000000001" / STATE).write_text(text)
    assert checkpoints.newest_step() is None


def on_another_machine(checkpoints: Checkpoints, tmp_path: Path) -> Checkpoints:
    """The same run with an empty disk and the same store."""
    return Checkpoints(tmp_path / "another machine", "this run", (tmp_path / "store").as_uri())


def test_a_machine_with_an_empty_disk_reads_the_store(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path / "run", "this run", (tmp_path / "store").as_uri())
    first.save(BEST, 3, SAVED)
    first.save(STEP, 7, SAVED)
    another = on_another_machine(first, tmp_path)
    assert another.newest_step() == 7
    assert torch.equal(another.load_step(7)["weights"]["a"], SAVED["weights"]["a"])
    assert another.load_best()["step"] == 7
    assert not (tmp_path / "another machine").exists()


@pytest.mark.parametrize("spoil", [cut, flip, of_another_run])
def test_a_damaged_copy_in_the_store_is_reported_and_an_older_one_is_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Any
) -> None:
    first = Checkpoints(tmp_path / "run", "this run", (tmp_path / "store").as_uri())
    for step in (1, 2):
        first.save(STEP, step, SAVED)
    spoil(tmp_path / "store" / "step-000000000002" / (STATE if spoil is of_another_run else TENSORS))
    assert on_another_machine(first, tmp_path).newest_step() == 1
    assert "step-000000000002" in capsys.readouterr().err


def test_a_copy_that_was_killed_before_its_manifest_does_not_exist(tmp_path: Path) -> None:
    first = Checkpoints(tmp_path / "run", "this run", (tmp_path / "store").as_uri())
    for step in (1, 2):
        first.save(STEP, step, SAVED)
    (tmp_path / "store" / "step-000000000002" / STATE).unlink()
    assert on_another_machine(first, tmp_path).newest_step() == 1


def test_a_run_without_a_best_epoch_says_so(checkpoints: Checkpoints) -> None:
    with pytest.raises(CheckpointCorrupt, match="there is no checkpoint of the best epoch"):
        checkpoints.load_best()
