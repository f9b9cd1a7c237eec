"""Write the class archive of Spark's JVM: run the first jobs of a small day, and keep the classes that they loaded.

    .venv/bin/python requirements/archive_classes.py [FOLDER]

FOLDER is for temporary files, on the disk of Spark; by default it is the folder of Spark. Needed again after an update
of Java: docs/decisions/0063-class-archive.md.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark import SparkContext

from jobs import run_day, simulate_log
from jobs.lake.session.class_archive import class_archive, writing_options
from jobs.lake.session.settings import small_days_options

DAY = "2026-01-05"
LAST_JOB = "build_histories"  # later ones load few classes more, and take longer than all before
END_SECONDS = 300  # of a JVM that writes the archive, which takes it a few


def run_small_day(lake: Path) -> None:
    common = ["--lake", str(lake), "--ds", DAY]
    simulate_log.main([*common, "--users", "200", "--items", "100"])
    run_day.main([*common, "--to", LAST_JOB])


def end_jvm() -> None:
    """End Spark's JVM as its Python driver would, and wait: it writes the archive when it ends."""
    gateway = SparkContext._gateway
    assert gateway is not None
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=END_SECONDS)


def main() -> None:
    target = class_archive()
    with TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else target.parent) as folder:
        draft = Path(folder, target.name)
        options = f"{small_days_options()} {writing_options(draft)}"
        os.environ["PYSPARK_SUBMIT_ARGS"] = f"--driver-java-options {shlex.quote(options)} pyspark-shell"
        run_small_day(Path(folder, "lake"))
        end_jvm()
        draft.replace(target)
    print(f"{target}: {target.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
