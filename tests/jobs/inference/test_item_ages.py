"""Executors embed items with their age at the start of the day on which the lists are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from pyspark.sql import SparkSession

from jobs.inference.embedding import item_embeddings
from jobs.workers.references import ModelReference
from model.artifacts.model_version import ModelVersion, save_model
from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers
from model.vocabulary import FIRST_INDEX, UNKNOWN

D, TODAY = 8, 20_000
SPEC = ModelSpec(
    user=(FeatureSpec("user_id", "id", D, 1, "user_index", "user_id"),),
    item=(
        FeatureSpec("item_id", "id", D, 1, "item_index", "item_id"),
        FeatureSpec("days_old", "age", 4, 1, "days_old", None),
    ),
    vocabulary_sizes={"user_id": FIRST_INDEX, "item_id": FIRST_INDEX + 3},
    embedding_dim=D,
    hidden=(),
)


def test_items_are_embedded_with_their_age_on_the_day(spark: SparkSession, tmp_path: Path) -> None:
    torch.manual_seed(0)
    towers = TwoTowers(SPEC)
    save_model(tmp_path / "model", towers, ModelVersion("v1", SPEC, {}, {}, {}))
    rows = [("i0", 2, True, False, TODAY - 1.0), ("i1", 3, True, True, TODAY - 31.0), ("i2", 4, True, False, None)]
    schema = "item_id string, item_index int, available boolean, explored boolean, days_old float"
    ref = ModelReference("v1", str(tmp_path / "model"))
    found = item_embeddings(spark.createDataFrame(rows, schema), ref, TODAY).orderBy("item_id").collect()
    ages = torch.tensor([np.log(2), np.log(32), np.nan], dtype=torch.float32)
    with torch.no_grad():
        want = towers.item({"item_id": torch.tensor([2, 3, 4]), "days_old": ages}).numpy()
        explored = towers.item({"item_id": torch.tensor([UNKNOWN]), "days_old": ages[1:2]}).numpy()
    np.testing.assert_allclose([row.embedding for row in found], want, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1].feature_embedding, explored[0], rtol=0, atol=1e-6)
    assert [row.feature_embedding is None for row in found] == [True, False, True]
