"""Scoring: embeddings equal to the trainer's, indexes that reach their recall, channels, exclusions, damaged inputs."""

from __future__ import annotations

import datetime as dt
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import (
    build_item_index,
    build_popular_items,
    build_user_embeddings,
    gate_candidates,
    publish_candidates,
    run_day,
    score_users,
    train_two_tower,
)
from jobs.config.loading import Config, load_config
from jobs.inference import scoring
from jobs.inference.references import ITEMS, index_path, model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving.publication_checks import NotPublishable
from model.artifacts.formats import IndexCorrupt, VersionMismatch
from model.artifacts.model_version import load_model
from model.data.item_tables import read_files
from model.features.tensors import tensors
from model.search.top_k import SPARE
from model.search.tuning import RecallNotReached
from tests.conftest import DAYS, SMALL
from tests.marks import slow_after
from tests.model.search.catalogues import brute_force, ragged

FIRST, SECOND, THIRD, FOURTH = DAYS
K = 50
MINE = "tests.extensions.my_index:SignBuckets"


def settings(folder: Path, text: str) -> list[str]:
    """The small configuration with other values."""
    import tomllib

    file = folder / "over.toml"
    own, more = tomllib.loads(Path(SMALL).read_text()), tomllib.loads(text)
    for section, values in more.items():
        own[section] = {**own.get(section, {}), **values}
    variants = own.pop("variants", {})
    del variants
    lines = []
    for section, values in own.items():
        lines += [f"[{section}]", *(f"{key} = {_toml(value)}" for key, value in values.items())]
    file.write_text("\n".join(lines) + "\n")
    return ["--config", str(file)]


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value).replace("'", '"')


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker makes the lists of seven users at a time."""
    monkeypatch.setattr(scoring, "LISTS_AT_ONCE", 7 * K)


def run(lake: Lake, ds: dt.date, config: list[str], *jobs: object) -> None:
    for job in jobs:
        job.main(["--lake", lake.uri, "--ds", str(ds), *config])  # type: ignore[attr-defined]


def candidate_rows(lake: Lake, ds: dt.date) -> DataFrame:
    """Rows (user_id, item_id, score, rank, source)."""
    rows = lake.day(tables.CANDIDATES, ds)
    return rows.select("user_id", F.explode("candidates").alias("one")).select("user_id", "one.*")


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
    for backend in ("exact", "annoy", "ivf", MINE):
        index = f'[index]\nbackend = "{backend}"\nbuild_backends = ["{backend}"]\nrecall_target = 1.0'
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
    for backend in ("annoy", "ivf"):
        same = lists[backend].merge(lists["exact"], on=["user_id", "item_id", "score"])
        assert len(same) > 0.99 * len(lists["exact"])


@pytest.mark.slow
def test_channels_fill_their_quotas(simulated_copy: Lake, config: Config, tmp_path: Path) -> None:
    """Popular items of the user's segment, items to explore without a click, and a cap on the first genre."""
    over = settings(
        tmp_path,
        '[scoring]\npopular_quota = 10\nsegment_feature = "gender"\nexplore_quota = 5\ncategory_feature = "genres"\nmax_per_category = 20',
    )
    probs = simulated_copy.day(tables.ITEM_SAMPLING_PROBS, THIRD).localCheckpoint()
    unclicked = F.when(F.col("item_index") % 10 == 0, 0).otherwise(F.col("clicks"))
    simulated_copy.overwrite(tables.ITEM_SAMPLING_PROBS, THIRD, probs.withColumn("clicks", unclicked.cast("long")))
    with pytest.raises(NoSuchDay, match=r"built without scoring\.explore_quota: run build_item_index again"):
        run(simulated_copy, THIRD, over, score_users)
    run(simulated_copy, THIRD, over, build_popular_items, build_user_embeddings, build_item_index, score_users)
    with pytest.raises(ValueError, match=r"scoring\.category_feature must be 'genres', .* got ''"):
        run(simulated_copy, THIRD, ["--config", SMALL], score_users)
    lists = candidate_rows(simulated_copy, THIRD)
    warm = lists.join(simulated_copy.day(tables.USER_HISTORIES, THIRD), "user_id", "left_semi")
    counts = warm.groupBy("user_id", "source").count().groupBy("source").agg(F.max("count"), F.min("count"))
    found = {row.source: tuple(row)[1:] for row in counts.collect()}
    assert found["explore"] == (5, 5)
    assert found["popular"][0] == 10
    assert lists.groupBy("user_id").agg(F.count_distinct("item_id").alias("n")).where(f"n != {K}").isEmpty()
    clicked = simulated_copy.day(tables.ITEM_SAMPLING_PROBS, THIRD).where("clicks > 0")
    explored = warm.where("source = 'explore'")
    assert explored.join(clicked, "item_id", "left_semi").isEmpty()
    assert explored.select("item_id").distinct().count() > 5
    segments = simulated_copy.day(tables.USER_EMBEDDINGS, THIRD).select("user_id", "segment")
    popular = simulated_copy.day(tables.POPULAR_ITEMS, THIRD).select("segment", "item_id", "rank")
    of_segment = (
        warm.where("source = 'popular'").join(segments, "user_id").join(popular, ["segment", "item_id"], "left")
    )
    assert of_segment.where("rank is null").isEmpty()
    assert (
        popular.select("segment").distinct().count()
        == 1 + segments.select("segment").where("segment > 1").distinct().count()
        > 2
    )
    genres = simulated_copy.day(tables.item_snapshot(config), THIRD).select(
        "item_id", F.col("genres")[0].alias("genre")
    )
    assert lists.join(genres, "item_id").groupBy("user_id", "genre").count().where("count > 20").isEmpty()


def test_a_blocked_item_is_shown_to_nobody(simulated_copy: Lake, tmp_path: Path) -> None:
    shown = candidate_rows(simulated_copy, THIRD).groupBy("item_id").count().orderBy(F.desc("count")).limit(3).collect()
    ids = [row.item_id for row in shown]
    blocklist = tmp_path / "blocked items.txt"
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    with pytest.raises(ValueError, match=r"exclusions\.blocklist must be a text file, got .*, which does not exist"):
        run(simulated_copy, THIRD, over, build_item_index)
    hidden = blocklist.with_name("_blocked")  # Spark would read it as an empty file
    hidden.write_text(ids[0])
    with pytest.raises(
        ValueError, match=r"must be a file whose name does not begin with '_' or '\.' .* got \S*_blocked"
    ):
        run(simulated_copy, THIRD, settings(tmp_path, f'[exclusions]\nblocklist = "{hidden}"'), build_item_index)
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    blocklist.write_text(f"{ids[0]}\n\n {ids[1]} \nnever-heard-of\n")
    version = simulated_copy.version(tables.PUBLICATIONS)
    with pytest.raises(NotPublishable, match="must have no item of the blocklist, got 2"):
        run(simulated_copy, THIRD, over, publish_candidates)
    assert simulated_copy.version(tables.PUBLICATIONS) == version
    run(
        simulated_copy,
        THIRD,
        over,
        build_popular_items,
        build_item_index,
        score_users,
        gate_candidates,
        publish_candidates,
    )
    left = {row.item_id for row in candidate_rows(simulated_copy, THIRD).select("item_id").distinct().collect()}
    assert not left & set(ids[:2])
    assert ids[2] in left


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
    gone = before[changed.user_id].candidates[0].item_id
    run(simulated_copy, THIRD, over, build_user_embeddings, score_users)
    after = {row.user_id: row for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    assert {user for user in after if after[user].scored_at != before[user].scored_at} == {changed.user_id}
    assert {user for user in after if after[user].candidates != before[user].candidates} == {changed.user_id}
    blocklist = tmp_path / "blocked.txt"
    blocklist.write_text(gone)
    over = settings(tmp_path, f'[scoring]\nchanged_users_only = true\n[exclusions]\nblocklist = "{blocklist}"')
    run(simulated_copy, THIRD, over, build_popular_items, build_item_index, score_users)
    again = {row.user_id: row for row in simulated_copy.day(tables.CANDIDATES, THIRD).collect()}
    held = {user for user, row in before.items() if gone in [one.item_id for one in row.candidates]}
    assert 1 < len(held) < len(before)
    assert {user for user in again if again[user].scored_at != before[user].scored_at} == held | {changed.user_id}


@pytest.mark.slow
def test_a_model_serves_the_days_between(simulated_copy: Lake, tmp_path: Path) -> None:
    """The third day's tables stand in for the fourth's, which do not matter for the choice of the model."""
    over = settings(tmp_path, "[training]\nretrain_every_days = 2")
    simulated_copy.overwrite(tables.RECONCILIATION, FOURTH, simulated_copy.day(tables.RECONCILIATION, THIRD))
    run(simulated_copy, THIRD, over, train_two_tower)  # of this configuration
    version = model_version(simulated_copy, THIRD)
    run(simulated_copy, FOURTH, over, train_two_tower)
    row = simulated_copy.day(tables.MODEL_VERSIONS, FOURTH).first()
    assert row is not None
    assert (row.model_version, row.trained_on) == (version, THIRD)


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
            r"popular_quota \+ scoring.explore_quota must be at most scoring.candidates_per_user \(50\), got 40 \+ 11",
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
            "[scoring]\nexplore_quota = 5\n[model]\nitem_id_dropout = 0",
            "model.item_id_dropout must be above 0 where scoring.explore_quota is",
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
        load_config(settings(tmp_path, text)[1])


@pytest.mark.slow
def test_a_day_with_a_new_a_deleted_and_a_banned_item_and_a_new_user(
    simulated_copy: Lake, config: Config, tmp_path: Path
) -> None:
    lake, blocklist = simulated_copy, tmp_path / "banned.txt"
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    most_shown = (
        candidate_rows(lake, THIRD).groupBy("item_id").count().orderBy(F.desc("count"), "item_id").limit(2).collect()
    )
    deleted, banned = (row.item_id for row in most_shown)
    blocklist.write_text(f"{banned}\n")
    items, users = tables.items(config), tables.users(config)
    known = lake.read(items).where(F.col("item_id") == deleted).limit(1).localCheckpoint()
    new = known.withColumns({"item_id": F.lit("brand-new"), "available": F.lit(True)})
    gone = known.withColumn("available", F.lit(False))
    landed = lake.day(items, FOURTH).unionByName(new).unionByName(gone).withColumn("ds", F.lit(FOURTH))
    lake.overwrite(items, FOURTH, landed.localCheckpoint())
    stranger = lake.read(users).limit(1).withColumns({"user_id": F.lit("stranger"), "ds": F.lit(FOURTH)})
    lake.overwrite(users, FOURTH, lake.day(users, FOURTH).unionByName(stranger).localCheckpoint())
    run_day.main(["--lake", lake.uri, "--ds", str(FOURTH), *over])
    lists = candidate_rows(lake, FOURTH)
    assert lists.where(F.col("item_id").isin(deleted, banned)).isEmpty()
    own = lists.where("user_id = 'stranger'").collect()
    assert len(own) == K
    assert {row.source for row in own} == {"popular"}
    offered = {row.item_id: row.available for row in lake.day(tables.ITEM_EMBEDDINGS, FOURTH).collect()}
    assert (offered["brand-new"], offered[deleted], offered[banned]) == (True, False, False)
    coverage = lake.day(tables.EVALUATION, THIRD).where("metric = 'item_coverage' and channel = 'candidates'").first()
    assert coverage is not None
    assert 0 < coverage.value <= 1
