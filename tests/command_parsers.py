"""Parses commands of the documentation with the parsers of their programs; runs in a process of its own.

`python -m tests.command_parsers` reads a list of [words, mentioned options, whole] as JSON and prints a list of
messages, "" for a command without a fault. Heavy packages are stand-ins for the whole process, as in a job's help.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path

from jobs.cli.main import groups, job_named
from jobs.cli.stand_ins import StandIns
from tests.documented_commands import ELLIPSIS

ROOT = Path(__file__).resolve().parents[1]
ANY_JOB = "x"
CAPITALS = re.compile(r"[A-Z][A-Z0-9_-]*")
VALUES = ("2026-01-31", "1", "0.5", "2026-01-31T06:00:00Z", "score_users")  # one is a valid value of any option
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


class Parsed(Exception):
    """Ends a main() where it parses its arguments."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


@cache
def parser_of(module: str) -> argparse.ArgumentParser | None:
    """The parser of a job, or of a benchmark or a script of examples/, whose main() begins with parsing; else None."""
    if module.startswith("jobs."):
        parser: argparse.ArgumentParser = importlib.import_module(module).arg_parser()
        return parser
    if not module.startswith(("benchmarks.", "examples/")):
        return None

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise Parsed(parser)

    real, argparse.ArgumentParser.parse_args = argparse.ArgumentParser.parse_args, stop  # type: ignore[assignment,method-assign]
    try:
        main_of(module)([])
    except Parsed as parsed:
        return parsed.parser
    finally:
        argparse.ArgumentParser.parse_args = real  # type: ignore[method-assign]
    raise ValueError(f"{module}: main() must parse its arguments")


def main_of(module: str) -> Callable[[list[str]], object]:
    """The function main() of a module, or of a script by its path."""
    if module.endswith(".py"):
        found: Callable[[list[str]], object] = runpy.run_path(str(ROOT / module))["main"]
        return found
    found = importlib.import_module(module).main
    return found


def fault(words: Sequence[str], mentioned: Sequence[str], *, whole: bool) -> str:
    """What is wrong with a command; "" if nothing is."""
    program, *rest = words
    if program == "make":
        return fault_of_make(rest)
    if program == "spark-submit":
        return fault_of_spark_submit(rest, mentioned)
    if program == "python":
        if rest and re.fullmatch(r"examples/\w+\.py", rest[0]):
            return fault_of_arguments(rest[0], rest[1:], mentioned, whole=whole)
        if len(rest) < 2 or rest[0] != "-m" or rest[1] == f"jobs.{ANY_JOB}":
            return ""  # `python -m` alone; another script, whose path tests/test_docs.py checks
        return fault_of_arguments(rest[1], rest[2:], mentioned, whole=whole)
    if not rest or rest[0] in (ANY_JOB, "--help", "--version", "--code") or CAPITALS.fullmatch(rest[0]):
        return ""
    try:
        return fault_of_arguments(f"jobs.{job_named(rest[0])}", rest[1:], mentioned, whole=whole)
    except ValueError as error:
        return str(error)


def fault_of_make(words: Sequence[str]) -> str:
    """Targets and variables that the Makefile does not have."""
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", MAKEFILE, flags=re.MULTILINE))
    variables = set(re.findall(r"^([A-Z][A-Z_]*) \?=", MAKEFILE, flags=re.MULTILINE))
    wrong = [f"no target {word}" for word in words if "=" not in word and word not in targets]
    wrong += [f"no variable {word}" for word in words if "=" in word and word.partition("=")[0] not in variables]
    return ", ".join(wrong)


def fault_of_spark_submit(words: Sequence[str], mentioned: Sequence[str]) -> str:
    """What Spark's own reader of options finds, or the parser of the job that is submitted."""
    if not words:
        return ""
    place = next((n for n, word in enumerate(words) if re.search(r"(?:^|/)jobs/\w+\.py$", word)), None)
    options = list(words) if place is None else list(words[:place])
    if found := fault_of_spark_options(options):
        return found
    job = "" if place is None else Path(words[place]).stem
    if job in ("", ANY_JOB):
        return ""
    given = list(words[place + 1 :]) if place is not None else []
    return fault_of_arguments(f"jobs.{job}", given, mentioned, whole=bool(given))


def fault_of_spark_options(options: Sequence[str]) -> str:
    """The error of spark-submit's launcher, which builds a command and starts nothing."""
    home = Path(str(PathFinder.find_spec("pyspark").origin)).parent  # past the stand-in
    jar = next(home.glob("jars/spark-launcher_*.jar"))
    command = ["java", "-cp", str(jar), "org.apache.spark.launcher.Main", "org.apache.spark.deploy.SparkSubmit"]
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13"}
    given = [word for word in options if word]
    done = subprocess.run(
        [*command, *given, "jobs/job.py"], env=environment, capture_output=True, text=True, check=False
    )
    error = re.search(r"^Error: (.*)", done.stderr, flags=re.MULTILINE)
    if error:
        return error[1]
    return "" if done.returncode == 0 and done.stdout else f"spark-submit cannot read it: {done.stderr[-300:]}"


def fault_of_arguments(module: str, words: Sequence[str], mentioned: Iterable[str], *, whole: bool) -> str:
    """The error of a module's parser, or the options of a comment that the module does not have."""
    parser = parser_of(module)
    if parser is None:
        return ""
    parser.allow_abbrev = False
    known = parser._option_string_actions
    required = [action for action in parser._actions if action.required]
    for action in required:
        action.required = whole
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
            parser.parse_args(filled(words, known, whole=whole))
    except SystemExit as end:
        if end.code:
            return printed.getvalue().rpartition("error: ")[2].strip()  # without the name of the program
    finally:
        for action in required:
            action.required = True
    missing = [option for option in mentioned if option not in known]
    return f"no option {', '.join(missing)}" if missing else ""


def filled(words: Sequence[str], known: dict[str, argparse.Action], *, whole: bool) -> list[str]:
    """The words with a valid value in the place of each placeholder, and without arguments that are left out."""
    result: list[str] = []
    action: argparse.Action | None = None  # of the last option
    for word in words:
        if word.startswith("--"):
            action = known.get(word.partition("=")[0])
        if word == ELLIPSIS and (not result or not result[-1].startswith("--")):
            continue
        is_value = action is not None and not word.startswith("--")
        if is_value and action is known.get("--config") and not (ROOT / word).is_file() and word != "movielens":
            word = os.devnull  # a configuration without keys
        elif is_value and action is not None and (CAPITALS.fullmatch(word) or word == ELLIPSIS):
            word = value_of(action)
        result.append(word)
    if not whole and action is not None and result[-1].startswith("--") and action.nargs is None:
        result.append(value_of(action))
    return result


def value_of(action: argparse.Action) -> str:
    """A valid value of an option. Raises ValueError if VALUES has none."""
    if action.choices:
        return str(next(iter(action.choices)))
    for value in VALUES:
        with contextlib.suppress(ValueError, argparse.ArgumentTypeError):
            if callable(action.type):
                action.type(value)
            return value
    raise ValueError(f"{action.option_strings[0]}: a valid value must be in VALUES")


def known_options() -> set[str]:
    """The options of all jobs and benchmarks."""
    files = [file for file in ROOT.glob("benchmarks/*/*.py") if "def main(argv" in file.read_text("utf-8")]
    modules = [f"jobs.{job}" for found in groups().values() for job in found]
    modules += [f"benchmarks.{file.parent.name}.{file.stem}" for file in files]
    parsers = [parser for module in modules if (parser := parser_of(module)) is not None]
    return {option for parser in parsers for option in parser._option_string_actions}


def main() -> None:
    sys.meta_path.insert(0, StandIns())
    sys.argv = ["command"]
    request = json.load(sys.stdin)
    messages = [fault(words, mentioned, whole=whole) for words, mentioned, whole in request["commands"]]
    foreign = sorted(set(request["options"]) - known_options())
    spark = {option: fault_of_spark_options([option, "key=value"]) for option in foreign}
    print(json.dumps({"messages": messages, "options": [option for option, error in spark.items() if error]}))


if __name__ == "__main__":
    main()
