"""A day of users with two interests: embeddings, lists, gate and report. Axes: U users, D dimensions, I items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jobs import run_day
from jobs.config.loading import load_config
from jobs.inference.references import model_version, required_manifest
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.files import report_path
from jobs.score_users import users_to_score
from jobs.serving.gate_measurements import vector_measurements
from jobs.serving.publications import newest_versions
from tests.conftest import DAYS
from tests.jobs.scoring_runs import K, candidate_rows, settings

FOURTH = DAYS[-1]
TWO = '[model]\nuser_encoder = "attention"\ninterests = 2\n[index]\nbackend = "exact"'


@pytest.mark.slow
def test_a_day_with_two_interests_a_user(simulated_copy: Lake, tmp_path: Path) -> None:
    lake, config = simulated_copy, settings(tmp_path, TWO)
    run_day.main(["--lake", lake.uri, *config, "--ds", str(FOURTH)])
    version = model_version(lake, FOURTH)
    assert required_manifest(lake, version)["spec"]["interests"] == 2

    items = lake.day(tables.ITEM_EMBEDDINGS, FOURTH).where("available").toPandas()
    items = items.sort_values("item_index", ignore_index=True)
    vectors = np.stack(items["embedding"]).astype(np.float64)  # [I, D]
    users = users_to_score(lake, FOURTH, version).where("not is_cold").toPandas()
    queries = np.stack(users["embedding"]).astype(np.float64).reshape(len(users), 2, -1)  # [U, 2, D]
    np.testing.assert_allclose(np.linalg.norm(queries, axis=2), 1, atol=1e-5)
    by_interest = np.einsum("uqd,id->uqi", queries, vectors).astype(np.float32)
    best = by_interest.max(axis=1)  # [U, I]
    lists = (
        candidate_rows(lake, FOURTH).toPandas().sort_values(["user_id", "rank"]).groupby("user_id")["item_id"].agg(list)
    )
    used = set()
    for user, excluded in enumerate(users["excluded"]):
        allowed = np.flatnonzero(~items["item_index"].isin(excluded))
        ranked = allowed[np.argsort(-best[user, allowed], kind="stable")][:K]
        assert lists[users["user_id"][user]] == items["item_id"][ranked].tolist()
        used.update(by_interest[user][:, ranked].argmax(axis=0).tolist())
    assert used == {0, 1}

    everyone = lake.day(tables.USER_EMBEDDINGS, FOURTH).toPandas()["embedding"]
    measured = vector_measurements(lake, load_config(*config[1::2]), FOURTH, newest_versions(lake))
    means = np.stack(everyone).mean(axis=0).reshape(2, -1)  # [2, D]
    assert measured.user_mean_cosine == pytest.approx((means**2).sum(axis=1).max(), abs=1e-5)
    assert "interests per user" in Path(report_path(lake.uri, FOURTH)).read_text("utf-8")
