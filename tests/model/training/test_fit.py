"""Training on a small planted world, from a training spec to a model folder. Axes: U users, I item indices."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.artifacts.model_version import WEIGHTS, load_model
from model.data.pinned_files import RowCountMismatch
from model.data.verification import PinnedFileDamaged
from model.towers import TwoTowers
from model.training import fit as fitting
from model.training import inputs as reading
from model.training.fit import fit, pick_device
from model.training.loop import Batch, Progress, TrainingDiverged
from model.training.step_loss import StepLoss
from model.vocabulary import FIRST_INDEX, UNKNOWN
from tests.model.small_world import (
    CLUSTERS,
    ITEMS,
    SETTINGS,
    SIZE,
    SPEC,
    USERS,
    YOUNG,
    World,
    changed,
    recall,
    recall_of_popularity,
    training_spec,
    vectors,
)


@pytest.mark.parametrize("correction", ["none", "logq", "logq_negatives"])
def test_the_towers_find_the_clusters(values: dict[str, Any], world: World, correction: str) -> None:
    fit(training_spec(values, correction=correction))
    users, items = vectors(load_model(Path(values["run"]["folder"]), "v1")[0], world)
    found, popular = recall(users @ items.T, world), recall_of_popularity(world)
    assert popular < 0.4
    assert found > popular + 0.3


@pytest.mark.parametrize(
    "negatives",
    [
        {"correction": "logq_negatives", "corpus": 64},
        {"correction": "logq", "bank": 512, "bank_warmup_steps": 5},
        {"correction": "logq_negatives", "corpus": 64, "bank": 512, "bank_holds": "all"},
    ],
    ids=["mns", "cbns", "mixed_cross_batch"],
)
def test_the_other_presets_find_the_clusters(values: dict[str, Any], world: World, negatives: dict[str, Any]) -> None:
    fit(training_spec(values, negatives=negatives))
    towers, _ = load_model(Path(values["run"]["folder"]))
    users, items = vectors(towers, world)
    assert recall(users @ items.T, world) > 2 * recall_of_popularity(world)


def test_half_precision_finds_the_clusters(values: dict[str, Any], world: World) -> None:
    fit(training_spec(values, precision="bfloat16"))
    users, items = vectors(load_model(Path(values["run"]["folder"]), "v1")[0], world)
    assert recall(users @ items.T, world) > recall_of_popularity(world) + 0.3


def test_untrained_towers_do_not_find_the_clusters(world: World) -> None:
    torch.manual_seed(0)
    users, items = vectors(TwoTowers(SPEC), world)
    assert recall(users @ items.T, world) < recall_of_popularity(world)


def test_the_correction_ranks_popular_items_higher(values: dict[str, Any], world: World) -> None:
    """Uncorrected in-batch softmax learns ln P(item | user) - ln q(item): the popular ones are pushed down."""
    found = {}
    for correction in ("none", "logq"):
        fit(training_spec(values, correction, correction=correction))
        users, items = vectors(load_model(Path(values["run"]["folder"]).with_name(correction))[0], world)
        own = torch.arange(USERS)[:, None] % CLUSTERS == torch.arange(ITEMS) % CLUSTERS  # [U, I]
        clicks = torch.bincount(torch.from_numpy(world.trained.ravel() - FIRST_INDEX), minlength=ITEMS).float()
        scores = (users @ items.T)[own]
        found[correction] = float(torch.corrcoef(torch.stack([scores, clicks.log().expand(USERS, -1)[own]]))[0, 1])
    assert found["logq"] > found["none"] + 0.3


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.2, True)])
def test_dropping_ids_trains_the_unknown_user_and_the_unknown_item(
    values: dict[str, Any], share: float, moves: bool
) -> None:
    fit(training_spec(values, user_id_dropout=share, item_id_dropout=share, epochs=1))
    trained, _ = load_model(Path(values["run"]["folder"]))
    torch.manual_seed(SETTINGS["seed"])
    untrained = TwoTowers(SPEC)
    for side, name in (("user", "user_id"), ("item", "item_id")):
        before, after = (
            getattr(towers, side).embedding(name).get_parameter("table.weight")[UNKNOWN]
            for towers in (untrained, trained)
        )
        assert torch.equal(before, after) != moves, side


def weights(values: dict[str, Any], folder: str) -> bytes:
    return Path(values["run"]["folder"]).with_name(folder).joinpath(WEIGHTS).read_bytes()


def test_the_same_seed_gives_the_same_model_bit_for_bit(values: dict[str, Any]) -> None:
    for folder, seed in (("one", 1), ("same", 1), ("other", 2)):
        torch.rand(3)  # whatever the process drew before must not matter
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


def without(table: pa.Table, index: int) -> pa.Table:
    return table.filter(pa.array(table["item_index"].to_numpy() != index))


def put(values: dict[str, Any], name: str, table: pa.Table) -> None:
    """Other rows for one of the pinned tables."""
    path = Path(values["run"]["folder"]).with_name(f"{name}.parquet")
    pq.write_table(table, path, row_group_size=250)
    values["data"][name] = {"version": 0, "files": [path.as_uri()], "rows": table.num_rows}


@pytest.mark.parametrize("correction", ["none", "logq"])
def test_a_trained_item_without_a_probability_is_named(values: dict[str, Any], world: World, correction: str) -> None:
    table = without(world.probabilities(), 5)
    for column in ("q", "u"):
        shares = table[column].to_numpy()
        place = table.column_names.index(column)
        table = table.set_column(place, column, pa.array(shares / shares.sum()))
    put(values, "probabilities", table)
    with pytest.raises(ValueError, match=r"at item id 5$"):
        fit(training_spec(values, correction=correction))
    assert not Path(values["run"]["folder"]).exists()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -0.5, 0.9])
@pytest.mark.parametrize("column", ["q", "u"])
def test_broken_probabilities_are_refused(values: dict[str, Any], world: World, column: str, broken: float) -> None:
    table = world.probabilities()
    shares = table[column].to_numpy().copy()
    shares[7] = broken
    put(values, "probabilities", table.set_column(table.column_names.index(column), column, pa.array(shares)))
    steps: list[Progress] = []
    with pytest.raises(ValueError, match=rf"item_sampling_probs.{column} must be 0 or more and sum to 1"):
        fit(training_spec(values), steps.append)
    assert not steps


def test_a_directory_instead_of_files_is_refused(values: dict[str, Any], tmp_path: Path) -> None:
    """Its files may be of any version: what counts is the list of files of one."""
    values["data"]["examples"]["files"] = [tmp_path.as_uri()]
    steps: list[Progress] = []
    with pytest.raises((OSError, PinnedFileDamaged)):
        fit(training_spec(values), steps.append)
    assert not steps


def test_an_out_of_vocabulary_item_is_named(values: dict[str, Any], world: World) -> None:
    table = world.examples()
    indices = table["item_index"].to_numpy().copy()
    indices[100] = SIZE
    put(values, "examples", table.set_column(3, "item_index", pa.array(indices)))
    with pytest.raises(ValueError, match=f"item indices of the examples must be below {SIZE}, got {SIZE}"):
        fit(training_spec(values))


@pytest.mark.parametrize("wrong", [-1, 1])
def test_a_wrong_row_count_stops_before_the_first_step(values: dict[str, Any], wrong: int) -> None:
    values["data"]["examples"]["rows"] += wrong
    steps: list[Progress] = []
    with pytest.raises(RowCountMismatch):
        fit(training_spec(values), steps.append)
    assert not steps
    assert not Path(values["run"]["folder"]).exists()


def test_a_loader_that_loses_rows_leaves_no_model(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "check_files", lambda table, pinned, columns: [pinned.rows])
    values["data"]["examples"]["rows"] += 1
    with pytest.raises(RowCountMismatch, match="an epoch read"):
        fit(training_spec(values))
    assert not Path(values["run"]["folder"]).exists()


def test_weights_that_are_not_finite_are_not_saved(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite loss may have a gradient that is not, and after the last step no loss would tell."""

    def spoilt(self: StepLoss, batch: Batch) -> torch.Tensor:
        return (self.towers.dense()[0].sum() * 0.0).sqrt()  # 0, with an infinite slope

    monkeypatch.setattr(StepLoss, "__call__", spoilt)
    one_step = training_spec(values, epochs=1, batch_size=10_000, shuffle_row_groups=100)
    with pytest.raises(TrainingDiverged, match="the last step left weights"):
        fit(one_step)
    assert not Path(values["run"]["folder"]).exists()


def test_an_item_newer_than_the_model_gets_a_vector_from_its_features(values: dict[str, Any], world: World) -> None:
    fit(training_spec(values))
    towers, _ = load_model(Path(values["run"]["folder"]))
    users, _ = vectors(towers, world)
    young = {"item_id": torch.full((CLUSTERS,), YOUNG), "year": torch.full((CLUSTERS,), 2026.0)}
    genres = torch.tensor([[FIRST_INDEX + cluster, 0] for cluster in range(CLUSTERS)])
    with torch.no_grad():
        items = towers.item({**young, "genres": genres})  # [CLUSTERS, D], one of each cluster
    torch.testing.assert_close(items.norm(dim=1), torch.ones(CLUSTERS))
    nearest = (users @ items.T).argmax(dim=1)  # [U]
    assert (nearest == torch.arange(USERS) % CLUSTERS).float().mean() > 0.9


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
