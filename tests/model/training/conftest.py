from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.model.small_world import SPEC, World, changed
from tests.model.training.interrupted_runs import EVERY


@pytest.fixture
def everything(values: dict[str, Any], world: World, tmp_path: Path) -> dict[str, Any]:
    """A spec whose training has every kind of state, with a day held out."""
    examples, names = world.examples(), ("examples", "last_day")
    for name, rows in zip(names, (examples.slice(0, 2500), examples.slice(2500)), strict=True):
        pq.write_table(rows, tmp_path / f"{name}.parquet", row_group_size=190)
        values["data"][name] = {"version": 0, "files": [(tmp_path / f"{name}.parquet").as_uri()], "rows": len(rows)}
    probabilities = world.probabilities()
    for name in ("q_before", "q_last"):
        probabilities = probabilities.append_column(name, probabilities["q"])
    pq.write_table(probabilities, tmp_path / "probabilities.parquet")
    negatives = {
        "correction": "logq_negatives",
        "corpus": 32,
        "bank": 512,
        "bank_holds": "all",
        "bank_warmup_steps": 3,
        "mask": "user",
    }
    return changed(
        values,
        negatives=negatives,
        epochs=3,
        checkpoint_steps=EVERY,
        patience=1,
        frequency_source="streaming",
        learn_temperature=True,
        user_id_dropout=0.3,
        model={**SPEC.to_json(), "item_id_shrinkage": 2.0, "user_encoder": "attention"},
        user_encoder_dropout=0.2,
        embedding_weight_decay=0.1,
        min_held_back_share=0.3,
        min_id_examples=1,
        candidates_per_user=10,
    )
