"""What the next attempt at an interrupted stretch of a day may skip."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from jobs import run_day
from jobs.cli.progress import Progress, hash_of_inputs, recorded
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.errors import WriteConflict
from jobs.lake.lake import Lake
from jobs.lake.session.settings import MARK
from jobs.raw_log.preconditions import DayStopped
from tests.no_session import no_session

NAMES = ["build_first", "build_second", "build_third"]


class Interrupted(Exception):
    """Ends an attempt in the way of a fault that is not an error of the user."""


def commit(lake: Lake, table: str) -> None:
    lake.spark.range(1).write.format("delta").mode("append").save(lake.path(table))


def stretch(lake: Lake, config: Config, *more: str, names: list[str] = NAMES) -> AbstractContextManager[Progress]:
    args = run_day.arg_parser().parse_args(["--lake", lake.uri, "--ds", "2026-03-01", *more])
    return recorded(lake, config, args, names)


def attempt(
    lake: Lake,
    config: Config,
    *,
    jobs: int,
    error: Exception | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> list[str]:
    """Run so many of the stretch's jobs, each with a commit, and end with the error; returns what was skipped."""
    with stretch(lake, config) as progress:
        skipped = [*progress.done]
        for name in NAMES[len(skipped) : jobs]:
            commit(lake, name)
            progress.job_ended(name)
            if meanwhile is not None:
                meanwhile()
        if error is not None:
            raise error
    return skipped


@pytest.fixture
def interrupted(lake: Lake, config: Config) -> Lake:
    """A lake whose last attempt was interrupted in the third job."""
    commit(lake, "clicks")
    with pytest.raises(Interrupted):
        attempt(lake, config, jobs=2, error=Interrupted())
    return lake


def done(lake: Lake, config: Config, *more: str, names: list[str] = NAMES) -> list[str]:
    """What an attempt with these arguments would skip."""
    with suppress(Interrupted), stretch(lake, config, *more, names=names) as progress:
        found = [*progress.done]
        raise Interrupted  # the record remains
    return found


def test_jobs_that_ended_are_skipped_and_the_record_continues(interrupted: Lake, config: Config) -> None:
    assert done(interrupted, config) == NAMES[:2]
    assert interrupted.spark.conf.get(MARK, "") == ""  # commits after the attempt are not marked
    assert attempt(interrupted, config, jobs=3) == NAMES[:2]
    assert done(interrupted, config) == []  # a stretch that ended runs again


def test_the_second_attempt_adds_to_the_record_of_the_first(lake: Lake, config: Config) -> None:
    for jobs in (1, 2):
        with pytest.raises(Interrupted):
            attempt(lake, config, jobs=jobs, error=Interrupted())
        assert done(lake, config) == NAMES[:jobs]


def test_nothing_is_skipped_once_a_table_has_changed(interrupted: Lake, config: Config) -> None:
    commit(interrupted, "clicks")
    assert done(interrupted, config) == []


def test_a_job_that_had_committed_but_not_ended_runs_again_with_all_before_it(
    interrupted: Lake, config: Config
) -> None:
    commit(interrupted, NAMES[2])
    assert done(interrupted, config) == []


def test_nothing_is_skipped_if_others_commit_during_the_attempt(lake: Lake, config: Config) -> None:
    """A job may have read the table before that commit, so its output does not belong to what is there now."""
    with pytest.raises(Interrupted):
        attempt(lake, config, jobs=2, error=Interrupted(), meanwhile=lambda: foreign_commit(lake))
    assert done(lake, config) == []


def test_a_publication_by_delta_rs_is_a_commit_of_the_attempt(lake: Lake, config: Config) -> None:
    publication = dict.fromkeys(tables.PUBLICATIONS.columns)
    lake.insert_row(tables.PUBLICATIONS, publication | {"publication": 1})
    with suppress(Interrupted), stretch(lake, config) as progress:
        lake.insert_row(tables.PUBLICATIONS, publication | {"publication": 2})
        progress.job_ended(NAMES[0])
        raise Interrupted
    assert done(lake, config) == NAMES[:1]
    assert "delta-rs" in Path(lake.path("publications", "_delta_log", f"{2:020}.json")).read_text("utf-8")


def foreign_commit(lake: Lake) -> None:
    mark = lake.spark.conf.get(MARK)
    lake.spark.conf.unset(MARK)
    commit(lake, "clicks")
    lake.spark.conf.set(MARK, str(mark))


def test_nothing_is_skipped_with_other_code_configuration_arguments_or_jobs(
    interrupted: Lake, config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = config.model_copy(update={"scoring": config.scoring.model_copy(update={"candidates_per_user": 7})})
    assert done(interrupted, other) == []
    assert done(interrupted, config, "--against", "2026-03-02") == []
    assert done(interrupted, config, names=NAMES[:2]) == []
    (tmp_path / "code" / "jobs").mkdir(parents=True)
    monkeypatch.setattr("jobs.cli.progress.CODE", tmp_path / "code")
    assert done(interrupted, config) == []
    monkeypatch.undo()
    assert done(interrupted, config) == NAMES[:2]


def test_nothing_is_skipped_once_the_blocklist_has_changed(lake: Lake, config: Config, tmp_path: Path) -> None:
    blocklist = tmp_path / "blocked.txt"
    blocklist.write_text("i1")
    update = {"blocklist": str(blocklist)}
    with_list = config.model_copy(update={"exclusions": config.exclusions.model_copy(update=update)})
    with pytest.raises(Interrupted):
        attempt(lake, with_list, jobs=1, error=Interrupted())
    assert done(lake, with_list) == NAMES[:1]
    blocklist.write_text("i1 i2")
    assert done(lake, with_list) == []


def test_only_a_temporary_error_keeps_the_record(lake: Lake, config: Config) -> None:
    with pytest.raises(WriteConflict):
        attempt(lake, config, jobs=1, error=WriteConflict("another writer"))
    assert done(lake, config) == NAMES[:1]
    with pytest.raises(DayStopped):
        attempt(lake, config, jobs=2, error=DayStopped("gate", "recall is too low"))
    assert done(lake, config) == []


def test_a_record_that_was_not_written_completely_counts_as_none(interrupted: Lake, config: Config) -> None:
    file = Path(interrupted.path("progress", "2026-03-01", "progress.json"))
    file.write_text(file.read_text("utf-8")[:-5], "utf-8")
    assert done(interrupted, config) == []


def test_a_removed_table_counts_as_a_change(interrupted: Lake, config: Config) -> None:
    Path(interrupted.path(NAMES[0])).rename(interrupted.path("elsewhere"))
    assert done(interrupted, config) == []
    Path(interrupted.path("elsewhere")).rename(interrupted.path(NAMES[0]))
    assert done(interrupted, config) == NAMES[:2]


def test_the_code_of_a_part_from_outside_the_package_is_an_input(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module, args = tmp_path / "part_of_mine.py", run_day.arg_parser().parse_args(["--lake", "l", "--ds", "2026-03-01"])
    monkeypatch.syspath_prepend(tmp_path)
    named = config.model_copy(update={"model": config.model.model_copy(update={"user_encoder": "part_of_mine:Mine"})})
    hashes = set()
    for code in (None, "class Mine: ...", "class Mine: 1"):
        if code is not None:
            module.write_text(code, "utf-8")
        importlib.invalidate_caches()
        hashes.add(hash_of_inputs(Lake(no_session, "l"), named, args))
    assert len(hashes) == 3


def test_how_the_output_looks_decides_no_row(config: Config) -> None:
    def hash_with(*more: str) -> str:
        args = run_day.arg_parser().parse_args(["--lake", "l", "--ds", "2026-03-01", *more])
        return hash_of_inputs(Lake(no_session, "l"), config, args)

    assert hash_with() == hash_with("--verbose", "--log-format", "json")
    assert hash_with() != hash_with("--skip-done")
