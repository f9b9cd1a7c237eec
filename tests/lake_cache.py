"""Lakes that take minutes to build: stored under a hash of all their inputs and shared by all test processes.

They are stored in .pytest_cache/lakes, or in the folder that BATCH_RECALL_TEST_CACHE names. `make clean` deletes them.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# The inputs of a lake: the code and configuration of the jobs, the libraries, and the settings of the tests.
INPUTS = ("jobs", "model", "sql", "recall.toml", "requirements/compute.txt", "tests/small.toml", "tests/conftest.py")
MAX_AGE = 24 * 3600  # seconds; tests of retention expect a lake of today


def cached_lake(name: str, build: Callable[[Path], None], target: Path) -> Path:
    """Copy the lake `name` to the folder `target` and return that.

    The first process that asks for the lake builds it, with `build(folder)`; the others wait for it. A lake of other
    inputs, or older than a day, is deleted and built again.
    """
    cache = Path(os.environ.get("BATCH_RECALL_TEST_CACHE") or ROOT / ".pytest_cache" / "lakes")
    cache.mkdir(parents=True, exist_ok=True)
    stored = cache / f"{name}-{hash_of(ROOT, INPUTS)}"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_fresh(stored):
            for outdated in cache.glob(f"{name}-*"):
                shutil.rmtree(outdated)
            draft = cache / f"{name}-draft"
            build(draft)
            draft.rename(stored)
        return Path(shutil.copytree(stored, target))


def is_fresh(folder: Path) -> bool:
    return folder.is_dir() and time.time() - folder.stat().st_mtime < MAX_AGE


def hash_of(root: Path, inputs: tuple[str, ...]) -> str:
    """A hash of the names and contents of files and folders under `root`; compiled Python does not count."""
    digest = hashlib.sha256()
    for name in inputs:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                content = file.read_bytes()
                digest.update(f"{file.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
