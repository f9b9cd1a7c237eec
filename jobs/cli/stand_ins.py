"""The help of a job without the packages that the job computes with: loading Spark and its readers takes a second.

While the `batch-recall` command imports a job for its help, each of HEAVY is a stand-in: a module in which every name
exists and does nothing. A job's parser does not depend on them; a test compares the help of every job with that of its
real import.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

HEAVY = frozenset(
    {"annoy", "delta", "deltalake", "faiss", "jinja2", "numpy", "pandas", "polars", "py4j", "pyarrow", "pyspark"}
    | {"redis", "rich", "torch"}
)
OURS = frozenset({"jobs", "model", "sql"})


class StandIn(ModuleType):
    """A module, class or value of a heavy package. It can be called, indexed, iterated and inherited from."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package: its submodules can be imported

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}")

    def __call__(self, *_: Any, **__: Any) -> StandIn:
        return self

    __getitem__ = __or__ = __ror__ = __call__

    def __iter__(self) -> Iterator[StandIn]:
        return iter(())

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return ()


class StandIns(MetaPathFinder, Loader):
    """Finds a stand-in for each module of HEAVY."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] in HEAVY else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in has no code."""


def light_parser(module: str) -> argparse.ArgumentParser:
    """The parser of a job, imported with stand-ins. Later imports get the real packages, and the job once more."""
    loaded, finder = {*sys.modules}, StandIns()
    sys.meta_path.insert(0, finder)
    try:
        parser: argparse.ArgumentParser = importlib.import_module(module).arg_parser()
    finally:
        sys.meta_path.remove(finder)
        for name in {*sys.modules} - loaded:
            if name.partition(".")[0] in HEAVY | OURS:
                del sys.modules[name]
    return parser
