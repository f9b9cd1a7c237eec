"""What is packed: code, SQL and the default configuration. Its environment is requirements/compute.txt."""

from setuptools import setup

setup(
    name="batch-recall",
    version="0.1.0",
    description="Daily recall candidates from two towers: Spark, Delta, Petastorm and torch",
    python_requires="==3.11.*",
    packages=["jobs", "jobs.common", "jobs.report", "model", "sql"],
    package_data={"jobs.common": ["log4j2.properties"], "jobs.report": ["page.html", "page.css"], "sql": ["*/*.sql"]},
    data_files=[("share/batch-recall", ["recall.toml"])],
)
