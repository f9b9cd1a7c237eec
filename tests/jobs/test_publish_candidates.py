from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs import publish_candidates
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.files import NoSuchLake
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving import publication_checks, publications, read_candidates
from jobs.serving.publication_checks import NotPublishable
from jobs.serving.publications import last_scored_at, published_candidates
from jobs.serving.publishing import PublicationConflict, newest_target, publish
from jobs.serving.rollback import roll_back
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after
from tests.no_session import no_session

FIRST, SECOND, THIRD, FOURTH = DAYS
AT = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)


def arguments(lake: Lake, ds: dt.date) -> list[str]:
    return ["--lake", lake.uri, "--config", SMALL, "--ds", str(ds)]


def test_each_publication_names_the_one_it_follows(simulated: Lake) -> None:
    rows = simulated.read(tables.PUBLICATIONS).orderBy("publication").collect()
    assert [(row.publication, row.follows, row.ds) for row in rows] == [
        (1, None, DAYS[0]),
        (2, 1, DAYS[1]),
        (3, 2, DAYS[2]),
    ]
    assert rows[0].candidates_version < rows[1].candidates_version < rows[2].candidates_version


def test_nothing_is_published_before_the_first_time(lake: Lake) -> None:
    for read in (lambda: published_candidates(lake), lambda: read_candidates(lake.uri)):
        with pytest.raises(NoSuchLake, match=f"there is no lake at {lake.uri}"):
            read()
    lake.append(tables.GATE, lake.spark.createDataFrame([], tables.GATE.schema))
    with pytest.raises(NoSuchDay, match="nothing is published"):
        published_candidates(lake)
    with pytest.raises(NoSuchDay, match="nothing is published"):
        read_candidates(lake.uri)


def test_the_time_of_many_lists_is_read_by_the_executors(simulated: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    version = simulated.version(tables.CANDIDATES)
    here = {ds: last_scored_at(simulated, ds, version) for ds in DAYS}
    assert here[THIRD] is not None
    assert here[FOURTH] is None  # it has no lists
    monkeypatch.setattr(publications, "MAX_LISTS", 0)
    monkeypatch.setattr(Lake, "batches", lambda *_, **__: pytest.fail("the lists were read in the driver"))
    assert last_scored_at(simulated, THIRD, version) == here[THIRD]
    with pytest.raises(pytest.fail.Exception):
        last_scored_at(simulated, FOURTH, version)  # a day of few lists


def test_an_older_day_does_not_replace_a_later_one(simulated_copy: Lake) -> None:
    with pytest.raises(NotPublishable, match=rf"{FIRST} is before {THIRD}, which was published already"):
        publish_candidates.main(arguments(simulated_copy, FIRST))
    publish_candidates.main([*arguments(simulated_copy, FIRST), "--republish"])
    assert {row.ds for row in published_candidates(simulated_copy).select("ds").distinct().collect()} == {FIRST}


@pytest.mark.slow
def test_a_day_that_is_run_again_does_not_bring_back_what_was_rolled_back(simulated_copy: Lake) -> None:
    lake = simulated_copy

    def publish_newest(ds: dt.date, *, republish: bool = False) -> int:
        return publish(lake, {**newest_target(lake, ds), "users": 400}, AT, republish)

    assert publish_newest(THIRD) == 3  # a publication that is made again is no other
    roll_back(lake, 1, AT)
    lake.overwrite(tables.CANDIDATES, FOURTH, lake.day(tables.CANDIDATES, THIRD))  # another version, the same lists
    with pytest.raises(
        NotPublishable, match=rf"lists of {THIRD} were publication 3, and were rolled back: readers follow {SECOND}"
    ):
        publish_newest(THIRD)
    with pytest.raises(NotPublishable, match=rf"{SECOND} is before {THIRD}, which was published already"):
        publish_newest(SECOND)
    assert publish_newest(THIRD, republish=True) == 5
    roll_back(lake, 1, AT)
    later = lake.day(tables.CANDIDATES, THIRD).withColumn("scored_at", F.current_timestamp()).localCheckpoint()
    lake.overwrite(tables.CANDIDATES, THIRD, later)
    assert publish_newest(THIRD) == 7  # it was scored again
    roll_back(lake, 1, AT)
    next_day = {**newest_target(lake, THIRD), "ds": FOURTH, "users": 400}
    assert publish(lake, next_day, AT, republish=False) == 9


def test_a_rollback_needs_no_spark_session(
    simulated_copy: Lake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    lake = simulated_copy
    arguments = ["--lake", lake.uri, "--config", SMALL, "--rollback"]
    publish_candidates.main([*arguments, "2"])
    assert f"readers get {FIRST} again" in capsys.readouterr().out
    Path(lake.path("candidates", f"ds={SECOND}")).rename(lake.path("elsewhere"))
    with pytest.raises(
        NotPublishable, match=rf"cannot roll back 2 publications, its files .*; possible: 1 \({THIRD}\), 3 \({FIRST}\)$"
    ):
        publish_candidates.main([*arguments, "2"])
    days = {row.publication: row.ds for row in lake.rows(tables.PUBLICATIONS)}
    assert days == {1: FIRST, 2: SECOND, 3: THIRD, 4: FIRST}


def test_a_day_that_is_scored_again_does_not_reach_readers(simulated_copy: Lake) -> None:
    lake = simulated_copy
    before = read_candidates(lake.uri)
    lake.overwrite(tables.CANDIDATES, THIRD, lake.day(tables.CANDIDATES, THIRD).limit(1))
    assert read_candidates(lake.uri).equals(before)
    assert published_candidates(lake).count() == before["user_id"].nunique()


def test_what_is_written_while_it_is_checked_is_not_published(
    simulated_copy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, passed = simulated_copy, publication_checks.require_gate_passed
    rows = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    lake.overwrite(tables.CANDIDATES, THIRD, rows)  # another version of the lists that were judged

    def passed_and_scored_again(*arguments: object) -> None:
        passed(*arguments)
        lake.overwrite(tables.CANDIDATES, THIRD, rows.limit(1))

    monkeypatch.setattr(publish_candidates, "require_gate_passed", passed_and_scored_again)
    publish_candidates.main(arguments(lake, THIRD))
    assert lake.read(tables.PUBLICATIONS).count() == 4
    assert published_candidates(lake).count() == rows.count()


@pytest.mark.parametrize(
    ("fault", "message"),
    slow_after(
        2,
        [
            ("missing", "got 399 rows of 399 users"),
            ("twice", "got 401 rows of 400 users"),
            ("empty", "got 1 such empty lists"),
            ("foreign", "400 of another model"),
        ],
    ),
)
def test_candidates_that_are_not_whole_are_refused(
    simulated_copy: Lake, config: Config, fault: str, message: str
) -> None:
    lake = simulated_copy
    rows = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    one = rows.orderBy("user_id").limit(1)
    broken = {
        "missing": rows.join(one.select("user_id"), "user_id", "left_anti"),
        "twice": rows.unionByName(one),
        "empty": rows.join(one.select("user_id"), "user_id", "left_anti").unionByName(
            one.withColumn("candidates", F.slice("candidates", 1, 0))
        ),
        "foreign": rows.withColumn("model_version", F.lit("another")),
    }[fault]
    lake.overwrite(tables.CANDIDATES, THIRD, broken)
    with pytest.raises(NotPublishable, match=message):
        publish_candidates.main(arguments(lake, THIRD))
    assert lake.read(tables.PUBLICATIONS).count() == 3


def test_of_publishers_at_the_same_time_each_place_goes_to_one(simulated_copy: Lake) -> None:
    def attempt(_: int) -> int | None:
        try:
            wanted = {**newest_target(simulated_copy, THIRD), "users": 400}
            return publish(simulated_copy, wanted, AT, republish=True)
        except PublicationConflict:
            return None

    with ThreadPoolExecutor(4) as publishers:
        numbers = [number for number in publishers.map(attempt, range(8)) if number is not None]
    rows = simulated_copy.read(tables.PUBLICATIONS).orderBy("publication").collect()
    assert [row.publication for row in rows] == list(range(1, 4 + len(numbers)))
    assert sorted(numbers) == list(range(4, 4 + len(numbers)))
    assert [row.follows for row in rows] == [None, *range(1, len(rows))]


def test_a_variant_cannot_be_published(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        publish_candidates.main([*arguments(lake, FOURTH), "--variant", "uncorrected"])
    assert "unrecognized arguments: --variant" in capsys.readouterr().err
