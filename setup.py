"""What is packed: the code, the SQL and the default configuration. The environment it runs in is requirements/compute.txt."""

from setuptools import setup

setup(
    name="batch-recall",
    version="0.1.0",
    description="Daily candidate generation: Spark, Delta and Petastorm feed two towers trained with sampled softmax",
    python_requires="==3.11.*",
    packages=["jobs", "jobs.common", "model", "sql"],
    package_data={"sql": ["*/*.sql"]},
    data_files=[("share/batch-recall", ["recall.toml"])],
)
