"""Spark's standalone master and workers as processes of their own, on loopback, gone when the block ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from tests.processes import session_of_its_own

ROOT = Path(__file__).resolve().parents[1]
SPARK_HOME = Path(pyspark.__file__).parent
PATIENCE = 90  # seconds in which a daemon is up, on a machine that does other work too
LOOPBACK = {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"  # quick to start, not quick to run
SMALL_DAYS = {
    "spark.sql.shuffle.partitions": "2",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.locality.wait": "0s",
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1g",
    "spark.executor.extraJavaOptions": QUICK_START,
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def write_settings(file: Path, zipped: Path) -> Path:
    """A file for `--properties-file`: small days, and a driver that says what the zip's log4j2.properties lets it."""
    log4j2 = f"-Dlog4j2.configurationFile=jar:{zipped.as_uri()}!/jobs/lake/log4j2.properties"
    settings = {**SMALL_DAYS, "spark.driver.extraJavaOptions": f"{QUICK_START} {log4j2}"}
    file.write_text("".join(f"{key} {value}\n" for key, value in settings.items()), "utf-8")
    return file


def build_zip(target: Path) -> Path:
    """What `make dist` builds."""
    subprocess.run([sys.executable, ROOT / "build_zip.py", target], check=True, timeout=60)
    return target


@dataclass(frozen=True)
class Cluster:
    url: str  # spark://...
    work: Path  # the workers' folder: APPLICATION/EXECUTOR/, what an executor got and said

    def executors(self) -> list[Path]:
        """The folders of all executors that ever ran."""
        return sorted(self.work.glob("app-*/[0-9]*"))


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A master and workers with a core each, at ports that were free."""
    inherited = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS") if name in os.environ}
    environment = {
        **inherited,
        **LOOPBACK,
        "SPARK_WORKER_DIR": str(folder / "work"),
        "SPARK_LOCAL_DIRS": str(folder / "local"),
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_DAEMON_JAVA_OPTS": QUICK_START,
    }
    folder.mkdir()
    with ExitStack() as running:

        def start(name: str, kind: str, *options: str) -> Path:
            log = folder / f"{name}.log"
            command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}"]
            command += ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *options]
            with log.open("w") as out:
                running.enter_context(
                    session_of_its_own(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
                )
            return log

        url = said(start("master", "master.Master"), r"Starting Spark master at (spark://\S+)")
        logs = [
            start(f"worker-{number}", "worker.Worker", "--cores", "1", "--memory", "1g", url)
            for number in range(workers)
        ]
        for log in logs:
            said(log, r"(Successfully registered) with master")
        yield Cluster(url, folder / "work")


def said(log: Path, pattern: str) -> str:
    """What the pattern's group matches in a log, once it is there. Raises TimeoutError with the log where it never is."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if match := re.search(pattern, log.read_text("utf-8")):
            return match[1]
        time.sleep(0.1)
    raise TimeoutError(f"no {pattern!r} within {PATIENCE} s: {log.read_text('utf-8')[-4000:]}")


def python_without_the_project(folder: Path) -> Path:
    """A Python that has the packages of this one, but not the checkout: what the nodes of a cluster have."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    # a path in a .pth file is searched, but the .pth files that lie there are not read
    (packages / "installed.pth").write_text(f"{SPARK_HOME.parent}\n", "utf-8")
    return folder / "bin" / "python"
