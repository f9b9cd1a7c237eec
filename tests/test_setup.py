"""The set-up rejects an unfit machine in one line before it creates anything; no link of the checkout dangles."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("benchmarks", "dags", "docs", "examples", "jobs", "model", "requirements", "sql", "tests")
MAKE_TEST = '.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"'
TOOLS = [
    "awk", "bash", "cut", "date", "dirname", "flock", "grep", "head", "make", "mkdir", "rm", "sed", "tail",
]  # fmt: skip


def python(version: str = "3.11", lacks: str = "nothing") -> str:
    return f'#!/bin/sh\ncase "$*" in *{lacks}*) exit 1 ;; *sys.version_info*) echo {version} ;; esac\n'


def java(version: str) -> str:
    return f"#!/bin/sh\necho Picked up JAVA_TOOL_OPTIONS: -Xmx1g >&2\necho 'java version \"{version}\"' >&2\n"


def df(free_gb: int) -> str:
    return f"#!/bin/sh\necho Filesystem Blocks Used Available\necho /dev/a 9 9 {free_gb * 1024**2}\n"


def uname(machine: str) -> str:
    return f'#!/bin/sh\n[ "$1" = -s ] && echo Linux || echo {machine}\n'


FIT = {"python3.11": python(), "java": java("17.0.15"), "df": df(20), "uname": uname("x86_64")}


class Machine:
    """A copy of the files that the set-up reads, with only the given commands on PATH."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "checkout"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.checkout.mkdir()
        for name in ("Makefile", "setup.py"):
            shutil.copy(ROOT / name, self.checkout)
        shutil.copytree(ROOT / "requirements", self.checkout / "requirements")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(shutil.which(tool) or pytest.fail(f"no {tool} on this machine"))

    def has(self, commands: Mapping[str, str | None]) -> None:
        """Put each command on PATH as a script with that text; None removes it."""
        for name, text in commands.items():
            (self.bin / name).unlink(missing_ok=True)
            if text is not None:
                (self.bin / name).write_text(text, "utf-8")
                (self.bin / name).chmod(0o755)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        variables = {"PATH": str(self.bin), "HOME": str(self.bin.parent)} | variables
        return subprocess.run(
            command, cwd=self.checkout, env=variables, capture_output=True, text=True, timeout=60, check=False
        )

    def files(self) -> set[Path]:
        return set(self.checkout.rglob("*"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.has(FIT)
    return machine


def printed(result: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines that the set-up printed, without those of make itself."""
    return [line for line in (result.stdout + result.stderr).splitlines() if not line.startswith("make: ***")]


def test_fit_machine_passes_the_preflight(machine: Machine) -> None:
    result = machine.run("bash", "requirements/preflight.sh")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{machine.bin}/python3.11\n", "")


JRE = "apt install openjdk-17-jre-headless"
UNFIT = {
    "no Python": (
        {"python3.11": None},
        {},
        "Python 3.11 is needed and there is none",
        "apt install python3.11 ",
    ),
    "another Python": ({"python3.11": None, "python3": python("3.12")}, {}, "and python3 is 3.12", "PYTHON="),
    "a broken Python": ({"python3.11": "#!/bin/sh\nexit 1\n"}, {}, "python3.11 does not run", "PYTHON="),
    "a wrong PYTHON": (
        {},
        {"PYTHON": "/nowhere/python"},
        "Python 3.11 is needed and there is none",
        "PYTHON=",
    ),
    "no venv": (
        {"python3.11": python(lacks="ensurepip")},
        {},
        "lacks the venv module",
        "apt install python3.11-venv",
    ),
    "no headers": (
        {"python3.11": python(lacks="Python.h")},
        {},
        "lacks Python.h",
        "apt install python3.11-dev",
    ),
    "no Java": ({"java": None}, {}, "Java 17 or 21 is needed and there is no java", JRE),
    "a wrong JAVA_HOME": ({}, {"JAVA_HOME": "/nowhere"}, "there is no /nowhere/bin/java", "JAVA_HOME"),
    "a broken Java": ({"java": "#!/bin/sh\nexit 1\n"}, {}, "java does not run", JRE),
    "Java 8": ({"java": java("1.8.0_402")}, {}, "java is 8", JRE),
    "Java 11": ({"java": java("11.0.22")}, {}, "java is 11", JRE),
    "Java 25": ({"java": java("25")}, {}, "java is 25", JRE),
    "a full disk": ({"df": df(4)}, {}, "10 GB of disk are needed", "make room"),
    "another processor": ({"uname": uname("riscv64")}, {}, "this is Linux on riscv64", "locked packages"),
}


@pytest.mark.parametrize(("commands", "variables", "problem", "remedy"), UNFIT.values(), ids=UNFIT)
def test_an_unfit_machine_is_rejected_in_one_line(
    machine: Machine, commands: Mapping[str, str | None], variables: dict[str, str], problem: str, remedy: str
) -> None:
    machine.has(commands)
    before = machine.files()
    result = machine.run("make", "test", **variables)
    lines = printed(result)
    assert result.returncode != 0
    assert len(lines) == 1, lines
    assert lines[0].startswith("set-up: ")
    assert problem in lines[0]
    assert remedy in lines[0]
    assert machine.files() == before


def test_each_problem_has_a_line(machine: Machine) -> None:
    machine.has({"python3.11": None, "java": None})
    lines = printed(machine.run("make", "demo"))
    assert [re.search(r"Python|Java", line).group() for line in lines] == ["Python", "Java"]  # type: ignore[union-attr]


def test_a_path_with_a_space_is_rejected(machine: Machine) -> None:
    machine.checkout = machine.checkout.rename(machine.checkout.with_name("check out"))
    lines = printed(machine.run("make", "test"))
    assert len(lines) == 1
    assert "a path with a space" in lines[0]


def test_an_unreachable_registry_is_reported_in_one_line(machine: Machine) -> None:
    variables = {"PYTHON": sys.executable, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_NO_INDEX": "0"}
    result = machine.run("make", "test", **variables)
    lines = printed(result)
    assert result.returncode != 0
    assert len(lines) == 2, lines
    assert "filling .venv" in lines[0]
    assert "the package registry could not be reached" in lines[1]
    assert not (machine.checkout / ".venv" / ".set_up").exists()


def test_a_finished_set_up_is_not_repeated(machine: Machine) -> None:
    stamp = machine.checkout / ".venv" / ".set_up"
    stamp.parent.mkdir()
    stamp.touch()
    assert [line.strip() for line in printed(machine.run("make", "--dry-run", "test"))] == [MAKE_TEST]


def test_airflow_has_its_own_environment_and_lock(machine: Machine) -> None:
    stamp = machine.checkout / ".venv" / ".set_up"
    stamp.parent.mkdir()
    stamp.touch()
    for name in ("airflow.txt", "set_up_airflow.sh"):
        (machine.checkout / "requirements" / name).touch()
    assert machine.run("make", "--dry-run", "test").stdout.strip() == MAKE_TEST
    lines = printed(machine.run("make", "--dry-run", "airflow-run", "DS=2026-01-31"))
    assert lines[0] == "bash requirements/set_up_airflow.sh"
    assert lines[1].endswith('exec bash dags/local/run_one_day.sh "2026-01-31"')


def test_the_object_store_has_its_own_set_up(machine: Machine) -> None:
    stamp = machine.checkout / ".venv" / ".set_up"
    stamp.parent.mkdir()
    stamp.touch()
    for name in ("s3.txt", "s3_jars.txt", "set_up_s3.sh"):
        (machine.checkout / "requirements" / name).touch()
    assert machine.run("make", "--dry-run", "test").stdout.strip() == MAKE_TEST
    lines = printed(machine.run("make", "--dry-run", "test-s3"))
    assert lines[0] == "bash requirements/set_up_s3.sh"
    assert lines[1].strip().endswith(".venv/bin/python -m pytest -rs tests/test_object_store.py")


def test_help_explains_every_target(machine: Machine) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert phony is not None
    explained = dict(re.findall(r"^  make (\S+) +(\S.*)$", machine.run("make").stdout, re.MULTILINE))
    assert set(explained) == set(phony.group(1).split())


def dangling_links(root: Path) -> list[str]:
    """Symbolic links in `root` or below one of FOLDERS that lead to no file."""
    paths = [*root.glob("*"), *(path for folder in FOLDERS for path in (root / folder).rglob("*"))]
    return sorted(path.relative_to(root).as_posix() for path in paths if path.is_symlink() and not path.exists())


def test_a_dangling_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "dags" / "local").mkdir(parents=True)
    (tmp_path / "target").touch()
    for name, target in (("whole", "../../target"), ("broken", "../../moved")):
        (tmp_path / "dags" / "local" / name).symlink_to(target)
    (tmp_path / "top").symlink_to("moved")
    assert dangling_links(tmp_path) == ["dags/local/broken", "top"]


def test_no_link_dangles() -> None:
    assert (ROOT / "dags" / "local" / "log4j2.properties").is_symlink()
    assert dangling_links(ROOT) == []
