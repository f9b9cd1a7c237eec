"""The SQL of the jobs: a folder for each table or purpose, and a function that reads a file by name."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files


@cache
def read(name: str) -> str:
    """The text of `NAME.sql`, for instance `read("interactions/query")`, without its comments."""
    text = files("sql").joinpath(f"{name}.sql").read_text("utf-8")
    return "\n".join(line.split("--")[0].rstrip() for line in text.splitlines()).strip()


def parameters(name: str) -> set[str]:
    """The named parameters (`:name`) that a query takes."""
    return set(re.findall(r"(?<!:):([a-z_]+)", read(name)))


def frames(name: str) -> set[str]:
    """The DataFrames (`{name}`) that a query takes."""
    return set(re.findall(r"\{([a-z_]+)\}", read(name)))
