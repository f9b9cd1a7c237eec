"""Nothing that a reader or a job can reach names a forgotten user; nobody else loses a row."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs import build_vocabularies, forget_users, publish_candidates, score_users
from jobs.cli.clock import now
from jobs.lake import tables
from jobs.lake.files import delta_paths
from jobs.lake.lake import Lake
from jobs.maintenance.forgetting import SLACK_DAYS
from jobs.maintenance.retention import DEFAULT_KEEP_DAYS, retention_days
from jobs.report.files import report_path
from jobs.serving import PublishedCandidates, read_candidates
from jobs.serving.publication_checks import NotPublishable
from tests.conftest import DAYS, SMALL

THIRD = DAYS[2]
NOBODY = "nobody-of-this-lake"
AT = "2026-03-02T10:00:00Z"


def named(lake: Lake, users: list[str]) -> dict[str, int]:
    """How many rows of each table hold one of the ids, in whatever column."""
    found = {}
    for name, path in delta_paths(lake.spark, lake.uri).items():
        rows = lake.spark.read.format("delta").load(path)
        text = F.translate(F.to_json(F.struct(*rows.columns)), "\\", "")  # JSON in JSON
        texts = [text.contains(f'"{user}"') for user in users]
        found[name] = rows.where(texts[0] | texts[1]).count()
    return found


@pytest.mark.usefixtures("spilling")
def test_forgotten_users_are_nowhere_and_the_others_keep_everything(
    simulated_copy: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = simulated_copy
    last = lake.read(tables.VOCABULARIES).where("feature = 'user_id'").orderBy(F.desc("index")).first()
    assert last is not None
    pages = {day: Path(report_path(lake.uri, day)) for day in DAYS[:3]}
    shown = re.search("<h3>(.*?)</h3>", pages[THIRD].read_text())
    assert shown is not None
    users = [str(last.value), shown[1]]  # "u0" names a category too
    pages[DAYS[0]].write_text(pages[DAYS[0]].read_text().replace(shown[0], ""))
    draft = pages[THIRD].with_name(".index.html.0.draft")  # of a report that was killed
    draft.write_text(pages[THIRD].read_text())
    assert users[0] != users[1]
    refused = [(THIRD, "clicks", "x", "y", f'{{"user_id":"{users[1]}"}}')]
    lake.append(tables.QUARANTINE, lake.spark.createDataFrame(refused, tables.QUARANTINE.schema))
    before = named(lake, users)
    assert {name for name, rows in before.items() if rows} > {"impressions", "users", "candidates", "quarantine"}
    others = read_candidates(lake.uri).query("user_id not in @users").reset_index(drop=True)
    checkpoint = Path(lake.path("checkpoints", "of-a-training"))
    checkpoint.mkdir(parents=True)
    file = tmp_path / "forgotten.txt"
    file.write_text("\n".join([*users, NOBODY]))
    assert forget_users.main(["--lake", lake.uri, "--users", str(file), "--published-at", AT]) > 10
    assert not any(named(lake, users).values())
    assert read_candidates(lake.uri).equals(others)
    assert not checkpoint.exists()
    out, day = capsys.readouterr().out, now() + dt.timedelta(days=33)
    assert f"publication 3 of 2026-03-01 contains them until maintain_tables runs after {day:%Y-%m-%d}" in out
    assert [day for day, page in pages.items() if page.exists()] == [DAYS[0]]
    assert not draft.exists()
    logs = [log.read_text() for log in Path(lake.uri).glob("*/_delta_log/*.json")]
    assert not [text for text in logs if NOBODY in text]  # an id of the list that no statistics of a file can hold
    newest = lake.read(tables.PUBLICATIONS).orderBy(F.desc("publication")).first()
    assert newest is not None
    assert (newest.publication, newest.ds, newest.users) == (4, THIRD, 398)
    for own in PublishedCandidates.current(lake.uri).files:
        ids = own.opened.read(columns=["user_id"])["user_id"].to_pylist()
        assert ids == sorted(ids)
    lake.append(tables.VOCABULARIES, lake.read(tables.VOCABULARIES).limit(0))
    build_vocabularies.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(DAYS[2])])
    taken = lake.read(tables.VOCABULARIES).where(f"feature = 'user_id' and index = {last['index']}").collect()
    assert [row.value for row in taken] == [None]
    assert forget_users.main(["--lake", lake.uri, "--users", str(file)]) == 0


@pytest.mark.parametrize("lives", [0.5, 1, 2])  # days that readers follow a publication for
def test_by_the_day_that_is_told_maintenance_keeps_nothing_from_before(lake: Lake, lives: float) -> None:
    forgotten = now()
    told = forgotten + dt.timedelta(days=DEFAULT_KEEP_DAYS + SLACK_DAYS)
    times = [forgotten + dt.timedelta(days=lives * number) for number in range(-9, int(33 / lives) + 1)]
    rows = [(number, number, THIRD, "m", number, 0, 0, 1, time) for number, time in enumerate(times)]
    lake.append(tables.PUBLICATIONS, lake.spark.createDataFrame(rows, tables.PUBLICATIONS.schema))
    assert told - dt.timedelta(days=retention_days(lake, DEFAULT_KEEP_DAYS, told)) >= forgotten


@pytest.mark.slow
def test_neither_lists_that_nobody_has_published_nor_forgotten_users_reach_readers(
    simulated_copy: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, before = simulated_copy, read_candidates(simulated_copy.uri)
    score_users.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD), "--scored-at", AT])
    file = tmp_path / "forgotten.txt"
    file.write_text(str(before["user_id"].iloc[0]))
    forget_users.main(["--lake", lake.uri, "--users", str(file)])
    assert "warning: 2026-03-01 was scored again since" in capsys.readouterr().out
    assert read_candidates(lake.uri).equals(before)
    rollback = ["--lake", lake.uri, "--config", SMALL, "--rollback"]
    publish_candidates.main([*rollback, "1"])  # the day before, which nobody has scored again
    second = lake.read(tables.PUBLICATIONS).where(F.col("ds") == F.lit(DAYS[1])).orderBy("publication").collect()
    was, now_is = (
        lake.day(tables.CANDIDATES, DAYS[1], version=row.candidates_version).select("user_id") for row in second
    )
    assert [row.user_id for row in was.exceptAll(now_is).collect()] == [file.read_text()]
    assert (second[1].users, now_is.exceptAll(was).count()) == (second[0].users - 1, 0)
    assert len(second) == 2
    with pytest.raises(NotPublishable, match="publication 3 has users who were forgotten since"):
        publish_candidates.main([*rollback, "1"])


@pytest.mark.parametrize(("text", "message"), [(None, "there is no file or folder --users"), ("\n \n", "got none")])
def test_a_list_that_is_not_there_or_empty_is_refused(
    lake: Lake, tmp_path: Path, text: str | None, message: str
) -> None:
    lake.append(tables.GATE, lake.spark.createDataFrame([], tables.GATE.schema))
    file = tmp_path / "forgotten.txt"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=message):
        forget_users.main(["--lake", lake.uri, "--users", str(file)])


def test_a_user_whose_id_has_a_line_break_is_found_on_a_page() -> None:
    assert forget_users.NAME_ON_PAGE.findall("<h3>a\nb</h3>\n<h3>c</h3>") == ["a\nb", "c"]
