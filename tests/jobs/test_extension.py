"""A day with a source of negatives, an index and a user encoder that are named in the configuration only."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import run_day
from jobs.inference.references import index_path, model_manifest, model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.artifacts.model_version import load_model
from model.search.backends import load_index
from tests.conftest import DAYS, SMALL
from tests.extensions.my_encoder import AttentionPooling
from tests.extensions.my_index import SignBuckets

FOURTH = DAYS[-1]
SOURCE, INDEX = "tests.extensions.my_source:RecentClicks", "tests.extensions.my_index:SignBuckets"
EXTENSIONS = f"""
[index]
backend = "{INDEX}"
build_backends = ["{INDEX}"]
options = {{ "{INDEX}" = {{ bits = 3 }} }}

[negatives.custom.recent]
source = "{SOURCE}"
draws = 16
options = {{ window = 300 }}

[model]
user_encoder = "tests.extensions.my_encoder:AttentionPooling"
"""


@pytest.mark.slow
def test_a_day_runs_with_parts_from_outside_the_package(simulated_copy: Lake, tmp_path: Path) -> None:
    lake, extended = simulated_copy, tmp_path / "extended.toml"
    extended.write_text(EXTENSIONS, "utf-8")
    run_day.main(["--lake", lake.uri, "--config", SMALL, "--config", str(extended), "--ds", str(FOURTH)])

    version = model_version(lake, FOURTH)
    manifest = model_manifest(lake, version)
    assert manifest is not None
    assert manifest["configuration"]["negatives"]["custom"]["recent"]["source"] == SOURCE
    assert manifest["metrics"]["sources"]["recent"]["draws"] == 16 * manifest["metrics"]["steps"]
    towers, _ = load_model(Path(model_path(lake, version)), version)
    assert isinstance(towers.user.embedding("history").encoder, AttentionPooling)

    (index,) = lake.day(tables.ITEM_INDEXES, FOURTH).collect()
    assert (index.backend, index.is_chosen, index.recall) == (INDEX, True, 1.0)
    stored = Path(index_path(lake, FOURTH, index.folder, INDEX))
    assert isinstance(load_index(stored, version, [INDEX]), SignBuckets)
    candidates = lake.day(tables.CANDIDATES, FOURTH)
    assert {row.model_version for row in candidates.select("model_version").distinct().collect()} == {version}
    assert candidates.count() == lake.day(tables.USER_EMBEDDINGS, FOURTH).count()
