"""Users with too many impressions on a day are set aside, and every row of theirs is accounted for."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from jobs import build_interactions
from jobs.build_interactions import days_changed_by_late_clicks
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.jobs.landed_rows import DAYS, Log, at, write

DAY, NEXT = DAYS[:2]
LIMIT = 3


@pytest.fixture
def log(lake: Lake) -> Log:
    """A program with five impressions and a copy of one, and a person with as many impressions as the limit."""
    log = Log(lake)
    for number in range(5):
        log.shown(DAY, f"p{number}", 10, item=f"i{number}", user="program")
    log.shown(DAY, "p0", 10, item="i0", user="program")
    for number in range(LIMIT):
        log.shown(DAY, f"u{number}", 10, item=f"i{number}")
    log.shown(NEXT, "next", 10, user="program")
    return log


@pytest.fixture
def limited(tmp_path: Path) -> list[str]:
    return ["--config", write(tmp_path, f"[log]\nmax_impressions_per_user = {LIMIT}\n")]


def users_of(log: Log, ds: dt.date) -> dict[str, int]:
    """The impressions of each user in interactions."""
    rows = log.lake.day(tables.INTERACTIONS, ds).groupBy("user_id").count().collect()
    return {row.user_id: row["count"] for row in rows}


def test_what_a_program_saw_and_clicked_counts_nowhere_and_is_accounted_for(
    log: Log, limited: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    log.clicked(DAY, "p1", at(DAY, 11)), log.clicked(DAY, "p1", at(DAY, 9))  # the second one is early, too
    log.clicked(DAY, "u1", at(DAY, 11)), log.clicked(DAY, "nothing", at(DAY, 11))
    log.clicked(NEXT, "p2", at(NEXT, 1))  # late, on an impression of the day before
    log.clicked(NEXT, "next", at(NEXT, 11))
    log.shown(NEXT, "p3", 9, user="u2")  # a copy: its id is the program's
    log.clicked(NEXT, "p3", at(NEXT, 9.5))
    log.land()
    first = log.run(DAY, *limited)
    assert users_of(log, DAY) == {"u1": LIMIT}
    found = {name: first[name] for name in tables.RECONCILIATION.columns if first[name] and name != "ds"}
    assert found == {
        "impressions": 9, "interactions": LIMIT, "duplicate_impressions": 1, "set_aside_impressions": 5, "set_aside_users": 1,
        "clicks": 4, "matched_clicks": 1, "orphan_clicks": 1, "set_aside_clicks": 2, "clicked": 1, "users": 1, "items": LIMIT,
    }  # fmt: skip
    (row,) = log.lake.rows(tables.SET_ASIDE_USERS, DAY)
    assert (row.ds, row.user_id, row.impressions) == (DAY, "program", 6)
    assert "users who are set aside for the day (log.max_impressions_per_user): 1" in capsys.readouterr().out
    assert days_changed_by_late_clicks(log.lake, load_config(limited[1]), NEXT) == []
    second = log.run(NEXT, *limited)
    assert users_of(log, NEXT) == {"program": 1}  # on this day it is like others
    assert (second.set_aside_users, second.set_aside_impressions, second.duplicate_impressions) == (0, 0, 1)
    assert (second.set_aside_clicks, second.matched_clicks, second.orphan_clicks) == (2, 1, 0)


def test_a_day_that_is_built_again_sets_the_same_users_aside_and_without_a_limit_nobody(
    log: Log, limited: list[str], tmp_path: Path
) -> None:
    log.land()
    first = log.run(DAY, *limited)
    stored = log.lake.day(tables.INTERACTIONS, DAY).collect()
    assert log.run(DAY, *limited) == first
    assert sorted(log.lake.day(tables.INTERACTIONS, DAY).collect()) == sorted(stored)
    (tmp_path / "all").mkdir()
    everyone = log.run(DAY, "--config", write(tmp_path / "all", "[log]\nmax_impressions_per_user = 0\n"))
    assert users_of(log, DAY) == {"u1": LIMIT, "program": 5}
    assert (everyone.set_aside_users, everyone.interactions) == (0, 8)
    assert log.lake.rows(tables.SET_ASIDE_USERS, DAY) == []


def test_a_click_without_an_impression_id_is_that_of_its_users_impression(log: Log, tmp_path: Path) -> None:
    log.clicked(DAY, None, at(DAY, 11), user="program", item="i1")
    log.clicked(DAY, None, at(DAY, 11), user="u1", item="i1")
    log.land()
    settings = f'[log]\nattribution = "user_item"\nmax_impressions_per_user = {LIMIT}\n'
    row = log.run(DAY, "--config", write(tmp_path, settings))
    assert (row.set_aside_clicks, row.matched_clicks, row.orphan_clicks) == (1, 1, 0)


def test_a_limit_that_leaves_nobody_stops_the_day_before_anything_is_written(log: Log, tmp_path: Path) -> None:
    log.land()
    config = write(tmp_path, "[log]\nmax_impressions_per_user = 2\n")
    with pytest.raises(DayStopped, match=f"must leave a user of {DAY}, got 2: all 9 impressions are of") as stop:
        build_interactions.main(["--lake", log.lake.uri, "--ds", str(DAY), "--config", config])
    assert stop.value.code == "all_set_aside"
    assert not log.lake.has(tables.SET_ASIDE_USERS)
    assert not log.lake.has(tables.INTERACTIONS)


def test_a_hostile_log_with_programs_adds_up_to_the_row(lake: Lake, limited: list[str]) -> None:
    """Copies of an id on the same and on other days, of the same and of other users; clicks on all of them."""
    random, log = np.random.default_rng(3), Log(lake)
    keys = [f"k{number}" for number in range(40)]
    for _ in range(70):
        day, user = DAYS[random.integers(2)], f"u{min(random.geometric(0.3), 6)}"
        log.shown(day, str(random.choice(keys)), float(random.integers(24)), user=user)
    for _ in range(80):
        day = DAYS[random.integers(2)]
        log.clicked(day, str(random.choice([*keys, "x"])), at(day, 0) + dt.timedelta(hours=float(random.integers(24))))
    log.land()
    rows = [log.run(day, *limited) for day in (DAY, NEXT)]
    assert all(row.set_aside_impressions and row.set_aside_clicks and row.matched_clicks for row in rows)
    impressions: dict[tuple[dt.date, str], int] = {}
    for ds, _, _, user, *_ in log.impressions:
        impressions[ds, user] = impressions.get((ds, user), 0) + 1
    aside = {key for key, count in impressions.items() if count > LIMIT}
    first: dict[str, tuple] = {}
    for ds, key, _, user, *_ in sorted(log.impressions, key=lambda row: (row[0], row[6], row[3])):
        first.setdefault(key, (ds, user))
    assert sum(row.set_aside_impressions for row in rows) == sum(owner in aside for owner in first.values())
    assert sum(row.set_aside_users for row in rows) == len(aside)
    kept = {row.impression_id for row in lake.read(tables.INTERACTIONS).collect()}
    assert kept == {key for key, owner in first.items() if owner not in aside}
