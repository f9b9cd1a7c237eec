"""Packs installed packages into a virtual environment for `--archives`. The same packages give the same bytes.

It does not contain Spark, whose installation provides pyspark, or this project, which is in the zip.
"""

from __future__ import annotations

import argparse
import gzip
import io
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from distutils.core import run_setup
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent
SPARK = {"pyspark", "py4j"}
# Packages that Python workers import, except in jobs that run the towers (torch).
WORKERS = (
    "annoy",
    "delta-spark",
    "deltalake",
    "faiss-cpu",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "pydantic",
    "redis",
    "rich",
)
SITE = f"lib/python3.{sys.version_info.minor}/site-packages"
LEVEL = 6  # of gzip


def all_packages() -> list[str]:
    """The names of the run-time packages: those of requirements/compute.in without development."""
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    return [Requirement(line).name for line in setup.install_requires]


def needed(names: Iterable[str]) -> list[Distribution]:
    """The installed packages of these names and all their dependencies, sorted by name, without Spark's."""
    found: dict[str, Distribution] = {}
    pending = [*names]
    while pending:
        name = re.sub(r"[-_.]+", "-", pending.pop()).lower()
        if name in found or name in SPARK:
            continue
        found[name] = distribution(name)
        wanted = map(Requirement, found[name].requires or ())
        pending += [one.name for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [found[name] for name in sorted(found)]


def files(packages: Iterable[Distribution]) -> Iterator[tuple[str, Path]]:
    """(path in the environment, path of the file) of each file, without command-line programs and bytecode."""
    for package in packages:
        for file in sorted(package.files or ()):
            if ".." not in file.parts and file.suffix != ".pyc":
                yield f"{SITE}/{file.as_posix()}", Path(str(package.locate_file(file)))


def build_environment(target: Path, names: Iterable[str], python: str) -> None:
    """Write the environment. python: the interpreter's path on the nodes (same version), to which it links."""
    config = f"home = {Path(python).parent}\ninclude-system-site-packages = false\n"
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, python
            archive.addfile(link)
        _add(archive, "pyvenv.cfg", config.encode())
        for name, path in files(needed(names)):
            _add(archive, name, path.read_bytes())


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # dated 1970, owned by root, readable by all
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path, help="file to write, *.tar.gz")
    parser.add_argument(
        "--full", action="store_true", help="all packages of requirements/compute.in, including torch with CUDA"
    )
    parser.add_argument("--python", required=True, help="path of the interpreter on the nodes")
    args = parser.parse_args()
    build_environment(args.target, all_packages() if args.full else WORKERS, args.python)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
