"""The arrows of import: dags -> command line -> jobs -> model, sql; nothing points back."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("dags", "jobs", "model", "sql")
ALLOWED = {"dags": {"airflow"}, "jobs": {"jobs", "model", "sql"}, "model": {"model"}, "sql": {"sql"}}
OURS = {*ROOMS, "tests", "benchmarks"}


def imports_of(text: str) -> set[str]:
    """Top-level names of everything that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def modules(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_where_its_arrows_point(room: str) -> None:
    for path in modules(room):
        forbidden = (imports_of(path.read_text("utf-8")) & OURS) - ALLOWED[room]
        assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


def test_dags_know_airflow_and_the_standard_library_only() -> None:
    for path in modules("dags"):
        foreign = imports_of(path.read_text("utf-8")) - set(sys.stdlib_module_names) - ALLOWED["dags"]
        assert not foreign, f"{path.relative_to(ROOT)} imports {sorted(foreign)}"


def test_petastorm_lives_only_in_the_loaders() -> None:
    found = [path for room in ROOMS for path in modules(room) if "petastorm" in imports_of(path.read_text("utf-8"))]
    assert found == [ROOT / "model" / "data" / "loaders.py"]


def test_spark_stays_out_of_the_model_room() -> None:
    for path in modules("model"):
        assert not imports_of(path.read_text("utf-8")) & {"pyspark", "delta"}, path.name


def test_files_stay_readable_in_one_sitting() -> None:
    for room in ROOMS:
        for path in modules(room):
            assert len(path.read_text("utf-8").splitlines()) <= 250, f"{path.relative_to(ROOT)}: a second room is due"


def test_no_module_shadows_the_standard_library() -> None:
    """`spark-submit jobs/x.py` puts jobs/ first on sys.path."""
    for path in (ROOT / "jobs").iterdir():
        assert path.stem not in sys.stdlib_module_names | {"sql", "model", "jobs"}, path.name


def test_the_import_reader_sees_both_forms() -> None:
    assert imports_of("import model.losses\nfrom sql import read\nfrom . import x") == {"model", "sql"}
