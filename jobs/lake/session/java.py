"""The Java that would start a session's JVM."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

OLDEST = 17  # that Spark 4 takes
SECONDS = 20  # in which a JVM says its version


class SparkNotStarted(ValueError):
    """The machine lacks what a Spark session needs."""


def require_java() -> None:
    """Raises SparkNotStarted if Spark would find no Java, or one that is too old."""
    home = os.environ.get("JAVA_HOME")
    where = f"JAVA_HOME is {home}" if home else "JAVA_HOME is not set, and java must be on the PATH"
    java = shutil.which(Path(home, "bin", "java") if home else "java")
    if java is None:
        raise SparkNotStarted(f"Spark must be able to start Java {OLDEST}, got none; {where}")
    if (found := java_version(java)) is not None and found < OLDEST:
        raise SparkNotStarted(f"Spark must be able to start Java {OLDEST} or later, got Java {found}; {where}")


def java_version(java: str) -> int | None:
    """The major version that a `java` prints (8 for 1.8); None if it says none, for lack of memory for instance."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = re.search(r'version "(?:1\.)?(\d+)', done.stderr)
    return int(said[1]) if said else None
