"""A run of training from its spec to its model folder: same bits for the same seed, device, exit status."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch

from model.artifacts.model_version import WEIGHTS, load_model
from model.training import fit as fitting
from model.training.fit import fit, pick_device
from model.vocabulary import FIRST_INDEX
from tests.model.small_world import (
    CLUSTERS,
    GONE,
    ITEMS,
    SIZE,
    SPEC,
    USERS,
    World,
    changed,
    training_spec,
    vectors,
)


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


def shrunk(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return changed(values, model={**SPEC.to_json(), "item_id_shrinkage": 2.0, **changes})


def test_a_model_stores_how_far_its_ids_are_shrunk_by_the_rows_that_it_was_trained_on(
    values: dict[str, Any], world: World
) -> None:
    fit(training_spec(shrunk(values), epochs=1))
    towers, _ = load_model(Path(values["run"]["folder"]), "v1")
    counts = torch.bincount(torch.from_numpy(world.trained.ravel()), minlength=SIZE)  # [I]
    assert counts[GONE] == 0
    torch.testing.assert_close(towers.item.embedding("item_id").get_buffer("own_share"), counts / (counts + 2.0))


def test_items_without_a_click_are_ranked_by_their_features_under_corpus_negatives(
    values: dict[str, Any], world: World, tmp_path: Path
) -> None:
    """A fifth of each cluster's items is left out of the examples; the corpus draws them as negatives."""
    cold = FIRST_INDEX + np.arange(ITEMS // 5)
    rows = world.examples().filter(pc.invert(pc.is_in(pc.field("item_index"), pa.array(cold, pa.int32()))))
    shares = without_clicks(world.probabilities(), cold)
    for name, table in (("examples", rows), ("probabilities", shares)):
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=250)
        values["data"][name]["rows"] = table.num_rows
    own = torch.arange(USERS)[:, None] % CLUSTERS == torch.arange(ITEMS) % CLUSTERS  # [U, I]
    places = {}
    for name, model in (("plain", SPEC.to_json()), ("shrunk", shrunk(values)["run"]["model"])):
        negatives = {"correction": "logq_negatives", "corpus": 128}
        fit(training_spec(changed(values, model=model), name, negatives=negatives))
        users, items = vectors(load_model(Path(values["run"]["folder"]).with_name(name))[0], world)
        place = (-users @ items.T).argsort(dim=1).argsort(dim=1)[:, : len(cold)].float()  # [U, cold]
        of_others, of_own = (float(place[mask].mean()) for mask in (~own[:, : len(cold)], own[:, : len(cold)]))
        places[name] = of_others - of_own
    assert places["shrunk"] > 20
    assert places["shrunk"] > places["plain"] + 10


def without_clicks(shares: pa.Table, cold: np.ndarray) -> pa.Table:
    """The probabilities of a log in which nobody clicked the items `cold`."""
    q = np.where(np.isin(shares["item_index"].to_numpy(), cold), 0.0, shares["q"].to_numpy())
    return shares.set_column(shares.column_names.index("q"), "q", pa.array(q / q.sum()))
