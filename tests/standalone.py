"""A standalone Spark cluster: master and workers are processes on loopback that end with the block."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyspark

from jobs.lake.session.class_archive import reading_options
from jobs.lake.session.settings import small_days_options
from tests.processes import isolated_process, wait_until

ROOT = Path(__file__).resolve().parents[1]
SPARK_HOME = Path(pyspark.__file__).parent
LOOPBACK = {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": "127.0.0.1"}
QUICK_START = f"{small_days_options()} {reading_options()}".strip()  # of a JVM that starts fast and runs slowly
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
    """Write a file for `--properties-file`: settings for small days, and the logging configuration of the zip."""
    log4j2 = f"-Dlog4j2.configurationFile=jar:{zipped.as_uri()}!/jobs/lake/session/log4j2.properties"
    settings = {**SMALL_DAYS, "spark.driver.extraJavaOptions": f"{QUICK_START} {log4j2}"}
    file.write_text("".join(f"{key} {value}\n" for key, value in settings.items()), "utf-8")
    return file


def build_zip(target: Path) -> Path:
    """Build the zip of `make dist`."""
    subprocess.run([sys.executable, ROOT / "build_zip.py", target], check=True, timeout=60)
    return target


@dataclass(frozen=True)
class Cluster:
    url: str  # spark://...
    work: Path  # the workers' folder; APPLICATION/EXECUTOR/ has the files and logs of an executor

    def executors(self) -> list[Path]:
        """The folders of all executors that have run."""
        return sorted(self.work.glob("app-*/[0-9]*"))


@contextmanager
def standalone_cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """Start a master and workers with one core each, at free ports."""
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

        def start(name: str, kind: str, *options: str) -> tuple[subprocess.Popen, Path]:
            log = folder / f"{name}.log"
            command = [str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{kind}"]
            command += ["--host", "127.0.0.1", "--port", "0", "--webui-port", "0", *options]
            with log.open("w") as out:
                streams = {"stdout": out, "stderr": subprocess.STDOUT}
                return running.enter_context(isolated_process(command, env=environment, **streams)), log

        url = logged(*start("master", "master.Master"), r"Starting Spark master at (spark://\S+)")
        daemons = [
            start(f"worker-{number}", "worker.Worker", "--cores", "1", "--memory", "1g", url)
            for number in range(workers)
        ]
        for daemon, log in daemons:
            logged(daemon, log, r"(Successfully registered) with master")
        yield Cluster(url, folder / "work")


def logged(daemon: subprocess.Popen, log: Path, pattern: str) -> str:
    """Wait until a log matches the pattern; return its group. Raises RuntimeError if the daemon ends or stays silent."""

    def match() -> re.Match[str] | None:
        return re.search(pattern, log.read_text("utf-8"))

    wait_until(lambda: match() or daemon.poll() is not None)
    if not (found := match()):
        raise RuntimeError(f"the log of {daemon.args} must match {pattern!r}, got {log.read_text('utf-8')[-4000:]}")
    return found[1]


def python_without_the_project(folder: Path) -> Path:
    """Make a Python with this one's packages but without the checkout, like that of a cluster's nodes."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=60)
    packages = folder / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    # Python searches a path that a .pth file names, but does not read the .pth files in it
    (packages / "installed.pth").write_text(f"{SPARK_HOME.parent}\n", "utf-8")
    return folder / "bin" / "python"
