"""A file that lacks a column: the error names the key of the configuration that asks for the column."""

from __future__ import annotations

import pytest

from jobs.config.loading import Config, load_config
from jobs.raw_log.files import MissingColumns, require_named
from jobs.raw_log.mapping.log_file import keys_named


@pytest.fixture
def titled() -> Config:
    config = load_config("movielens")
    report = config.report.model_copy(update={"item_title": "name", "item_picture": "cover"})
    return config.model_copy(update={"report": report})


@pytest.mark.parametrize(
    ("missing", "says"),
    [
        ("name", "; report.item_title names 'name'"),
        ("cover", "; report.item_picture names 'cover'"),
        ("genres", "; features.item names 'genres'"),
        ("item_id", "docs/your-log.md\\)$"),  # of the contract: no key names it
    ],
)
def test_the_key_that_names_a_missing_column_is_said(titled: Config, missing: str, says: str) -> None:
    columns = ["item_id", "name", "cover", "genres"]
    wanted = rf"items.csv must have the columns \['{missing}'\], got .*{says}"
    with pytest.raises(MissingColumns, match=wanted) as found, keys_named(titled):
        require_named("items.csv", [name for name in columns if name != missing], columns)
    assert found.value.columns == (missing,)
