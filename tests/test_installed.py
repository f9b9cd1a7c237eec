"""A wheel, installed in an environment of its own and used outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from email import message_from_bytes
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.test_packages import entries

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("batch_recall", "dags", "jobs", "model", "requirements", "sql")
FILES = ("MANIFEST.in", "pyproject.toml", "recall.toml", "setup.py")
FOREIGN = "another project"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, as a build writes beside its sources."""
    copy = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "."]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(copy.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a virtual environment with the wheel, this environment's packages, and a foreign package `jobs`."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    # a line with a path only: the .pth files there, such as that of this checkout, are not read
    (site / "packages.pth").write_text(f"{sysconfig.get_path('purelib')}\n", "utf-8")
    (site / "jobs").mkdir()
    (site / "jobs" / "__init__.py").write_text(f'"""{FOREIGN}"""\n', "utf-8")
    install = [sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index"]
    done = subprocess.run([*install, wheel], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder


def run(folder: Path, program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    variables = {name: os.environ[name] for name in ("JAVA_HOME", "JAVA_TOOL_OPTIONS") if name in os.environ}
    variables["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        [str(folder / "bin" / program), *words], cwd=cwd, env=variables, capture_output=True, text=True, timeout=300
    )


def test_the_command_lists_the_jobs_and_runs_one(installed: Path, tmp_path: Path) -> None:
    listed = run(installed, "batch-recall", "--help", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "  run-day  " in listed.stdout
    asked = run(installed, "batch-recall", "await-log", "--lake", "lake", "--ds", "2026-01-31", cwd=tmp_path)
    assert asked.returncode == 99, asked.stderr


def test_jobs_with_python_workers_find_the_code_and_its_files(installed: Path, tmp_path: Path) -> None:
    """Simulated rows are made by Spark's Python workers; the tables need SQL files and recall.toml."""
    common = ("--lake", "lake", "--ds", "2026-01-31")
    log = run(installed, "batch-recall", "simulate-log", *common, "--users", "40", "--items", "30", cwd=tmp_path)
    assert log.returncode == 0, log.stderr
    built = run(installed, "batch-recall", "build-interactions", *common, cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    assert (tmp_path / "lake" / "interactions" / "ds=2026-01-31").is_dir()


def test_the_folder_of_the_code_has_what_spark_submit_and_airflow_need(installed: Path, tmp_path: Path) -> None:
    code = Path(run(installed, "batch-recall", "--code", cwd=tmp_path).stdout.strip())
    assert code.parent.name == "site-packages"
    assert code.parent.is_relative_to(installed)
    for name in ("jobs/run_day.py", "recall.toml", "dags/batch_recall_daily.py", "jobs/report/page.html"):
        assert (code / name).read_bytes() == (ROOT / name).read_bytes()
    packed = {path.relative_to(code) for room in ("model", "sql") for path in code.joinpath(room).rglob("*.*")}
    sources = {path.relative_to(ROOT) for room in ("model", "sql") for path in ROOT.joinpath(room).rglob("*.*")}
    assert {path for path in packed if path.suffix != ".pyc"} == {path for path in sources if path.suffix != ".pyc"}


def test_nothing_is_installed_under_a_name_that_others_use(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        tops = {name.split("/")[0] for name in opened.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"batch_recall"}


def test_lists_are_read_in_a_process_without_a_foreign_package(installed: Path, tmp_path: Path) -> None:
    code = "import sys; path = [*sys.path]; from batch_recall import read_candidates; assert sys.path == path"
    done = run(installed, "python", "-c", f"{code}; print(read_candidates.__module__)", cwd=tmp_path)
    assert done.stdout == "jobs.serving.lookup\n", done.stderr
    assert "RuntimeWarning: `import jobs` gives batch-recall's package from now on, not" in done.stderr
    assert "site-packages/jobs/__init__.py: use the other one in another process" in done.stderr


def test_a_foreign_package_that_is_loaded_first_is_named(installed: Path, tmp_path: Path) -> None:
    code = f"import jobs; assert jobs.__doc__ == {FOREIGN!r}; from batch_recall import read_candidates"
    done = run(installed, "python", "-c", code, cwd=tmp_path)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: the package jobs must be batch-recall's in ")
    assert "site-packages/jobs/__init__.py, which this process has loaded before" in last


def test_the_wheel_requires_what_the_requirements_list(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        name = next(name for name in opened.namelist() if name.endswith("/METADATA"))
        metadata = message_from_bytes(opened.read(name))
    required = metadata.get_all("Requires-Dist") or []
    listed = entries("compute.in")
    run_time = [entry for entry in listed if entry in required]
    assert run_time == listed[: len(run_time)]
    assert {"pyspark==4.0.5", "torch==2.12.1"} <= {*run_time}
    assert not {"pytest", "ruff", "mypy"} & {*required}
    assert metadata.get_all("Provides-Extra") == ["airflow", "gpu", "s3"]
    extras = [entry.partition("; extra == ")[0] for entry in required if "extra ==" in entry]
    assert extras == entries("airflow.in")
    assert len(required) == len(run_time) + len(extras)


def test_the_command_runs_from_the_zip_of_a_cluster(tmp_path: Path) -> None:
    zipped = tmp_path / "batch-recall.zip"
    subprocess.run([sys.executable, ROOT / "build_zip.py", zipped], check=True, timeout=60)
    for words in (["--help"], ["run-day", "--help"]):
        texts = [
            subprocess.run(
                [sys.executable, "-m", "batch_recall", *words],
                cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(code)}, capture_output=True, text=True, timeout=60,
            ).stdout
            for code in (zipped, ROOT)
        ]  # fmt: skip
        assert texts[0] == texts[1]
        assert texts[0].startswith("usage: batch-recall ")


def test_an_editable_installation_runs_the_checkout(wheel: Path, tmp_path: Path) -> None:
    copy, folder = wheel.parent, tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    site = next((folder / "lib").glob("python3.*")) / "site-packages"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*install, "--target", site, "--editable", copy], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    code = "import batch_recall, jobs, model, sql; print(batch_recall.CODE, jobs.__path__[0])"
    found = run(folder, "python", "-c", code, cwd=tmp_path)
    assert found.stdout.split() == [str(copy), str(copy / "jobs")], found.stderr
