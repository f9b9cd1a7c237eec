"""Where the kinds age and recent_clicks may be declared, and what they need of the tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql.types import FloatType

from jobs.config.loading import load_config
from jobs.lake import tables

FRESH = """
[[features.{side}]]
name = "{side}_id"
kind = "id"
dim = 64
[[features.{side}]]
name = "{name}"
kind = "{kind}"
dim = 4
"""


@pytest.mark.parametrize("kind", ["age", "recent_clicks"])
def test_derived_features_are_columns_of_item_snapshots_and_of_no_log(tmp_path: Path, kind: str) -> None:
    own = tmp_path / "own.toml"
    own.write_text(FRESH.format(side="item", name="fresh", kind=kind), "utf-8")
    config = load_config(own)
    assert "fresh" not in tables.items(config).columns
    for table in (tables.item_snapshot(config), tables.item_changes(config)):
        assert table.schema["fresh"].dataType == FloatType()
    assert not any(feature.is_derived for feature in load_config().features.item)  # off by default
    own.write_text(FRESH.format(side="user", name="fresh", kind=kind), "utf-8")
    with pytest.raises(ValueError, match=f"a feature of kind {kind} must be one of features.item, got .*fresh"):
        load_config(own)


def test_interactions_are_kept_as_long_as_their_clicks_are_recent(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text("[log]\nrecent_click_days = 59\n[retention.tables]\ninteractions = 61\nclicks = 61\n", "utf-8")
    with pytest.raises(ValueError, match=r"retention\.tables\.interactions must be 0 \(for ever\) or at least 92 days"):
        load_config(own)
