"""Workers import neither the lake nor the configuration: there is a worker for each core, and these are large."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import cloudpickle

from jobs.workers.embedding import item_embedder, user_embedder
from jobs.workers.files import FileLayout, file_writer
from jobs.workers.references import IndexReference, ModelReference
from jobs.workers.scoring import ListPlan, list_maker
from model.search.lists.calibration import Calibration
from model.search.lists.candidate_lists import Quotas
from tests.imports import import_graph

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


def test_no_code_of_workers_imports_the_lake_or_the_configuration() -> None:
    graph = import_graph(ROOT, ["jobs", "model", "sql"])
    found = waiting = {name for name in graph if name.startswith("jobs.workers.")}
    while waiting:
        waiting = {imported for name in waiting for imported in graph[name]} - found
        found = found | waiting
    assert not {name for name in found if name.startswith(("jobs.lake", "jobs.config"))}


@pytest.mark.parametrize("what", ["lists", "users", "items"])
def test_a_worker_that_gets_its_function_imports_little(what: str, tmp_path: Path) -> None:
    lists = list_maker(INDEX, PLAN, dt.datetime(2024, 2, 29, tzinfo=dt.UTC), ["user_id"])
    functions = {
        "lists": file_writer(lists, tmp_path, FileLayout(pa.schema([]), 10, "snappy")),
        "users": user_embedder(MODEL, ["user_id"]),
        "items": item_embedder(MODEL, ["item_id"], 1),
    }
    (tmp_path / "function").write_bytes(cloudpickle.dumps(functions[what]))
    command = [sys.executable, "-c", LOADED, str(tmp_path / "function")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    assert modules >= {"jobs.workers", "pyarrow"}
    assert not modules & LARGE
    assert ("torch" in modules) == (what != "lists")
