"""Scoring refuses parts of different models, damaged indexes and invalid configurations."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

from jobs import score_users
from jobs.config.loading import load_config
from jobs.inference.references import ITEMS, index_path
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.artifacts.formats import IndexCorrupt, VersionMismatch
from tests.conftest import SMALL
from tests.jobs.scoring_runs import SECOND, THIRD, run, settings
from tests.marks import slow_after


@pytest.mark.slow
def test_parts_of_different_models_are_refused(simulated_copy: Lake) -> None:
    config = ["--config", SMALL]
    before = simulated_copy.version(tables.CANDIDATES)
    users = simulated_copy.day(tables.USER_EMBEDDINGS, THIRD).localCheckpoint()
    simulated_copy.overwrite(tables.USER_EMBEDDINGS, THIRD, users.withColumn("model_version", F.lit("another")))
    with pytest.raises(
        VersionMismatch, match=r"user_embeddings of 2026-03-01 must be of model version .*, got another"
    ):
        run(simulated_copy, THIRD, config, score_users)
    simulated_copy.overwrite(tables.USER_EMBEDDINGS, THIRD, users)
    indexes = simulated_copy.day(tables.ITEM_INDEXES, THIRD).localCheckpoint()
    simulated_copy.overwrite(tables.ITEM_INDEXES, THIRD, indexes.withColumn("model_version", F.lit("another")))
    with pytest.raises(VersionMismatch, match=r"the index of 2026-03-01 must be of model version .*, got another"):
        run(simulated_copy, THIRD, config, score_users)
    named = F.when(F.col("is_chosen"), "os:path").otherwise(F.col("backend"))
    simulated_copy.overwrite(tables.ITEM_INDEXES, THIRD, indexes.withColumn("backend", named))
    with pytest.raises(ValueError, match=r"must be of one of the backends .*, got 'os:path'"):  # it is not imported
        run(simulated_copy, THIRD, config, score_users)
    simulated_copy.overwrite(tables.ITEM_INDEXES, THIRD, indexes)
    chosen = indexes.where("is_chosen").first()
    assert chosen is not None
    own = Path(index_path(simulated_copy, THIRD, chosen.folder, chosen.backend))
    older = simulated_copy.day(tables.ITEM_INDEXES, SECOND).where(F.col("backend") == chosen.backend).first()
    assert older is not None
    shutil.rmtree(own)
    shutil.copytree(index_path(simulated_copy, SECOND, older.folder, chosen.backend), own)
    with pytest.raises(VersionMismatch, match=f"got '{older.model_version}'"):
        run(simulated_copy, THIRD, config, score_users)
    assert simulated_copy.version(tables.CANDIDATES) == before


@pytest.mark.parametrize(
    ("name", "fault"),
    slow_after(
        2,
        [
            ("embeddings.npy", "truncated"),
            ("embeddings.npy", "foreign"),
            ("embeddings.npy", "missing"),
            ("items.parquet", "foreign"),
            ("popular.parquet", "truncated"),
        ],
    ),
)
def test_a_damaged_index_is_refused_before_anything_is_scored(simulated_copy: Lake, name: str, fault: str) -> None:
    chosen = simulated_copy.day(tables.ITEM_INDEXES, THIRD).where("is_chosen").first()
    assert chosen is not None
    part = chosen.backend if name == "embeddings.npy" else ITEMS
    file = Path(index_path(simulated_copy, THIRD, chosen.folder, part)) / name
    whole = file.read_bytes()
    file.unlink()
    if fault != "missing":
        file.write_bytes(whole[:-100] if fault == "truncated" else np.random.default_rng(0).bytes(len(whole)))
    before = simulated_copy.version(tables.CANDIDATES)
    with pytest.raises(IndexCorrupt, match=rf"{name} must"):
        run(simulated_copy, THIRD, ["--config", SMALL], score_users)
    assert simulated_copy.version(tables.CANDIDATES) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[scoring]\npopular_quota = 40\nexplore_quota = 11",
            r"scoring.neighbour_quota must be at most scoring.candidates_per_user \(50\), got 40 \+ 11 \+ 0",
        ),
        (
            '[scoring]\nsegment_feature = "age"',
            r"scoring.segment_feature must be a categorical feature of length 1 in features.user .*got 'age'",
        ),
        (
            '[scoring]\ncategory_feature = "genres"',
            r"category_feature and scoring.max_per_category must both be set or neither, got 'genres' and 0",
        ),
        (
            "[scoring]\nexplore_quota = 5\n[model]\nitem_id_dropout = 0\nitem_id_shrinkage = 0",
            "model.item_id_dropout or model.item_id_shrinkage must be above 0 where scoring.explore_quota is",
        ),
        ("[index]\nrecall_target = 1.5", "recall_target"),
        (
            '[index]\nbackend = "ivf"\nbuild_backends = ["exact"]',
            r"index.backend must be auto or one of index.build_backends \['exact'\], got ivf",
        ),
    ],
)
def test_invalid_configurations_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_config(*settings(tmp_path, text)[1::2])
