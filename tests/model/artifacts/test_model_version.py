"""A model folder loads bit for bit, and only as the requested version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.artifacts.formats import MODEL, ModelCorrupt
from model.artifacts.model_version import ROW_SUMS, WEIGHTS, load_model, save_model
from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers
from tests.model.artifacts.small_models import ITEM, SPEC, USER, is_whole, towers, version


def test_weights_buffers_and_manifest_come_back_bit_for_bit(folder: Path) -> None:
    assert is_whole(folder, "v1", seed=0)
    assert not torch.equal(towers(0).tables()[0], towers(1).tables()[0])


def test_a_loaded_model_computes_the_same_and_is_in_evaluation_mode(folder: Path) -> None:
    users = {"user_id": torch.tensor([2, 3, 99]), "age": torch.tensor([20.0, float("nan"), 40.0])}
    model, _ = load_model(folder)
    assert torch.equal(model.user(users), towers().user(users))
    assert not any(module.training for module in model.modules())


def test_a_shared_table_is_stored_once_and_comes_back_shared(tmp_path: Path) -> None:
    history = FeatureSpec("history", "item_list", 4, 3, "history", "item_id")
    spec = ModelSpec((USER, history), (ITEM,), SPEC.vocabulary_sizes, 4, (), share_item_table=True)
    torch.manual_seed(0)
    save_model(tmp_path / "model", TwoTowers(spec), replace(version("v1"), spec=spec))
    model, loaded = load_model(tmp_path / "model")
    table = model.item.embedding("item_id").get_parameter("table.weight")
    assert loaded.spec == spec
    assert model.user.embedding("history").get_parameter("table.weight") is table
    torch.manual_seed(0)
    assert torch.equal(table, TwoTowers(spec).item.embedding("item_id").get_parameter("table.weight"))


def test_nothing_but_its_own_files_is_left(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [MODEL.manifest, ROW_SUMS, WEIGHTS]
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_version_replaces_another(folder: Path) -> None:
    save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_another_version_is_refused(folder: Path) -> None:
    with pytest.raises(ModelCorrupt, match="must hold model version v2, got v1"):
        load_model(folder, "v2")


def test_a_corrupt_model_is_a_value_error() -> None:
    assert issubclass(ModelCorrupt, ValueError)
