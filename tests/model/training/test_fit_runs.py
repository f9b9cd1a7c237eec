"""A run of training from its spec to its model folder: same bits for the same seed, device, exit status."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from model.artifacts.model_version import WEIGHTS, load_model, load_row_sums
from model.training import fit as fitting
from model.training.fit import fit, pick_device
from model.vocabulary import FIRST_INDEX, UNKNOWN
from tests.model.small_world import GONE, SPEC, changed, training_spec


def weights(values: dict[str, Any], folder: str) -> bytes:
    return Path(values["run"]["folder"]).with_name(folder).joinpath(WEIGHTS).read_bytes()


def test_the_same_seed_gives_the_same_model_bit_for_bit(values: dict[str, Any]) -> None:
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        torch.rand(3)  # earlier draws of the process must not matter
        fit(training_spec(values, folder, seed=seed, epochs=2))
    assert weights(values, "one") == weights(values, "same")
    assert weights(values, "one") != weights(values, "other")


KILLED = """
import json, os, signal, sys
from model.training import fit
from model.artifacts import verified_folder as folders
from model.vocabulary import FIRST_INDEX, UNKNOWN
die = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[2] == "save":
    folders.flush = die
fit.fit(fit.TrainingSpec.from_json(json.load(open(sys.argv[1]))), die if sys.argv[2] == "step" else lambda progress: None)
"""


@pytest.mark.parametrize("where", ["step", "save"])
def test_a_killed_training_leaves_no_model_and_a_second_run_equals_an_uninterrupted_one(
    values: dict[str, Any], tmp_path: Path, where: str
) -> None:
    (tmp_path / "training_spec.json").write_text(json.dumps(changed(values, epochs=1)))
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "training_spec.json"), where], check=False)
    assert killed.returncode == -9
    assert not Path(values["run"]["folder"]).exists()
    for folder in ("model", "undisturbed"):
        fit(training_spec(values, folder, epochs=1))
    assert weights(values, "model") == weights(values, "undisturbed")


def test_the_manifest_says_what_was_trained(values: dict[str, Any]) -> None:
    seen: list[int] = []
    made = fit(training_spec(values, epochs=2), lambda progress: seen.append(progress.step))
    _, version = load_model(Path(values["run"]["folder"]), "v1")
    assert version == made
    assert (version.name, version.spec, version.inputs) == ("v1", SPEC, {"ds": "2026-03-01"})
    rows = values["data"]["examples"]["rows"]
    assert version.metrics["training_rows"] == rows
    assert version.metrics["steps"] == len(seen) == 2 * math.ceil(rows / 128)
    assert 0 < version.metrics["waiting_share"] < 1
    assert version.metrics["final_loss"] < math.log(128)


@pytest.mark.parametrize(
    ("name", "gpu", "want"),
    [("auto", False, "cpu"), ("auto", True, "cuda"), ("cpu", True, "cpu"), ("cuda", True, "cuda")],
)
def test_the_configured_device_is_used(monkeypatch: pytest.MonkeyPatch, name: str, gpu: bool, want: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert pick_device(name).type == want


def test_a_missing_gpu_is_an_error(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="torch sees no GPU here: use auto or cpu"):
        fit(training_spec(values, device="cuda"))


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(ValueError, match="must be auto, cpu or cuda, got 'gpu'"):
        pick_device("gpu")


def run_main(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> int:
    file = Path(values["run"]["folder"]).with_name("training_spec.json")
    file.write_text(json.dumps(changed(values, epochs=1)))
    monkeypatch.setattr(sys, "argv", ["fit", str(file)])
    return fitting.main()


def test_the_command_trains_the_spec_in_its_file(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(values, monkeypatch) == 0
    assert "24 steps, loss" in capsys.readouterr().out
    load_model(Path(values["run"]["folder"]), "v1")


def test_the_command_prints_an_error_and_exits_with_2(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = str(Path(values["run"]["folder"]).with_name("missing.parquet"))
    values["data"]["examples"]["files"] = [f"file://{missing}"]
    assert run_main(values, monkeypatch) == 2
    assert "error: PinnedFileDamaged" in (text := capsys.readouterr().err)
    assert missing in text


@pytest.mark.parametrize(("features", "dropout", "is_filled"), [(1, 0.2, True), (1, 0.0, False), (2, 0.2, False)])
def test_an_id_without_an_example_has_the_embedding_of_a_trained_unknown_id_if_items_have_no_other_feature(
    values: dict[str, Any], features: int, dropout: float, is_filled: bool
) -> None:
    values["run"]["model"]["item"] = values["run"]["model"]["item"][:features]
    fit(training_spec(values, epochs=2, item_id_dropout=dropout, user_id_dropout=dropout))
    folder = Path(values["run"]["folder"])
    towers, _ = load_model(folder, "v1")
    assert len(towers.item.features) == features
    table = towers.item.embedding("item_id").get_submodule("table").get_parameter("weight")
    sums = {len(rows): rows for rows in load_row_sums(folder).values()}[len(table)]
    assert int((sums[GONE:] == 0).sum()) == len(table) - GONE > 0
    assert bool((table[GONE:] == table[UNKNOWN]).all()) == is_filled
    assert not bool((table[FIRST_INDEX:GONE] == table[UNKNOWN]).all(dim=1).any())
