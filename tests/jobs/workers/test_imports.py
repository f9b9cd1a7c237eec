"""Workers import neither the lake nor the configuration: these take 70 MB of a worker, and there is one for each core."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import cloudpickle

from jobs.workers.embedding import embedding_of_items, embedding_of_users
from jobs.workers.files import FileLayout, writing
from jobs.workers.references import IndexReference, ModelReference
from jobs.workers.scoring import ListPlan, scoring
from model.search.lists.calibration import Calibration
from model.search.lists.candidate_lists import Quotas

ROOT = Path(__file__).resolve().parents[3]
LARGE = {"jobs.lake", "jobs.config", "deltalake", "polars", "pydantic"}
LOADED = """
import pickle, sys
function = pickle.load(open(sys.argv[1], "rb"))
print(*sys.modules)
"""
INDEX = IndexReference("v1", "exact", "index", "items", None, Calibration(1.0, 10))
PLAN = ListPlan(Quotas(10, 0, 0, 0), "", 0, order_by_score=True, neighbours=(0, 1.0))
MODEL = ModelReference("v1", "model")


@pytest.mark.parametrize("what", ["lists", "users", "items"])
def test_a_worker_that_gets_its_function_imports_little(what: str, tmp_path: Path) -> None:
    lists = scoring(INDEX, PLAN, dt.datetime(2024, 2, 29, tzinfo=dt.UTC), ["user_id"])
    functions = {
        "lists": writing(lists, tmp_path, FileLayout(pa.schema([]), 10, "snappy")),
        "users": embedding_of_users(MODEL, ["user_id"]),
        "items": embedding_of_items(MODEL, ["item_id"], 1),
    }
    (tmp_path / "function").write_bytes(cloudpickle.dumps(functions[what]))
    command = [sys.executable, "-c", LOADED, str(tmp_path / "function")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    modules = set(done.stdout.split())
    assert modules >= {"jobs.workers", "pyarrow"}
    assert not modules & LARGE
    assert ("torch" in modules) == (what != "lists")
