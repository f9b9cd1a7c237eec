"""Stretches of a day: run_day --from JOB --to JOB, without running the jobs."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs import run_day
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from jobs.serving.publication_checks import NotPublishable
from jobs.serving.publications import PINNED_TABLES
from model.training.processes.lines import USER_ERROR
from tests.no_session import no_session
from tests.recorded_day import Recorder, calls, recorded_jobs


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return recorded_jobs(monkeypatch)


@pytest.mark.parametrize(("first", "last"), [(3, 5), (0, 0), (19, 21), (20, 20), (21, 21)])
def test_a_stretch_runs_both_of_its_ends_and_all_jobs_between(first: int, last: int, recorder: Recorder) -> None:
    found = calls(recorder, ["--from", run_day.NAMES[first], "--to", run_day.NAMES[last]])
    assert [job for job, _ in found] == list(run_day.NAMES[first : last + 1])
    assert recorder.positions == [*range(1, len(found) + 1)]  # what a terminal shows


@pytest.mark.parametrize(("stops", "ends_with"), [("publish_candidates", "report_run"), ("score_users", "score_users")])
def test_a_day_that_is_not_published_is_reported(stops: str, ends_with: str, recorder: Recorder) -> None:
    recorder.stops = stops
    with pytest.raises(DayStopped):
        calls(recorder, ["--from", "score_users"])
    assert recorder.calls[-1][0] == ends_with
    recorder.stops = "gate_candidates"
    with pytest.raises(DayStopped):
        calls(recorder, ["--to", "publish_candidates"])  # without the report
    assert recorder.calls[-1][0] == "gate_candidates"


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--from", "score"], "argument --from: must be one of build_interactions, "),
        (["--to", "score"], "report_run, got 'score'"),
        (
            ["--from", "score_users", "--to", "rebuild_days"],
            "--from must not be after the last job, rebuild_days: one of build_interactions, rebuild_days, got score_users",
        ),
        (["--tables-only", "--to", "score_users"], "--to: not allowed with argument --tables-only"),
        (
            ["--tables-only", "--from", "train_two_tower"],
            "--from must not be after the last job, build_window_counts: ",
        ),
        (
            ["--tables-only", "--against", "2026-03-02"],
            "--against must be given with a stretch that has evaluate_candidates, got build_interactions to build_window",
        ),
    ],
)
def test_a_stretch_that_is_none_is_refused(
    more: list[str], complaint: str, recorder: Recorder, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        calls(recorder, more)
    assert stop.value.code == USER_ERROR
    assert complaint in capsys.readouterr().err
    assert recorder.calls == []


def test_each_job_that_ends_is_passed_on_by_name(recorder: Recorder) -> None:
    ended: list[str] = []
    recorder.stops = "gate_candidates"
    with pytest.raises(DayStopped):
        calls(recorder, ["--from", "score_users"], ended.append)
    assert ended == ["score_users", "evaluate_candidates"]
    recorder.stops = None
    ended.clear()
    calls(recorder, [], ended.append)
    assert ended == list(run_day.NAMES[:-1])  # the report is not skipped


def test_tables_only_is_a_stretch(recorder: Recorder) -> None:
    assert calls(recorder, ["--tables-only"]) == calls(recorder, ["--to", "build_window_counts"])
    assert [job for job, _ in calls(recorder, ["--tables-only"])] == list(run_day.NAMES[:10])


@pytest.mark.parametrize("more", [["--last", "2026-03-02"], []], ids=["range", "day"])
def test_a_day_before_a_published_one_is_refused_before_any_job_unless_it_is_not_to_be_published(
    more: list[str], recorder: Recorder, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    versions = dict.fromkeys((f"{table.name}_version" for table in PINNED_TABLES), 0)
    published = {"ds": dt.date(2026, 3, 3), "publication": 1, "follows": None, "model_version": "m", "users": 1}
    lake.insert_row(tables.PUBLICATIONS, {**published, **versions, "published_at": dt.datetime.now(dt.UTC)})
    command = ["--lake", lake.uri, "--ds", "2026-03-01", *more]
    with pytest.raises(NotPublishable, match=r"2026-03-01 is before 2026-03-03, .* already; run it with --tables-only"):
        run_day.main(command)
    assert recorder.calls == []
    run_day.main([*command[:4], "--from", "gate_candidates", "--to", "gate_candidates"])
    assert [job for job, _ in recorder.calls] == ["gate_candidates"]
