"""What is installed, and with which packages. requirements/*.in are the only lists of packages."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "batch_recall"


def required(name: str) -> list[str]:
    """The packages that requirements/NAME.in asks for, without those for development."""
    text = (ROOT / "requirements" / f"{name}.in").read_text("utf-8").partition("# development")[0]
    return [line for line in text.splitlines() if line and not line.startswith("#")]


class BuildInside(build_py):
    """In a wheel, everything is inside the folder batch_recall, as `jobs`, `model` and `sql` are names that others use.

    An editable installation finds them in the checkout. docs/decisions/0024-names-in-site-packages.md
    """

    beside = ("recall.toml",)  # files beside the packages

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.editable_mode:
            return
        inside = [name for name in self.packages if name != PACKAGE] + ["dags"]
        self.package_dir = {f"{PACKAGE}.{name}": name.replace(".", "/") for name in inside}
        self.package_data = {f"{PACKAGE}.{name}": files for name, files in self.package_data.items()}
        self.packages = [PACKAGE, *self.package_dir]

    def run(self) -> None:
        super().run()
        for name in () if self.editable_mode else self.beside:
            self.copy_file(name, str(Path(self.build_lib, PACKAGE, name)))


setup(
    name="batch-recall",
    version=re.search(r'^__version__ = "(.+)"$', (ROOT / "jobs/__init__.py").read_text("utf-8"), re.MULTILINE)[1],
    description="Daily recall candidates from two towers: Spark, Delta, Petastorm and torch",
    python_requires="==3.11.*",
    packages=find_packages(include=[PACKAGE, "jobs", "jobs.*", "model", "model.*", "sql"]),
    package_data={
        "jobs.config": ["movielens.toml"],
        "jobs.lake.session": ["log4j2.properties"],
        "jobs.report": ["page.html", "page.css"],
        "sql": ["*/*.sql"],
    },
    cmdclass={"build_py": BuildInside},
    entry_points={"console_scripts": [f"batch-recall = {PACKAGE}:main"]},
    install_requires=required("compute"),
    extras_require={  # docs/decisions/0024-names-in-site-packages.md
        "airflow": required("airflow"),  # for the scheduler, whose environment must not be that of Spark
        "gpu": [],  # torch for Linux brings CUDA
        "s3": [],  # delta-rs and pyarrow read S3; Spark's connector is a JAR, which pip does not have
    },
)
