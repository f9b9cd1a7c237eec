from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.model.small_world import SETTINGS, SPEC, D, World, changed


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture
def values(world: World, tmp_path: Path) -> dict[str, Any]:
    """A training spec in JSON, as the job writes it."""
    pinned = {}
    for name in ("examples", "items", "probabilities"):
        table = getattr(world, name)()
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=250)
        pinned[name] = {"version": 0, "files": [(tmp_path / f"{name}.parquet").as_uri()], "rows": table.num_rows}
    return changed(
        {"data": {}, "loss": {}, "run": {}},
        model_version="v1",
        folder=str(tmp_path / "model"),
        checkpoints=str(tmp_path / "checkpoints"),
        model=SPEC.to_json(),
        negatives={"correction": "logq"},
        last_day=None,
        hide_history=True,
        warm_start=None,
        numeric_stats={"user": {"age": [[44.0], [14.0]]}, "item": {"year": [[2000.0], [11.0]]}},
        unclicked_length=10,
        final_before=0,
        inputs={"ds": "2026-03-01"},
        configuration={"model": {"embedding_dim": D}},
        **pinned,
        **SETTINGS,
    )
