"""Folders that the driver names and workers read."""

from __future__ import annotations

from pathlib import Path

from pyspark import SparkFiles

SHIPPED = "shipped:"  # prefix of a reference to a folder that Spark copies to the workers


def local_folder(reference: str) -> Path:
    """The folder of a reference (`jobs.lake.files.folder_reference`), on the machine that calls this."""
    return Path(SparkFiles.get(reference.removeprefix(SHIPPED)) if reference.startswith(SHIPPED) else reference)
