"""batch-recall as an installed package: the command, look-ups in the published candidates, and online models.

The code is in `jobs`, `model` and `sql`, names that other packages use as well. A wheel therefore has them inside the
folder of this package (docs/decisions/0024-names-in-site-packages.md), a checkout beside it.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
CODE = HERE if (HERE / "jobs").is_dir() else HERE.parent  # contains jobs/, model/, sql/, dags/ and recall.toml
NAMES = ("jobs", "model", "sql")
EXPORTS = {
    "read_candidates": "jobs.serving",
    "PublishedCandidates": "jobs.serving",
    "OnlineModel": "model.towers.online",
    "User": "model.towers.online",
}


def use_own_packages() -> None:
    """Put CODE first on the import path. Raises ImportError if a package of one of NAMES that is not ours is loaded."""
    for name in NAMES:
        loaded = getattr(sys.modules.get(name), "__file__", None) or "a package without a file"
        if name in sys.modules and Path(loaded).resolve().parent != CODE / name:
            raise ImportError(
                f"the package {name} must be batch-recall's in {CODE}, got {loaded}, which this process has loaded "
                "before: use the other package in another process"
            )
    if sys.path[0] != str(CODE):
        sys.path.insert(0, str(CODE))


def load_own_packages() -> None:
    """Load the packages of NAMES; the import path of the program stays as it is.

    Warns of another package of one of these names that is on the path: `import` gives ours from now on. Raises
    ImportError as `use_own_packages` does.
    """
    path = [*sys.path]
    use_own_packages()
    try:
        for name in NAMES:
            import_module(name)
    finally:
        sys.path[:] = path
    for name in NAMES:
        other = PathFinder.find_spec(name)
        if other is not None and other.origin and Path(other.origin).resolve().parent != CODE / name:
            says = f"`import {name}` gives batch-recall's package from now on, not {other.origin}"
            warnings.warn(f"{says}: use the other one in another process", RuntimeWarning, stacklevel=3)


def main() -> None:
    """The command. Processes that it starts (Spark's workers, the trainer) find the same packages by PYTHONPATH."""
    use_own_packages()
    paths = [str(CODE), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    from jobs.cli.main import main as command

    command()


def __getattr__(name: str) -> Any:
    """The names of EXPORTS, imported when they are first used."""
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    load_own_packages()
    return getattr(import_module(EXPORTS[name]), name)
