"""The two words with which Spark on Kubernetes starts a container of an image: `driver` and `executor`.

Spark's own images have a shell script for this, which pip's pyspark lacks. The variables are those that
Spark 4.0 sets in its pods.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

ROLES = ("driver", "executor")
BACKEND = "org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend"
# Options of BACKEND, and the variable with the value of each.
EXECUTOR = {
    "--driver-url": "SPARK_DRIVER_URL",
    "--executor-id": "SPARK_EXECUTOR_ID",
    "--cores": "SPARK_EXECUTOR_CORES",
    "--app-id": "SPARK_APPLICATION_ID",
    "--hostname": "SPARK_EXECUTOR_POD_IP",
    "--resourceProfileId": "SPARK_RESOURCE_PROFILE_ID",
    "--podName": "SPARK_EXECUTOR_POD_NAME",
}


def command(role: str, words: Sequence[str], variables: Mapping[str, str], spark: Path) -> list[str]:
    """The command of a container. words: what follows the role; spark: its home.

    Raises ValueError that names the variables that are missing: the container was not started by Spark.
    """
    wanted = ["SPARK_DRIVER_BIND_ADDRESS"] if role == "driver" else [*EXECUTOR.values(), "SPARK_EXECUTOR_MEMORY"]
    if missing := [name for name in wanted if name not in variables]:
        names = ", ".join(missing)
        raise ValueError(f"{role}: must be started by Spark on Kubernetes; these variables are missing: {names}")
    if role == "driver":
        address = variables["SPARK_DRIVER_BIND_ADDRESS"]
        settings = (f"spark.driver.bindAddress={address}", f"spark.executorEnv.SPARK_DRIVER_POD_IP={address}")
        options = [word for setting in settings for word in ("--conf", setting)]
        return [str(spark / "bin" / "spark-submit"), *options, "--deploy-mode", "client", *words]
    memory = variables["SPARK_EXECUTOR_MEMORY"]
    options = [word for option, name in EXECUTOR.items() for word in (option, variables[name])]
    java = [_java(variables), *_java_options(variables), f"-Xms{memory}", f"-Xmx{memory}"]
    return [*java, "-cp", _class_path(variables, spark), BACKEND, *options, *words]


def _java(variables: Mapping[str, str]) -> str:
    return str(Path(variables["JAVA_HOME"], "bin", "java")) if variables.get("JAVA_HOME") else "java"


def _java_options(variables: Mapping[str, str]) -> list[str]:
    """SPARK_JAVA_OPT_0, SPARK_JAVA_OPT_1 and so on, in the order of their numbers."""
    numbered = {int(found[1]): name for name in variables if (found := re.fullmatch(r"SPARK_JAVA_OPT_(\d+)", name))}
    return [variables[numbered[number]] for number in sorted(numbered)]


def _class_path(variables: Mapping[str, str], spark: Path) -> str:
    """The configurations of Spark and Hadoop, what the user adds, Spark's JARs, and the working directory."""
    parts = [
        variables.get("SPARK_CONF_DIR") or str(spark / "conf"),
        variables.get("HADOOP_CONF_DIR"),
        variables.get("SPARK_CLASSPATH"),
        str(spark / "jars" / "*"),
        variables.get("SPARK_EXTRA_CLASSPATH"),
        variables.get("SPARK_DIST_CLASSPATH"),
        os.getcwd(),
    ]
    return os.pathsep.join(filter(None, parts))
