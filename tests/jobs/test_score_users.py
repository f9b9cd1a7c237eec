"""Scoring: embeddings equal to the trainer's, indexes that reach their recall, lists equal to the exact ones."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F

from jobs import (
    build_item_index,
    build_popular_items,
    build_user_embeddings,
    publish_candidates,
    score_users,
    train_two_tower,
)
from jobs.config.loading import Config, load_config
from jobs.inference.references import calibration_of, model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.score_users import warn_if_uncalibrated
from jobs.workers import scoring
from model.artifacts.model_version import load_model
from model.data.parquet_files import read_files
from model.features.tensors import tensors
from model.search.sharded_index import IN_SHARDS
from model.search.top_k import SPARE
from model.search.tuning import RecallNotReached
from tests.conftest import SMALL
from tests.jobs.scoring_runs import FIRST, FOURTH, SECOND, THIRD, K, candidate_rows, run, settings
from tests.model.search.catalogues import brute_force, ragged
from tests.no_session import no_session

MINE = "tests.extensions.my_index:SignBuckets"


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker makes the lists of seven users at a time."""
    monkeypatch.setattr(scoring, "CANDIDATES_AT_ONCE", 7 * K)


def test_a_users_embedding_is_the_trainers(simulated_copy: Lake, config: Config) -> None:
    """A user's first example of a day gives the embedding with which the user was scored the evening before."""
    compared, simulated = 0, simulated_copy
    for before, after in itertools.pairwise((FIRST, SECOND, THIRD)):
        run(
            simulated, before, ["--config", SMALL], build_user_embeddings
        )  # late clicks have changed the histories since
        towers, _ = load_model(Path(model_path(simulated, model_version(simulated, before))))
        examples = read_files(simulated.pinned(tables.training_examples(config), after, 1).files).to_pandas()
        first = examples.sort_values("impressed_at").drop_duplicates("user_id")
        scored = simulated.day(tables.USER_EMBEDDINGS, before).toPandas()
        known = first.merge(scored[["user_id", "embedding"]], on="user_id")
        with torch.no_grad():
            columns = {name: known[name].to_numpy() for name in known.columns}
            learnt = towers.user(tensors(columns, towers.spec.user)).numpy()
        np.testing.assert_allclose(np.stack(known["embedding"]), learnt, atol=1e-6)
        assert len(np.unique(np.stack(known["history"]), axis=0)) > 50
        compared += len(known)
    assert compared > 300


def test_every_index_reaches_the_recall_and_the_fastest_is_chosen(simulated: Lake, config: Config) -> None:
    rows = simulated.day(tables.ITEM_INDEXES, THIRD).collect()
    assert {row.backend for row in rows} == {"exact", "annoy", "ivf"}
    assert all(row.recall >= config.index.recall_target and row.sampled_users == 100 and row.k == K for row in rows)
    assert all((row.search_budget is None) == (row.backend == "exact") for row in rows)
    chosen = [row for row in rows if row.is_chosen]
    assert chosen == [max(rows, key=lambda row: row.users_per_second)]


@pytest.mark.slow
def test_a_recall_out_of_reach_stops_before_scoring(
    simulated_copy: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.search.ivf_index.IvfIndex.max_search_budget", property(lambda _: 1))
    index = '[index]\nbackend = "{}"\nbuild_backends = ["exact", "ivf"]\nrecall_target = 1.0\nivf_lists = 100'
    before = simulated_copy.read(tables.ITEM_INDEXES).collect()
    with pytest.raises(RecallNotReached, match=r"index ivf finds at most 0\.\d+ of the exact lists \(probes 1\)"):
        run(simulated_copy, THIRD, settings(tmp_path, index.format("ivf")), build_item_index)
    assert simulated_copy.read(tables.ITEM_INDEXES).collect() == before
    run(simulated_copy, THIRD, settings(tmp_path, index.format("auto")), build_item_index)
    assert [row.backend for row in simulated_copy.day(tables.ITEM_INDEXES, THIRD).collect()] == ["exact"]


@pytest.mark.usefixtures("few_at_once")
def test_every_backend_gives_the_lists_of_the_exact_one(simulated_copy: Lake, tmp_path: Path) -> None:
    lists = {}
    for backend in ("exact", "annoy", "ivf", "ivf in shards", MINE):
        own = backend.removesuffix(IN_SHARDS)
        index = f'[index]\nbackend = "{own}"\nbuild_backends = ["{own}"]\nrecall_target = 1.0'
        index += "\nshard_items = 80" if own != backend else ""
        run(simulated_copy, THIRD, settings(tmp_path, index), build_item_index, score_users)
        assert simulated_copy.day(tables.ITEM_INDEXES, THIRD).where("is_chosen").count() == 1
        lists[backend] = (
            candidate_rows(simulated_copy, THIRD).toPandas().sort_values(["user_id", "rank"], ignore_index=True)
        )
    users = score_users.users_to_score(simulated_copy, THIRD, model_version(simulated_copy, THIRD))
    users = users.where("not is_cold").toPandas()
    items = simulated_copy.day(tables.ITEM_EMBEDDINGS, THIRD).where("available").toPandas()
    vectors, indices, queries = (
        np.stack(items["embedding"]),
        items["item_index"].to_numpy(),
        np.stack(users["embedding"]),
    )
    best, _ = brute_force(vectors, indices, queries, K, ragged([list(row) for row in users["excluded"]]))
    item_ids = items.set_index("item_index")["item_id"]
    found = lists["exact"].groupby("user_id")["item_id"].agg(list)
    assert [found[user] for user in users["user_id"]] == [item_ids[row].tolist() for row in best]
    assert users["excluded"].map(len).max() > SPARE
    assert lists[MINE].equals(lists["exact"])
    for backend in ("annoy", "ivf", "ivf in shards"):
        same = lists[backend].merge(lists["exact"], on=["user_id", "item_id", "score"])
        assert len(same) > 0.99 * len(lists["exact"])


@pytest.mark.slow
@pytest.mark.usefixtures("few_at_once")
def test_only_changed_users_are_scored_again(simulated_copy: Lake, config: Config, tmp_path: Path) -> None:
    over = settings(tmp_path, "[scoring]\nchanged_users_only = true")
    run(simulated_copy, THIRD, over, build_user_embeddings, score_users, publish_candidates)
    before = {row.user_id: row for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    histories = simulated_copy.day(tables.USER_HISTORIES, THIRD).localCheckpoint()
    changed = histories.orderBy("user_id").first()
    assert changed is not None
    one = F.when(F.col("user_id") == changed.user_id, F.slice("history", 1, 1)).otherwise(F.col("history"))
    simulated_copy.overwrite(tables.USER_HISTORIES, THIRD, histories.withColumn("history", one))
    blocked, aged = (one.item_id for one in before[changed.user_id].candidates[:2])
    run(simulated_copy, THIRD, over, build_user_embeddings, score_users)
    after = {row.user_id: row for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    assert {user for user in after if after[user].scored_at != before[user].scored_at} == {changed.user_id}
    assert {user for user in after if after[user].candidates != before[user].candidates} == {changed.user_id}
    snapshot = tables.item_snapshot(config)
    items = simulated_copy.day(snapshot, THIRD).localCheckpoint()
    published = F.when(F.col("item_id") == aged, F.lit("2020-01-01").cast("timestamp")).otherwise(F.col("published_at"))
    simulated_copy.overwrite(snapshot, THIRD, items.withColumn("published_at", published))
    blocklist = tmp_path / "blocked.txt"
    blocklist.write_text(blocked)
    limits = f'changed_users_only = true\nmax_item_age_days = 1000\n[exclusions]\nblocklist = "{blocklist}"'
    over = settings(tmp_path, f"[scoring]\n{limits}")
    run(simulated_copy, THIRD, over, build_popular_items, build_item_index, score_users)
    again = {row.user_id: row for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    shown = {user: {one.item_id for one in row.candidates} for user, row in before.items()}
    with_blocked, with_aged = ({user for user in shown if item in shown[user]} for item in (blocked, aged))
    assert with_blocked - with_aged
    assert with_aged - with_blocked
    held = with_blocked | with_aged
    assert len(held) < len(before)
    assert {user for user in again if again[user].scored_at != before[user].scored_at} == held | {changed.user_id}


@pytest.mark.slow
def test_a_model_serves_the_days_between(simulated_copy: Lake, tmp_path: Path) -> None:
    """The fourth day uses the third day's reconciliation: it does not matter for the choice of the model."""
    over = settings(tmp_path, "[training]\nretrain_every_days = 2")
    simulated_copy.overwrite(tables.RECONCILIATION, FOURTH, simulated_copy.day(tables.RECONCILIATION, THIRD))
    run(simulated_copy, THIRD, over, train_two_tower)  # of this configuration
    version = model_version(simulated_copy, THIRD)
    run(simulated_copy, FOURTH, over, train_two_tower)
    row = simulated_copy.day(tables.MODEL_VERSIONS, FOURTH).first()
    assert row is not None
    assert (row.model_version, row.trained_on) == (version, THIRD)


@pytest.mark.parametrize(
    ("validation", "metrics", "reason"),
    [
        ("last_day", {"validation": None}, "had no day before its own.*: scores are calibrated from the second day on"),
        ("none", {"validation": None}, 'because training.validation is "none"'),
        ("last_day", {"validation": {"recall@10": 0.1}}, "was trained by an older version: train it again"),
    ],
)
def test_why_scores_are_not_calibrated_is_said(
    validation: str, metrics: dict[str, object], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "m").mkdir(parents=True)
    (tmp_path / "models" / "m" / "model.json").write_text(json.dumps({"metrics": metrics}))
    own = tmp_path / "own.toml"
    own.write_text(f'[training]\nvalidation = "{validation}"\n', "utf-8")
    lake, config = Lake(no_session, str(tmp_path)), load_config(own)
    ref = Mock(version="m", calibration=calibration_of(lake, config, "m"))
    warn_if_uncalibrated(lake, config, ref)
    assert re.search(f"model m .*{reason}; its scores are shares", capsys.readouterr().out)
