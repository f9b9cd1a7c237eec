"""Packs the files of setup.py into a zip for `--py-files` or PYTHONPATH. The same files give the same bytes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from distutils.core import run_setup
from pathlib import Path
from zipfile import ZipFile, ZipInfo

ROOT = Path(__file__).resolve().parent


def packed_files() -> Iterator[Path]:
    setup = run_setup(str(ROOT / "setup.py"), stop_after="init")
    for package in setup.packages:
        for pattern in ("*.py", *setup.package_data.get(package, ())):
            yield from (ROOT / package.replace(".", "/")).glob(pattern)
    yield from (ROOT / name for name in setup.cmdclass["build_py"].beside)


def build_zip(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(target, "w") as archive:
        for file in sorted(packed_files()):
            entry = ZipInfo(
                file.relative_to(ROOT).as_posix()
            )  # dated 1980 and not compressed, so that the bytes depend on the files alone
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, file.read_bytes())


if __name__ == "__main__":
    build_zip(Path(sys.argv[1]))
