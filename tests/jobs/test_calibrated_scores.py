"""The scores of a day: those that the model's map gives, in the table and in look-ups, and new ones if it changes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs import build_item_index, build_user_embeddings, score_users, train_two_tower
from jobs.cli.clock import now
from jobs.config.loading import load_config
from jobs.inference.references import calibration_of, model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from model.artifacts.formats import MODEL
from tests.jobs.scoring_runs import THIRD, K, candidate_rows, run, settings

CALIBRATED = '[training]\nvalidation = "last_day"\nepochs = 1\n[index]\nbackend = "exact"\nbuild_backends = ["exact"]\n'
JOBS = (build_user_embeddings, score_users)


def publish(lake: Lake, version: str) -> None:
    """Point readers to the newest lists, whatever the gate says."""
    last = max(row.publication for row in lake.rows(tables.PUBLICATIONS))
    pinned = (tables.CANDIDATES, tables.ITEM_EMBEDDINGS, tables.USER_EMBEDDINGS)
    row = (last + 1, last, THIRD, version, *map(lake.version, pinned), 400, now())
    lake.insert(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema))


def by_hand(rows: pd.DataFrame, fitted: dict[str, object], is_cold: pd.Series) -> np.ndarray:
    """The score of each row of lists without quotas, from the calibration in the model's manifest."""
    logits = rows["channel_score"].astype(float) / fitted["temperature"]
    totals = np.log(np.exp(logits).groupby(rows["user_id"]).transform("sum"))
    cold = rows["user_id"].map(is_cold)
    shares = np.where(cold, np.log(rows["channel_score"].clip(lower=1e-38)), logits - totals)
    warm, new = (np.array(fitted["maps"][name]) for name in ("two_tower", "cold"))  # type: ignore[index]
    return np.exp(np.where(cold, np.interp(shares, *new.T), np.interp(shares, *warm.T)))


def test_scores_are_the_maps_of_the_model_and_change_with_it_alone(simulated_copy: Lake, tmp_path: Path) -> None:
    lake = simulated_copy
    over = settings(tmp_path, CALIBRATED + "[scoring]\nchanged_users_only = true")
    run(lake, THIRD, over, train_two_tower, build_user_embeddings, build_item_index, score_users)
    version = model_version(lake, THIRD)
    assert calibration_of(lake, load_config(*over[1::2]), version).is_fitted
    publish(lake, version)
    manifest = Path(model_path(lake, version)) / MODEL.manifest
    is_cold = (
        lake.day(tables.USER_EMBEDDINGS, THIRD).select("user_id", "is_cold").toPandas().set_index("user_id")["is_cold"]
    )
    first = read_candidates(lake.uri)
    assert first["user_id"].nunique() == 400
    assert is_cold.sum() > 5
    np.testing.assert_allclose(
        first["score"], by_hand(first, json.loads(manifest.read_text())["metrics"]["calibration"], is_cold), rtol=1e-3
    )
    order = ["user_id", "rank"]
    table = candidate_rows(lake, THIRD).toPandas().sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(table, first[table.columns].sort_values(order, ignore_index=True))
    run(lake, THIRD, over, *JOBS)
    scored_at = lake.day(tables.CANDIDATES, THIRD).select("user_id", "scored_at").toPandas()
    assert scored_at["scored_at"].nunique() == 1  # nothing has changed: all lists are those that are published
    values = json.loads(manifest.read_text())
    for points in values["metrics"]["calibration"]["maps"].values():
        points[:] = [[share, prob - 1] for share, prob in points]
    manifest.write_text(json.dumps(values))
    run(lake, THIRD, over, *JOBS)
    again = candidate_rows(lake, THIRD).toPandas().sort_values(order, ignore_index=True)
    np.testing.assert_allclose(again["score"], table["score"] / np.e, rtol=1e-3)
    assert again.drop(columns="score").equals(table.drop(columns="score"))


def test_a_model_without_a_calibration_gives_shares_and_says_so(
    simulated_copy: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = simulated_copy
    over = settings(tmp_path, '[scoring]\norder_by = "score"')
    run(lake, THIRD, over, score_users)
    assert 'training.validation is "none"; its scores are shares of the softmax' in capsys.readouterr().out
    rows = candidate_rows(lake, THIRD).toPandas().sort_values(["user_id", "rank"])
    warm = rows[rows["source"] == "two_tower"].groupby("user_id")["score"]
    np.testing.assert_allclose(warm.sum(), 1, rtol=1e-3)
    assert (warm.apply(lambda scores: (np.diff(scores) <= 0).all())).all()
    assert warm.count().max() == K
    cold = rows[rows["source"] == "popular"]
    np.testing.assert_allclose(cold["score"], cold["channel_score"].clip(lower=1e-26), rtol=1e-3)
