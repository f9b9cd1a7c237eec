"""Variants, options of the loss and kinds of features, from the configuration to a trained model."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from jobs import (
    run_day,
    simulate_log,
    train_two_tower,
)
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.training.spec import training_spec
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after

FIRST, SECOND, THIRD, FOURTH = DAYS


@pytest.mark.parametrize("variant", slow_after(1, ["mns", "cbns", "mixed"]))
def test_a_variant_of_each_preset_trains_beside_the_main_model(simulated_copy: Lake, variant: str) -> None:
    before = simulated_copy.version(tables.MODEL_VERSIONS)
    arguments = ["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(THIRD), "--variant", variant]
    assert train_two_tower.main(arguments) > 0
    beside = Lake(simulated_copy.spark, simulated_copy.uri, variant)
    row = beside.day(tables.MODEL_VERSIONS, THIRD).first()
    assert row is not None
    assert (Path(beside.model_path("models")) / row.model_version / "weights.safetensors").is_file()
    assert simulated_copy.version(tables.MODEL_VERSIONS) == before


@pytest.mark.slow
def test_a_model_with_every_option_of_the_loss_is_trained(simulated_with_variant: Lake) -> None:
    """Row negatives, rewards, streaming frequencies, a learned temperature, a bank that warms up by drift."""
    beside = Lake(simulated_with_variant.spark, simulated_with_variant.uri, "everything")
    row = beside.day(tables.MODEL_VERSIONS, THIRD).first()
    assert row is not None
    manifest = Path(beside.model_path("models")) / row.model_version / "model.json"
    metrics = json.loads(manifest.read_text("utf-8"))["metrics"]
    assert metrics["temperature"] != pytest.approx(0.15, rel=1e-4)
    assert metrics["bank_warm_at"] is not None
    assert 0 < metrics["estimator"]["log_ratio"] < 1
    assert metrics["estimator"]["items"] > 100


def test_outcomes_of_examples_are_final_before_the_end_of_the_day(simulated: Lake, config: Config) -> None:
    loss = training_spec(simulated, config, THIRD).loss
    assert dt.datetime.fromtimestamp(loss.final_before, dt.UTC) == dt.datetime.combine(FOURTH, dt.time(), dt.UTC)


ALL_KINDS = """
[[features.user]]
name = "user_id"
kind = "hashed_id"
buckets = 64
dim = 16
[[features.user]]
name = "history"
kind = "item_list"
length = 5
dim = 16
gaps = true
[[features.user]]
name = "taste"
kind = "vector"
length = 4
dim = 16
[[features.user]]
name = "saved"
kind = "item_list"
length = 3
dim = 16
[[features.item]]
name = "item_id"
kind = "id"
dim = 16
[[features.item]]
name = "image"
kind = "vector"
length = 8
dim = 16
[[features.item]]
name = "shelves"
kind = "categorical"
length = 2
dim = 8
[[features.item]]
name = "price"
kind = "numeric"
dim = 4
[model]
embedding_dim = 24
hidden = [32]
user_encoder = "attention"
[training]
epochs = 2
batch_size = 128
"""


@pytest.mark.slow
def test_a_day_runs_with_every_kind_of_feature(lake: Lake, tmp_path: Path) -> None:
    """Hashed user ids, a vector and a list of items on the user's side, a many-valued category, hidden layers."""
    own = tmp_path / "own.toml"
    own.write_text(ALL_KINDS, "utf-8")
    common = ["--lake", lake.uri, "--config", str(own), "--ds", str(FIRST)]
    simulate_log.main([*common, "--users", "150", "--items", "150"])
    run_day.main(common)
    row = lake.read(tables.ITEM_EMBEDDINGS).first()
    assert row is not None
    assert len(row.embedding) == 24
    assert sum(value**2 for value in row.embedding) == pytest.approx(1, abs=1e-5)
    assert read_candidates(lake.uri)["user_id"].nunique() == 150
