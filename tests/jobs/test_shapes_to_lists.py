"""Small logs of unusual shapes, from their files to published lists, or to the code with which their day stops."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pandas as pd
import pytest

from jobs import ingest_logs, run_day
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.raw_log.preconditions import DayStopped
from jobs.serving import read_candidates
from tests.jobs.log_files import write

DAY = dt.date(2026, 3, 29)  # on which clocks in Denmark skip the hour from 02:00
USERS, ITEMS, K = [f"u{number}" for number in range(6)], [f"i{number}" for number in range(8)], 3
TINY = f"""
[training]
epochs = 1
batch_size = 4
threads = 1
validation = "none"
[tracking]
uri = "none"
[index]
build_backends = ["exact"]
recall_sample_users = 5
[scoring]
candidates_per_user = {K}
[evaluation]
cutoffs = [1, {K}]
[gate]
min_recall_over_popularity = 0
min_coverage = 0
max_never_clicked_share = 1
max_head_share = 1
max_short_list_share = 1
max_mean_cosine = 1
max_index_recall_drop = 1
[log]
attribution_window_hours = 1
"""
CLICKED = {user: [ITEMS[number], ITEMS[number + 1]] for number, user in enumerate(USERS)}


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, "utf-8")
    return str(path)


def ingest(lake: Lake, config: str, *arguments: str, ds: dt.date = DAY) -> int:
    return ingest_logs.main(["--lake", lake.uri, "--config", config, "--ds", str(ds), *arguments])


def require_lists(lake: Lake, config: str, ds: dt.date = DAY, *arguments: str) -> None:
    """Run the day, and check that each user has a list without the items that the user has clicked."""
    run_day.main(["--lake", lake.uri, "--config", config, "--ds", str(ds), *arguments])
    lists = read_candidates(lake.uri, USERS).groupby("user_id")["item_id"].agg(set)
    assert {user: len(lists[user]) for user in USERS} == dict.fromkeys(USERS, K)
    assert not any(lists[user] & {*CLICKED[user]} for user in USERS)


def clicks(day: dt.date = DAY) -> pd.DataFrame:
    rows = [(user, item, f"{day} 10:0{number}") for user in USERS for number, item in enumerate(CLICKED[user])]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "clicked_at"])


def test_events_of_a_zone_whose_clocks_change_reach_lists_by_user_and_item(
    lake: Lake, tmp_path: Path, config: str
) -> None:
    """A file of events with a type column; clicks without impression ids. 01:50 and 03:10 are 20 minutes apart."""
    shown = [(user, item, "view", "01:50" if user < "u3" else "02:30") for user in USERS for item in ITEMS]
    clicked = [(user, item, "click", "03:10" if user < "u3" else "03:40") for user in USERS for item in CLICKED[user]]
    events = pd.DataFrame([*shown, *clicked], columns=["uid", "sku", "event", "time"])
    mapping = tmp_path / "mapping.toml"
    mapping.write_text(
        '[log]\nattribution = "user_item"\n[mapping]\ntime_zone = "Europe/Copenhagen"\n[mapping.events]\n'
        'user_id = "uid"\nitem_id = "sku"\nimpressed_at = "concat(\'2026-03-29 \', time)"\n'
        'request_id = "uid"\nshown = "event = \'view\'"\nclicked = "event = \'click\'"\n',
        "utf-8",
    )
    path = write(events, tmp_path, "events", "csv")
    assert ingest(lake, config, "--config", str(mapping), "--events", path) == len(events)
    require_lists(lake, config, DAY, "--config", str(mapping))
    row = lake.day(tables.RECONCILIATION, DAY).first()
    assert row is not None
    assert (row.impressions, row.clicks, row.matched_clicks) == (len(shown), len(clicked), len(clicked))


@pytest.mark.slow
def test_clicks_alone_reach_lists(lake: Lake, tmp_path: Path, config: str) -> None:
    ingest(lake, config, "--clicks", write(clicks(), tmp_path, "clicks", "csv"))
    require_lists(lake, config)


@pytest.mark.slow
@pytest.mark.parametrize(("column", "code"), [("user_id", "one_user"), ("item_id", "one_item")])
def test_one_user_or_item_stops_the_day_with_its_code(
    lake: Lake, tmp_path: Path, config: str, column: str, code: str
) -> None:
    ingest(lake, config, "--clicks", write(clicks().assign(**{column: "only"}), tmp_path, "clicks", "csv"))
    with pytest.raises(DayStopped) as stop:
        run_day.main(["--lake", lake.uri, "--config", config, "--ds", str(DAY)])
    assert stop.value.code == code


@pytest.mark.slow
def test_a_feature_that_is_added_and_then_retyped_reaches_lists(lake: Lake, tmp_path: Path, config: str) -> None:
    """By the steps of docs/operations.md: remove the tables with the column, land the items, rebuild the tables."""
    items = write(pd.DataFrame({"item_id": ITEMS, "size": range(len(ITEMS))}), tmp_path, "items", "csv")
    ingest(lake, config, "--clicks", write(clicks(), tmp_path, "first", "csv"), "--items", items)
    require_lists(lake, config)
    for number, kind in enumerate(("categorical", "numeric"), start=1):
        day = DAY + dt.timedelta(days=number)
        own = tmp_path / f"{kind}.toml"
        own.write_text(
            '[[features.item]]\nname = "item_id"\nkind = "id"\ndim = 64\n'
            f'[[features.item]]\nname = "size"\nkind = "{kind}"\ndim = 8\n',
            "utf-8",
        )
        landing = ["--config", str(own), "--items", items, "--clicks"]
        with pytest.raises(SchemaMismatch, match=r"table items: .*size (double|string|must be double, got string)"):
            ingest(lake, config, *landing, write(clicks(day), tmp_path, kind, "csv"), ds=day)
        for table in ("items", "item_snapshot"):
            shutil.rmtree(Path(lake.uri, table))
        ingest(lake, config, *landing, write(clicks(), tmp_path, "first", "csv"))
        before = str(day - dt.timedelta(days=1))
        run_day.main(
            ["--lake", lake.uri, "--config", config, "--config", str(own), "--ds", str(DAY), "--last", before,
             "--tables-only"]
        )  # fmt: skip
        ingest(lake, config, *landing, write(clicks(day), tmp_path, kind, "csv"), ds=day)
        require_lists(lake, config, day, "--config", str(own))
