"""The packed environment has all that workers import, works where it is unpacked, and is the same in every build."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
# all that Python workers run, but for the towers
OF_WORKERS = "import jobs.workers.scoring, jobs.workers.files, jobs.serving.export.redis_writer, jobs.simulate_log"


@pytest.fixture(scope="module")
def packing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_environment", ROOT / "build_environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(packages: list) -> set[str]:
    return {package.name.lower().replace("_", "-") for package in packages}


def test_spark_and_development_stay_out_and_torch_is_in_the_full_one_alone(packing: ModuleType) -> None:
    workers, full = (names(packing.needed(wanted)) for wanted in (packing.WORKERS, packing.all_packages()))
    assert workers < full
    assert not full & {"pyspark", "py4j", "batch-recall", "pytest", "ruff", "mypy"}
    assert full - workers >= {"torch", "petastorm", "duckdb", "mlflow-skinny"}


def test_workers_find_all_that_they_import(packing: ModuleType, tmp_path: Path) -> None:
    """The environment has links to the packages of the small archive and to Spark's, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True, timeout=60)
    site = next((tmp_path / "venv" / "lib").glob("python3.*")) / "site-packages"
    for package in [*packing.needed(packing.WORKERS), *map(packing.distribution, packing.SPARK)]:
        for top in {file.parts[0] for file in package.files or () if ".." not in file.parts}:
            (site / top).symlink_to(package.locate_file(top))
    python = tmp_path / "venv" / "bin" / "python"
    done = subprocess.run([python, "-c", OF_WORKERS], cwd=ROOT, capture_output=True, text=True, env={}, timeout=60)
    assert done.returncode == 0, done.stderr
    torch = subprocess.run([python, "-c", "import torch"], capture_output=True, text=True, env={}, timeout=60)
    assert "No module named 'torch'" in torch.stderr


def test_an_environment_works_where_it_is_unpacked(packing: ModuleType, tmp_path: Path) -> None:
    for number in ("1", "2"):
        packing.build_environment(tmp_path / number / "e.tar.gz", ["threadpoolctl"], sys._base_executable)
    archive = tmp_path / "1" / "e.tar.gz"
    assert archive.read_bytes() == (tmp_path / "2" / "e.tar.gz").read_bytes()
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path / "elsewhere")
    code = "import sys, threadpoolctl; print(sys.prefix); print(threadpoolctl.__file__)"
    python = tmp_path / "elsewhere" / "bin" / "python"
    said = subprocess.run([python, "-c", code], env={}, capture_output=True, text=True, check=True, timeout=60)
    prefix, file = said.stdout.splitlines()
    assert prefix == str(tmp_path / "elsewhere")
    assert Path(file) == tmp_path / "elsewhere" / packing.SITE / "threadpoolctl.py"
