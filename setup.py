"""What is packed: code, SQL and the default configuration. Its environment is requirements/compute.txt."""

from setuptools import find_packages, setup

setup(
    name="batch-recall",
    version="0.1.0",
    description="Daily recall candidates from two towers: Spark, Delta, Petastorm and torch",
    python_requires="==3.11.*",
    packages=find_packages(include=["jobs", "jobs.*", "model", "model.*", "sql"]),
    package_data={
        "jobs.config": ["movielens.toml"],
        "jobs.lake.session": ["log4j2.properties"],
        "jobs.report": ["page.html", "page.css"],
        "sql": ["*/*.sql"],
    },
    data_files=[("share/batch-recall", ["recall.toml"])],
)
