"""Checkpoints: a saved state is loaded unchanged, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.formats import CHECKPOINT, CheckpointCorrupt
from model.training.checkpoints import TENSORS, Checkpoints

STATE = CHECKPOINT.manifest

SAVED: dict[str, Any] = {
    "weights": {"a": torch.arange(6.0).reshape(2, 3), "generator": torch.Generator().get_state()},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}, 1: {}}, "groups": [{"betas": (0.9, 0.999), "on": True}]},
    "drift": float("nan"),
    "none": None,
    "step": 7,
}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run", "this run")


def test_a_saved_state_is_loaded_unchanged(checkpoints: Checkpoints) -> None:
    checkpoints.save_step(7, SAVED)
    assert checkpoints.newest() == "step-000000000007"
    found = checkpoints.load("step-000000000007")
    assert torch.equal(found["weights"]["a"], SAVED["weights"]["a"])
    assert torch.equal(found["weights"]["generator"], SAVED["weights"]["generator"])
    assert set(found["optimizer"]["state"]) == {0, 1}
    assert float(found["optimizer"]["state"][0]["step"]) == 3.0
    assert found["optimizer"]["groups"] == [{"betas": [0.9, 0.999], "on": True}]
    assert found["drift"] != found["drift"]
    assert (found["none"], found["step"]) == (None, 7)


def test_only_the_newest_two_are_kept(checkpoints: Checkpoints) -> None:
    assert checkpoints.newest() is None
    checkpoints.save("best", SAVED)
    for step in (9, 10, 200, 1000):
        checkpoints.save_step(step, SAVED)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        "best",
        "step-000000000200",
        "step-000000001000",
    ]
    assert checkpoints.newest() == "step-000000001000"


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
        checkpoints.save_step(step, SAVED)
    spoil(checkpoints.folder / "step-000000000002" / file)
    assert checkpoints.newest() == "step-000000000001"
    assert "step-000000000002" in capsys.readouterr().err
    with pytest.raises(CheckpointCorrupt):
        checkpoints.load("step-000000000002")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identity": 1}', "[" * 100_000])
def test_an_invalid_manifest_is_refused(checkpoints: Checkpoints, text: str) -> None:
    checkpoints.save_step(1, SAVED)
    (checkpoints.folder / "step-000000000001" / STATE).write_text(text)
    assert checkpoints.newest() is None
