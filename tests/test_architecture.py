"""The rules of the layout, checked on the sources: allowed imports, no cycles, small folders, files and functions.

Each rule is a function that returns the violations, and is tested on a small bad example too.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.imports import cycles, functions_of, import_graph, imports_of

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("dags", "jobs", "model", "sql")
FOLDERS = (*ROOMS, "batch_recall", "benchmarks", "examples", "tests")
ALLOWED = {
    "batch_recall": {"batch_recall", "jobs", "model"}, "dags": {"airflow"}, "jobs": {"jobs", "model", "sql"}, "model": {"model"}, "sql": {"sql"},
}  # fmt: skip
RUNNERS = {"jobs.run_day", "jobs.rebuild_days", "jobs.run_demo"}  # they run other jobs
VAGUE = {"common", "util", "utils", "helper", "helpers", "manager", "misc"}
NAMES_PER_FOLDER = 12
# one more in model/, where bank and frequency must be importable by these names
MORE_NAMES = {"model": 13}
FULL_BY_DESIGN = {"jobs", "sql"}  # a file per job, a folder per table
LINES_PER_FILE, LINES_PER_FUNCTION, LINES_PER_MAIN = 250, 70, 15
TORCH_FREE = (
    "jobs.config.loading", "jobs.cli.arguments", "jobs.lake.lake", "model.registry", "model.vocabulary",
    "model.training.spec",
)  # fmt: skip


def python_files(root: Path = ROOT, folders: Iterable[str] = FOLDERS) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def forbidden_imports(root: Path, room: str) -> list[str]:
    """Files of a top-level folder that import a folder which it must not import."""
    found = []
    for path in python_files(root, [room]):
        wrong = ({name.split(".")[0] for name in imports_of(path.read_text("utf-8"))} & {*FOLDERS}) - ALLOWED[room]
        found += [f"{path.relative_to(root)} imports {name}" for name in sorted(wrong)]
    return found


def imported_jobs(graph: Mapping[str, set[str]], jobs: set[str]) -> list[str]:
    """Imports of a job, except those by a job that runs other jobs."""
    inside = {name: imported for name, imported in graph.items() if name.startswith("jobs.") and name not in RUNNERS}
    return [f"{name} imports {job}" for name, imported in sorted(inside.items()) for job in sorted(imported & jobs)]


def packages_imported(root: Path, room: str, packages: set[str]) -> list[str]:
    """Files of a top-level folder that import one of the packages."""
    paths = python_files(root, [room])
    return [
        path.relative_to(root).as_posix()
        for path in paths
        if {name.split(".")[0] for name in imports_of(path.read_text("utf-8"))} & packages
    ]


def full_folders(root: Path) -> list[str]:
    """Folders, except those of tests, with more than a dozen names."""
    found = []
    for folder in sorted({path.parent for path in python_files(root, [*ROOMS, "benchmarks"])}):
        name = folder.relative_to(root).as_posix()
        shown = [path for path in folder.iterdir() if not path.name.startswith("_")]
        if name not in FULL_BY_DESIGN and len(shown) > MORE_NAMES.get(name, NAMES_PER_FOLDER):
            found.append(f"{name}: {len(shown)} names")
    return found


def long_files(root: Path) -> list[str]:
    sizes = {path: len(path.read_text("utf-8").splitlines()) for path in python_files(root)}
    return [f"{path.relative_to(root)}: {lines} lines" for path, lines in sizes.items() if lines > LINES_PER_FILE]


def long_functions(root: Path) -> list[str]:
    """Functions over 70 lines, docstrings not counted, and the `main()` of a job over 15."""
    found = []
    for path in python_files(root):
        is_job = path.parent == root / "jobs"
        for name, lines in functions_of(path.read_text("utf-8")):
            if lines > (LINES_PER_MAIN if is_job and name == "main" else LINES_PER_FUNCTION):
                found.append(f"{path.relative_to(root)}: {name}() has {lines} lines")
    return found


def vague_names(root: Path) -> list[str]:
    """Files and folders whose name does not say what is in them."""
    paths = python_files(root)
    return [str(path.relative_to(root)) for path in paths if VAGUE & {path.stem, *path.relative_to(root).parts}]


def torch_loaders(modules: Iterable[str]) -> list[str]:
    """Those of `modules` whose import loads torch."""
    script = f"""
import importlib, sys
for name in {list(modules)}:
    importlib.import_module(name)
    if 'torch' in sys.modules:
        print(name)
        break
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty project."""
    for folder in FOLDERS:
        (tmp_path / folder).mkdir()
    return tmp_path


def write(root: Path, name: str, text: str = "") -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    ("room", "statement"),
    [
        ("model", "import jobs.lake.lake"),
        ("model", "if TYPE_CHECKING:\n    from sql import read"),
        ("sql", "def f():\n    from model.losses import Columns"),
        ("jobs", "from tests.conftest import DAYS"),
        ("dags", "from jobs import run_day"),
    ],
)
def test_a_wrong_arrow_is_found(tree: Path, room: str, statement: str) -> None:
    write(tree, f"{room}/a.py", statement)
    assert len(forbidden_imports(tree, room)) == 1


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_where_its_arrows_point(room: str) -> None:
    assert forbidden_imports(ROOT, room) == []


def test_a_job_or_a_room_that_imports_a_job_is_found(tree: Path) -> None:
    write(tree, "jobs/build_x.py")
    write(tree, "jobs/build_y.py", "from jobs import build_x")
    write(tree, "jobs/lake/z.py", "def f():\n    import jobs.build_x")
    write(tree, "jobs/run_day.py", "from jobs import build_x")
    found = imported_jobs(import_graph(tree, ["jobs"]), {"jobs.build_x", "jobs.build_y", "jobs.run_day"})
    assert found == ["jobs.build_y imports jobs.build_x", "jobs.lake.z imports jobs.build_x"]


def test_no_job_is_imported_but_by_those_that_run_jobs() -> None:
    jobs = {f"jobs.{path.stem}" for path in (ROOT / "jobs").glob("*.py") if path.stem != "__init__"}
    assert len(jobs) > 20
    assert imported_jobs(import_graph(ROOT, ["jobs"]), jobs) == []


def test_a_cycle_is_found_and_named(tree: Path) -> None:
    write(tree, "jobs/__init__.py")
    write(tree, "jobs/a.py", "from jobs import b")
    write(tree, "jobs/b.py", "def f():\n    from jobs.sub.c import D")
    write(tree, "jobs/sub/__init__.py", "from jobs.sub.c import D")
    write(tree, "jobs/sub/c.py", "if TYPE_CHECKING:\n    from .. import a")
    write(tree, "jobs/free.py", "from jobs import a")
    assert cycles(import_graph(tree, FOLDERS)) == [["jobs.a", "jobs.b", "jobs.sub.c"]]


def test_no_two_files_import_each_other() -> None:
    assert cycles(import_graph(ROOT, FOLDERS)) == []


def test_dags_know_airflow_and_the_standard_library_only() -> None:
    for path in python_files(ROOT, ["dags"]):
        imported = {name.split(".")[0] for name in imports_of(path.read_text("utf-8"))}
        assert not imported - set(sys.stdlib_module_names) - ALLOWED["dags"], path


def test_petastorm_is_imported_only_in_model_data_and_spark_not_in_model(tree: Path) -> None:
    write(tree, "model/a.py", "def f():\n    from petastorm import make_reader")
    assert packages_imported(tree, "model", {"petastorm"}) == ["model/a.py"]
    for room in ROOMS:
        found = packages_imported(ROOT, room, {"petastorm"})
        assert all(name.startswith("model/data/") for name in found), found
    assert packages_imported(ROOT, "model", {"petastorm"})
    assert packages_imported(ROOT, "model", {"pyspark", "delta"}) == []


def test_a_full_folder_is_found(tree: Path) -> None:
    for number in range(NAMES_PER_FOLDER + 1):
        write(tree, f"model/full/m{number}.py")
        write(tree, f"jobs/j{number}.py")
    write(tree, "model/full/__init__.py")
    assert full_folders(tree) == ["model/full: 13 names"]


def test_a_folder_shows_at_most_a_dozen_names() -> None:
    assert full_folders(ROOT) == []


def test_files_and_functions_that_are_too_long_are_found(tree: Path) -> None:
    write(tree, "benchmarks/long.py", "x = 1\n" * (LINES_PER_FILE + 1))
    write(tree, "jobs/build_x.py", "def main():\n" + "    x = 1\n" * LINES_PER_MAIN)
    write(tree, "tests/a.py", "class A:\n    def main(self):\n" + "        x = 1\n" * LINES_PER_FUNCTION)
    write(tree, "tests/b.py", "def main():\n" + "    x = 1\n" * LINES_PER_MAIN)
    write(tree, "tests/c.py", 'def f():\n    """' + "x\n" * LINES_PER_FUNCTION + '"""\n')
    assert long_files(tree) == ["benchmarks/long.py: 251 lines"]
    assert long_functions(tree) == ["jobs/build_x.py: main() has 16 lines", "tests/a.py: main() has 71 lines"]


def test_no_file_has_more_than_250_lines() -> None:
    assert long_files(ROOT) == []


def test_functions_are_short() -> None:
    assert long_functions(ROOT) == []


def test_a_vague_name_is_found(tree: Path) -> None:
    write(tree, "model/utils.py")
    write(tree, "jobs/common/lake.py")
    assert vague_names(tree) == ["jobs/common/lake.py", "model/utils.py"]


def test_names_say_what_is_in_a_file() -> None:
    assert vague_names(ROOT) == []


def test_jobs_start_without_torch_unless_they_need_it() -> None:
    assert torch_loaders(["json", "model.bank"]) == ["model.bank"]
    assert torch_loaders(TORCH_FREE) == []


def test_no_module_shadows_the_standard_library() -> None:
    """`spark-submit jobs/x.py` puts jobs/ first on sys.path."""
    for path in (ROOT / "jobs").iterdir():
        assert path.stem not in sys.stdlib_module_names | {"sql", "model", "jobs"}, path.name


def test_the_reader_of_imports_sees_every_form() -> None:
    text = "import model.losses\nfrom sql import read\nfrom . import x\nfrom ..lake import y"
    assert imports_of(text, "jobs.cli.run") == {"model.losses", "sql.read", "jobs.cli.x", "jobs.lake.y"}
    assert imports_of("from .a import b", "jobs.cli", is_package=True) == {"jobs.cli.a.b"}
