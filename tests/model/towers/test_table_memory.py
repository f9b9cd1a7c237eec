"""Embedding tables that do not fit into the memory of a trainer are refused with the arithmetic."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.features import FeatureSpec, ModelSpec
from model.towers import TwoTowers, table_memory
from model.towers.table_memory import require_tables_fit, table_sizes
from model.training.optimizers import RowWiseAdagrad

CPU = torch.device("cpu")
USER = FeatureSpec("user_id", "id", 64, 1, "user_index", "user_id")
HISTORY = FeatureSpec("history", "item_list", 64, 50, "history", "item_id")
AGE = FeatureSpec("age", "numeric", 8, 1, "age", None)
ITEM = FeatureSpec("item_id", "id", 64, 1, "item_index", "item_id")


def spec(users: int, items: int, user: FeatureSpec = USER) -> ModelSpec:
    sizes = {"user_id": users, "item_id": items}
    return ModelSpec((user, HISTORY, AGE), (ITEM,), sizes, 64, (), share_item_table=True)


def test_the_arithmetic_of_a_hundred_million_users() -> None:
    message = (
        "the embedding tables must fit into the 20.00 GB of training.max_table_gb, got 28.60 GB: user_id 100,000,000 rows "
        "x 64 values = 26.00 GB; item_id 10,000,000 rows x 64 values = 2.60 GB. Give user_id the kind hashed_id"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        require_tables_fit(spec(100_000_000, 10_000_000), CPU, 20.0)
    require_tables_fit(spec(100_000_000, 10_000_000), CPU, 28.6)
    hashed = FeatureSpec("user_id", "hashed_id", 64, 1, "user_index", "user_id", buckets=10_000_000)
    require_tables_fit(spec(100_000_000, 10_000_000, hashed), CPU, 20.0)


def test_rows_of_live_ids_count_and_not_those_of_the_vocabulary() -> None:
    model = replace(spec(100_000_000, 1_000), table_rows={"user_id": 1_000_000})
    assert [(size.feature, size.rows) for size in table_sizes(model)] == [("user_id", 1_000_000), ("item_id", 1_000)]


def test_what_finds_the_rows_of_live_ids_counts() -> None:
    """1,000 rows of live ids among 15,000 indices: 4 bytes for each of both, here more than the weights."""
    model = replace(spec(15_000, 2, replace(USER, dim=8)), table_rows={"user_id": 1_000})
    rows = TwoTowers(model).rows["user_id"]
    rows.assign(torch.cat([torch.arange(2), torch.arange(14_002, 15_000)]).int())
    rows(torch.tensor([5]))
    found = rows.indices.nbytes + rows._map.nbytes
    wanted = sum(size.bytes for size in table_sizes(model)) + found
    require_tables_fit(model, CPU, (wanted + 8) / 1e9)
    with pytest.raises(
        ValueError, match=r"user_id 1,000 rows x 8 values = 3\.6e-05 GB.*which index has which row 6\.4e-05 GB"
    ):
        require_tables_fit(model, CPU, (wanted - 8) / 1e9)


def test_the_advice_for_hashed_ids_is_fewer_buckets() -> None:
    hashed = FeatureSpec("user_id", "hashed_id", 64, 1, "user_index", "user_id", buckets=10**8)
    with pytest.raises(ValueError, match="Give user_id fewer buckets, raise"):
        require_tables_fit(spec(10**8, 1_000, hashed), CPU, 0.3)


def test_the_estimate_is_what_the_tables_take() -> None:
    model = replace(spec(3_000, 500), share_item_table=False)
    tables = TwoTowers(model).tables()
    optimizer = RowWiseAdagrad(tables, lr=0.1)
    taken = sum(table.nbytes + optimizer.state[table]["sum"].nbytes for table in tables)
    assert sum(size.bytes for size in table_sizes(model)) == taken


def test_without_a_limit_it_is_what_is_free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(table_memory, "CGROUP", tmp_path)
    free = table_memory.free_bytes(CPU)
    assert 1e8 < free < 1e14
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert table_memory.free_bytes(CPU) > 1e8
    (tmp_path / "memory.max").write_text("3000000\n")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert table_memory.free_bytes(CPU) == 1_000_000  # of each of two ranks
    with pytest.raises(ValueError, match=r"into the 0\.0005 GB that are half of the free memory, got 0\.0263 GB"):
        require_tables_fit(spec(100_000, 1_000), CPU, 0.0)
