"""`batch-recall JOB ...`: every job as a subcommand. The list of jobs imports none of them."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import jobs
from jobs.cli import kubernetes
from model.registry import did_you_mean
from model.training.processes.lines import USER_ERROR, say

COMMAND = "batch-recall"
PRINTED = {"--version": f"{COMMAND} {jobs.__version__}", "--code": str(Path(__file__).resolve().parents[2])}
USAGE = f"""usage: {COMMAND} JOB [arguments]
       {COMMAND} JOB --help
       {COMMAND} --version | --code   (the folder of jobs/, for spark-submit and Airflow)

Recall candidates for every user, once a day, from a log of impressions and clicks. A first publication:

  {COMMAND} ingest-logs --lake lake --ds 2026-01-31 --impressions FILE --clicks FILE
  {COMMAND} run-day --lake lake --ds 2026-01-31
"""


def groups() -> dict[str, list[str]]:
    """The jobs by heading, in the order of the package's docstring."""
    _, _, text = (jobs.__doc__ or "").partition("\n\n")
    sections = re.findall(r"^(\S.*)\n((?:  .*\n?)+)", text, re.MULTILINE)
    return {heading: re.findall(r"^  (\w+)", lines, re.MULTILINE) for heading, lines in sections}


def first_line(job: str) -> str:
    """The first line of a job's docstring, from its source: a file, or part of a zip."""
    source = pkgutil.get_data("jobs", f"{job}.py")
    doc = ast.get_docstring(ast.parse(source)) if source is not None else None
    return (doc or "").partition("\n")[0]


def overview(width: int) -> str:
    """The usage, and each job with the first line of its docstring. width: of the terminal, in characters."""
    named = {heading: [command_name(job) for job in found] for heading, found in groups().items()}
    column = 2 + max(len(name) for names in named.values() for name in names)
    parts = [USAGE]
    for heading, found in groups().items():
        lines = [f"{heading}:"]
        for job in found:
            text = f"  {command_name(job):<{column}}{first_line(job)}"
            lines.append(textwrap.fill(text, width, subsequent_indent=" " * (column + 2), break_on_hyphens=False))
        parts.append("\n".join([*lines, ""]))
    return "\n".join(parts)


def command_name(job: str) -> str:
    return job.replace("_", "-")


def job_named(word: str) -> str:
    """The job of a subcommand, written with hyphens or underscores. Raises ValueError that names the nearest one."""
    known = [job for found in groups().values() for job in found]
    job = word.replace("-", "_")
    if job in known:
        return job
    hint = did_you_mean(command_name(word), map(command_name, known)) or f": `{COMMAND} --help` lists all"
    raise ValueError(f"{COMMAND}: the job must be a subcommand, got {word!r}{hint}")


def print_help(job: str) -> None:
    from jobs.cli.stand_ins import light_parser

    light_parser(f"jobs.{job}").print_help()


def require_whole_spark() -> None:
    """Raises ValueError where pyspark-client, which Airflow's Spark provider installs, overwrites pyspark."""
    try:
        client = version("pyspark-client")
    except PackageNotFoundError:
        return
    raise ValueError(
        f"{COMMAND}: the environment must not have pyspark-client, which overwrites pyspark, got {client}: "
        "install Airflow and its Spark provider in another environment (docs/airflow.md)"
    )


def run_job(job: str) -> None:
    """Run the job as `python -m jobs.JOB` does, with the same exit codes."""
    from jobs.cli.run import run  # imported here because it imports Spark

    run(importlib.import_module(f"jobs.{job}").main)


def become_spark(role: str, words: Sequence[str]) -> NoReturn:
    """Replace this process by a driver or an executor of Spark on Kubernetes. Raises ValueError outside of its pods."""
    home = os.environ.get("SPARK_HOME") or os.path.dirname(str(find_spec("pyspark").origin))  # type: ignore[union-attr]
    program = kubernetes.command(role, words, os.environ, Path(home))
    os.execvp(program[0], program)


def main() -> None:
    words: Sequence[str] = sys.argv[1:]
    if not words or words[0] in ("-h", "--help"):
        print(overview(shutil.get_terminal_size().columns), end="")
        sys.exit(0 if words else USER_ERROR)
    if words[0] in PRINTED:
        print(PRINTED[words[0]])
        return
    try:
        if words[0] in kubernetes.ROLES:
            become_spark(words[0], words[1:])
        job = job_named(words[0])
        require_whole_spark()
    except ValueError as error:
        say(str(error), level="error", text=f"error: {error}", exit_code=USER_ERROR)
        sys.exit(USER_ERROR)
    sys.argv = [f"{COMMAND} {command_name(job)}", *words[1:]]  # a job reads its arguments, and argparse its name, here
    if {"-h", "--help"}.intersection(words[1:]):
        print_help(job)
    else:
        run_job(job)


if __name__ == "__main__":
    main()
