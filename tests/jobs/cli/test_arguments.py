from __future__ import annotations

import argparse
import datetime as dt
import importlib
from pathlib import Path

import pytest

import jobs
from jobs.cli.advice import CLASSES, lines
from jobs.cli.arguments import shared_arguments, time_argument
from jobs.cli.run import TRY_AGAIN, run
from jobs.config.loading import load_config
from jobs.lake.errors import WriteConflict

JOBS = sorted(path.stem for path in Path(jobs.__path__[0]).glob("*.py") if path.stem != "__init__")
NO_JOBS_OF_A_DAY = {"run_demo", "repair_table", "forget_users", "sample_log", "explain_user", "export_user_tower"}


@pytest.mark.parametrize("name", JOBS)
def test_each_job_explains_itself(name: str) -> None:
    module = importlib.import_module(f"jobs.{name}")
    text = module.arg_parser().format_help()
    assert "--lake" in text
    assert module.__doc__.strip().splitlines()[0] in text


@pytest.mark.parametrize("name", JOBS)
def test_the_docstring_of_the_package_names_each_job(name: str) -> None:
    assert jobs.__doc__ is not None
    assert name in jobs.__doc__


@pytest.mark.parametrize("name", [name for name in JOBS if name not in NO_JOBS_OF_A_DAY])
def test_every_job_of_a_day_takes_the_same_three_arguments(name: str) -> None:
    parser: argparse.ArgumentParser = importlib.import_module(f"jobs.{name}").arg_parser()
    args = parser.parse_args(["--lake", "x", "--ds", "2024-02-29"])
    assert (args.lake, args.ds, args.config) == ("x", dt.date(2024, 2, 29), [])


def test_a_fault_in_the_configuration_ends_a_job_before_spark_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[training]\ntemprature = 0.1\n", "utf-8")
    parser = importlib.import_module("jobs.train_two_tower").arg_parser()
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--lake", "x", "--ds", "2026-01-01", "--config", str(own)])
    assert stop.value.code == 2
    assert "training.temprature: no such key" in capsys.readouterr().err


def test_later_files_override_earlier_ones_and_are_validated_together(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[scoring]\nsegment_feature = "gender"\n', "utf-8")  # a feature of movielens
    given = ["--config", "movielens", "--config", str(mine)]
    args = (
        importlib.import_module("jobs.score_users")
        .arg_parser()
        .parse_args(["--lake", "x", "--ds", "2026-01-01", *given])
    )
    config = load_config(*args.config)
    assert (config.scoring.segment_feature, config.features) == ("gender", load_config("movielens").features)
    assert shared_arguments(args) == ["--lake", "x", *given]
    demo = importlib.import_module("jobs.run_demo").arg_parser()
    assert demo.parse_args(["--config", str(mine)]).config == ["movielens", str(mine)]
    assert demo.parse_args([]).config == ["movielens"]


def test_an_unknown_option_comes_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module("jobs.ingest_logs").arg_parser().parse_args(
            ["--lake", "x", "--ds", "2026-01-01", "--impresions=a.csv"]
        )
    assert stop.value.code == 2
    message, help_ = capsys.readouterr().err.splitlines()  # the usage would hide them
    assert message.endswith("error: unrecognized arguments: --impresions=a.csv; did you mean --impressions?")
    assert help_ == "  --help shows all arguments"


def test_a_users_error_is_one_line_and_a_programmers_error_is_not_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    def user_error(_: object) -> None:
        raise ValueError("wanted a, got b")

    def bug(_: object) -> None:
        raise KeyError("x")

    def another_writer(_: object) -> None:
        raise WriteConflict("run it again")

    with pytest.raises(SystemExit) as stop:
        run(another_writer)
    message, *advice = capsys.readouterr().err.splitlines()
    assert (stop.value.code, message, advice) == (TRY_AGAIN, "error: run it again", lines(CLASSES["WriteConflict"]))
    with pytest.raises(SystemExit) as stop:
        run(user_error)
    assert stop.value.code == 2
    assert capsys.readouterr().err == "error: wanted a, got b\n"
    with pytest.raises(KeyError):
        run(bug)


@pytest.mark.parametrize("text", ["today", "2026-01-31", "2026-01-31T06:00:00"])
def test_a_time_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must"):
        time_argument(text)
