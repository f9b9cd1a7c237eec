"""Words such as NA: missing where a number is wanted; categories, with a warning, where a text is."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import build_interactions, build_snapshots, build_vocabularies, ingest_logs
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.feature_values import warnings_of_day
from tests.jobs.log_files import DAY, IMPRESSIONS, write

FEATURES = """
[model]
share_item_table = false
[[features.item]]
name = "item_id"
kind = "id"
dim = 8
[[features.item]]
name = "price"
kind = "numeric"
dim = 4
[[features.item]]
name = "country"
kind = "categorical"
dim = 4
[[features.item]]
name = "tags"
kind = "categorical"
length = 3
dim = 4
"""
ITEMS = """item_id,price,country,tags,published_at
i1,NA,NA,a|None,NULL
i2,1.5,DK,b,2026-01-01
i3,null,NA,,NaT
,1,None,,
"""


def test_words_are_missing_numbers_and_categories_with_a_warning(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, items = tmp_path / "features.toml", tmp_path / "items.csv"
    config.write_text(FEATURES, "utf-8")
    items.write_text(ITEMS, "utf-8")
    common = ["--lake", lake.uri, "--config", str(config), "--ds", str(DAY)]
    impressions = write(IMPRESSIONS, tmp_path, "impressions", "parquet")
    ingest_logs.main([*common, "--impressions", impressions, "--items", str(items)])
    rows = lake.read(tables.items(load_config(str(config)))).orderBy("item_id").collect()
    assert [(row.price, row.country, row.published_at is None) for row in rows] == [
        (None, "NA", True), (1.5, "DK", False), (None, "NA", True),
    ]  # fmt: skip
    wanted = [
        "country: 2 values are words for a missing value, such as NA, and count as a category; if they are none, map "
        "them: country = \"nullif(country, 'NA')\"",
        "tags: 1 values are words for a missing value, such as None, and count as a category; if they are none, map "
        "them: tags = \"nullif(tags, 'None')\"",
    ]
    said = capsys.readouterr().out.splitlines()
    assert {f"warning: items: {line}" for line in wanted} <= {*said}  # the word of a refused row is not counted
    for job in (build_interactions, build_vocabularies, build_snapshots):
        job.main(common)
    assert [line for line in warnings_of_day(lake, DAY) if "words" in line] == [f"feature {line}" for line in wanted]
    assert f"warning: item_snapshot of {DAY}: feature {wanted[0]}" in capsys.readouterr().out
