"""The archive of the classes that Spark's JVM loads, with which it starts faster (class data sharing of the JDK).

requirements/archive_classes.py writes it: docs/decisions/0063-class-archive.md. A JVM of another Java or with other
JARs ignores it.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from pyspark.find_spark_home import _find_spark_home

NAME = "batch-recall.jsa"
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"  # else the JVM prints a warning to stdout when it ignores an archive


def class_archive() -> Path:
    """The archive of the installed Spark; it may not exist."""
    return Path(_find_spark_home(), NAME)


def reading_options() -> str:
    """Options of a JVM that reads the archive; none without an archive."""
    file = class_archive()
    return f"-XX:SharedArchiveFile={shlex.quote(str(file))} {QUIET}" if file.is_file() else ""


def writing_options(file: Path) -> str:
    """Options of a JVM that writes the archive when it ends."""
    return f"-XX:ArchiveClassesAtExit={shlex.quote(str(file))}"
