"""Files of events that are odd: none of them a click, or clicks that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from jobs import forget_users
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.log_files import DAY, write
from tests.jobs.test_ingest_own_shapes import EVENTS, OF_EVENTS, ingest, landed


def test_events_without_a_click_land_as_impressions_with_a_warning(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(EVENTS, tmp_path, "events", "csv")
    ingest(lake, "--events", path, maps=OF_EVENTS)
    assert ingest(lake, "--events", path, maps=(*OF_EVENTS, "events.clicked=rating >= 6")) == 4
    assert (len(landed(lake)[0]), lake.day(tables.CLICKS, DAY).count()) == (4, 0)  # also those that landed before
    says = f"warning: {path}: no row fulfils mapping.events.clicked: impressions land without clicks"
    assert says in capsys.readouterr().out.splitlines()


def test_a_refused_click_of_events_keeps_its_user_and_goes_with_it(lake: Lake, tmp_path: Path) -> None:
    """Its impression may never have landed, and columns that the contract drops are not kept."""
    events = EVENTS.assign(type=["view", "click", "click", "view"], imp=["a", "x", "y", "b"], secret="s", dwell=-1.0)
    maps = ("events.user_id=uid", "events.item_id=sku", "events.impression_id=imp", "events.reward=dwell",
            "events.shown=type = 'view'", "events.clicked=type = 'click' ",
            'events.impressed_at={column = "ts", unit = "s"}')  # fmt: skip
    path = write(pd.concat([events, events.assign(dwell=1.0, imp=["c", "c", "c", "d"])]), tmp_path, "events", "csv")
    ingest(lake, "--events", path, maps=maps)

    def refused() -> list[dict[str, str]]:
        return [json.loads(row.row) for row in lake.read(tables.QUARANTINE).orderBy("row").collect()]

    kept = {"impression_id", "user_id", "clicked_at", "reward"}
    assert [set(row) for row in refused()] == [kept, kept]
    assert [row["user_id"] for row in refused()] == ["u1", "u2"]
    (tmp_path / "users.txt").write_text("u1")
    forget_users.main(["--lake", lake.uri, "--users", str(tmp_path / "users.txt")])
    assert [row["user_id"] for row in refused()] == ["u2"]
