"""Which candidates pass the gate and which do not, and that the last publication stays."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest
from pyspark.sql import functions as F

from jobs import (
    build_item_index,
    build_user_embeddings,
    gate_candidates,
    publish_candidates,
    score_users,
    train_two_tower,
)
from jobs.config.loading import Config
from jobs.inference.references import model_path, model_row, model_version
from jobs.lake import tables
from jobs.lake.integrity.detect import TableDamaged
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from jobs.serving import read_candidates
from jobs.serving.gate_measurements import list_measurements, training_measurements
from jobs.serving.gate_rules import LIST_RULES, TRAINING_RULES, VectorMeasurements
from jobs.serving.publication_checks import NotPublishable
from jobs.serving.publications import is_readable, newest_versions
from jobs.serving.verdicts import ADVICE
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, _ = DAYS


def arguments(lake: Lake, ds: dt.date, config: str = SMALL) -> list[str]:
    return ["--lake", lake.uri, "--config", config, "--ds", str(ds)]


def measured(lake: Lake, ds: dt.date, **metrics: object) -> None:
    """Replace metrics of the day's model, as if its training had measured them."""
    file = Path(model_path(lake, model_version(lake, ds))) / "model.json"
    manifest = json.loads(file.read_text())
    manifest["metrics"] |= metrics
    file.write_text(json.dumps(manifest))


def test_every_rule_has_a_verdict_before_a_day_is_published(simulated: Lake) -> None:
    for day in (FIRST, SECOND, THIRD):
        rows = simulated.day(tables.GATE, day).collect()
        assert {row.rule for row in rows} == {*ADVICE}
        assert all(row.passed for row in rows)
        assert all(row.value is not None for row in rows if not row.rule.startswith("recall_"))


def test_a_worse_model_is_not_published_and_readers_keep_their_lists(
    simulated_copy: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    lake, before = simulated_copy, read_candidates(simulated_copy.uri)
    measured(lake, SECOND, validation={"recall@50": 0.5})
    measured(lake, THIRD, validation={"recall@10": 0.2, "recall@50": 0.3}, popularity={"recall@10": 0.2})
    publish_candidates.main(["--lake", lake.uri, "--rollback"])
    with pytest.raises(
        DayStopped, match=r"2026-03-01 is not published: recall_over_popularity must be at least 0\.22, got 0\.2"
    ) as stop:
        gate_candidates.main(arguments(lake, THIRD))
    assert stop.value.code == "gate"
    assert "recall_of_published must be at least 0.4, got 0.3, misses it by 0.1" in str(stop.value)
    assert "gate: FAILED recall_of_published" in capsys.readouterr().out
    with pytest.raises(
        NotPublishable, match="2026-03-01 failed rules of the gate: recall_of_published, recall_over_popularity"
    ):
        publish_candidates.main(arguments(lake, THIRD))
    after = read_candidates(lake.uri)
    assert not after.equals(before)
    assert set(after["model_version"]) == {model_version(lake, SECOND)}


def test_lists_that_the_gate_has_not_checked_are_not_published(simulated_copy: Lake) -> None:
    score_users.main([*arguments(simulated_copy, THIRD), "--scored-at", "2026-03-02T09:00:00Z"])
    with pytest.raises(NotPublishable, match="the gate has not checked these candidates of 2026-03-01"):
        publish_candidates.main(arguments(simulated_copy, THIRD))
    gate_candidates.main(arguments(simulated_copy, THIRD))
    publish_candidates.main(arguments(simulated_copy, THIRD))


@pytest.mark.slow
def test_lists_written_while_the_gate_runs_are_not_published(
    simulated_copy: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, measured_vectors = simulated_copy, gate_candidates.vector_measurements
    later = lake.day(tables.CANDIDATES, THIRD).withColumn("scored_at", F.current_timestamp()).localCheckpoint()

    def scored_again(*arguments: Any) -> VectorMeasurements:
        lake.overwrite(tables.CANDIDATES, THIRD, later)
        return measured_vectors(*arguments)

    monkeypatch.setattr(gate_candidates, "vector_measurements", scored_again)
    gate_candidates.main(arguments(lake, THIRD))
    with pytest.raises(NotPublishable, match="the gate has not checked these candidates of 2026-03-01"):
        publish_candidates.main(arguments(lake, THIRD))


def test_short_lists_equal_vectors_low_recall_and_lost_rows_fail_the_gate(simulated_copy: Lake) -> None:
    lake = simulated_copy
    lists = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    lake.overwrite(tables.CANDIDATES, THIRD, lists.withColumn("candidates", F.slice("candidates", 1, 3)))
    vectors = lake.day(tables.USER_EMBEDDINGS, THIRD).localCheckpoint()
    one = vectors.select("embedding").first()
    assert one is not None
    alike = vectors.withColumn("embedding", F.array(*(F.lit(number).cast("float") for number in one.embedding)))
    lake.overwrite(tables.USER_EMBEDDINGS, THIRD, alike)
    indexes = lake.day(tables.ITEM_INDEXES, THIRD).localCheckpoint()
    lake.overwrite(tables.ITEM_INDEXES, THIRD, indexes.withColumn("recall", F.lit(0.9)))
    models = lake.day(tables.MODEL_VERSIONS, THIRD).localCheckpoint()
    lake.overwrite(tables.MODEL_VERSIONS, THIRD, models.withColumn("training_rows", F.col("training_rows") - 7))
    with pytest.raises(DayStopped) as stop:
        gate_candidates.main(arguments(lake, THIRD))
    text = str(stop.value)
    assert "short_list_share must be at most 0.01, got 1" in text
    assert "user_mean_cosine must be at most 0.9, got 1" in text
    assert "index_recall must be at least 0.98, got 0.9" in text
    assert "training_rows_lost must be at most 0, got 7, misses it by 7" in text
    failed = lake.day(tables.GATE, THIRD).where("not passed").collect()
    assert {row.rule for row in failed} == {
        "short_list_share",
        "user_mean_cosine",
        "index_recall",
        "training_rows_lost",
    }


def failed_training_rules(lake: Lake, config: Config, ds: dt.date) -> list[str]:
    measured = training_measurements(lake, config, ds, model_row(lake, ds))
    return [verdict.rule for rule in TRAINING_RULES if not (verdict := rule(measured, config)).passed]


def test_recall_fails_the_gate_if_training_should_have_measured_it(simulated: Lake, config: Config) -> None:
    held_out = config.model_copy(update={"training": config.training.model_copy(update={"validation": "last_day"})})
    failed = {
        (day, asked.training.validation): failed_training_rules(simulated, asked, day)
        for day, asked in ((FIRST, held_out), (THIRD, held_out), (THIRD, config))
    }
    assert failed == {
        (FIRST, "last_day"): [],  # there is no day before it to learn from
        (THIRD, "last_day"): ["recall_over_popularity"],  # what is published was not measured either
        (THIRD, "none"): [],
    }


def test_lists_without_an_item_get_verdicts(simulated_copy: Lake, config: Config) -> None:
    lake = simulated_copy
    rows = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    lake.overwrite(tables.CANDIDATES, THIRD, rows.withColumn("candidates", F.slice("candidates", 1, 0)))
    measured = list_measurements(lake, config, THIRD, newest_versions(lake))
    assert not any(rule(measured, config).passed for rule in LIST_RULES)
    items = lake.day(tables.item_snapshot(config), THIRD).where("available")
    clicked = lake.day(tables.ITEM_SAMPLING_PROBS, THIRD).where("clicks > 0")
    never = items.join(clicked, "item_id", "left_anti").count()
    assert never > 0
    assert measured.never_clicked_share_of_items == pytest.approx(never / items.count())
    assert (measured.short_list_share, measured.is_any_possible) == (1, True)


@pytest.mark.slow
def test_a_model_of_shuffled_clicks_is_refused(simulated_copy: Lake, config: Config, tmp_path: Path) -> None:
    """Each example keeps its user and gets another example's item; towers trained on this are worse than popularity."""
    lake, table = simulated_copy, tables.training_examples(config)
    for number, day in enumerate((FIRST, SECOND, THIRD)):
        rows = lake.day(table, day).toPandas()
        rows[["item_id", "item_index"]] = rows[["item_id", "item_index"]].sample(frac=1, random_state=number).to_numpy()
        if day != THIRD:  # the held-out day is not shuffled
            lake.overwrite(table, day, lake.spark.createDataFrame(rows, table.schema))
    file = tmp_path / "held_out.toml"
    file.write_text(Path(SMALL).read_text().replace('validation = "none"', 'validation = "last_day"'))
    before = lake.read(tables.PUBLICATIONS).count()
    for job in (train_two_tower, build_user_embeddings, build_item_index, score_users):
        job.main(arguments(lake, THIRD, str(file)))
    with pytest.raises(DayStopped, match="recall_over_popularity"):
        gate_candidates.main(arguments(lake, THIRD, str(file)))
    with pytest.raises(NotPublishable, match="2026-03-01 failed rules of the gate"):
        publish_candidates.main(arguments(lake, THIRD, str(file)))
    assert lake.read(tables.PUBLICATIONS).count() == before


def test_a_rollback_is_a_publication_of_what_was_there(simulated_copy: Lake) -> None:
    lake = simulated_copy
    rows = lake.read(tables.PUBLICATIONS).orderBy("publication").collect()
    publish_candidates.main(["--lake", lake.uri, "--rollback"])
    publish_candidates.main(["--lake", lake.uri, "--rollback", "3"])
    newest = lake.read(tables.PUBLICATIONS).orderBy("publication").collect()
    assert newest[:3] == rows
    assert [(row.publication, row.follows, row.ds) for row in newest[3:]] == [(4, 3, SECOND), (5, 4, FIRST)]
    assert newest[3].candidates_version == rows[1].candidates_version
    assert set(read_candidates(lake.uri)["model_version"]) == {rows[0].model_version}


def test_a_rollback_to_removed_files_is_refused_and_lists_what_is_possible(simulated_copy: Lake) -> None:
    lake = simulated_copy
    first = lake.read(tables.PUBLICATIONS).where("publication = 1").first()
    assert first is not None
    files = lake.read(tables.CANDIDATES, version=first.candidates_version).where(F.col("ds") == first.ds).inputFiles()
    Path(urlparse(files[0]).path).unlink()
    with pytest.raises(
        NotPublishable,
        match=rf"cannot roll back 2 publications, its files have been removed; possible: 1 \({SECOND}\)$",
    ):
        publish_candidates.main(["--lake", lake.uri, "--rollback", "2"])
    with pytest.raises(NotPublishable, match=r"cannot roll back 9 publications, there is no such publication"):
        publish_candidates.main(["--lake", lake.uri, "--rollback", "9"])
    assert lake.read(tables.PUBLICATIONS).count() == 3


def test_a_publication_is_readable_only_if_every_pinned_file_exists_and_a_damaged_log_is_reported(
    simulated_copy: Lake,
) -> None:
    lake = simulated_copy
    first, second, _ = lake.read(tables.PUBLICATIONS).orderBy("publication").collect()
    vectors = lake.day(tables.USER_EMBEDDINGS, FIRST, version=first.user_embeddings_version).inputFiles()
    Path(urlparse(vectors[0]).path).unlink()
    assert not is_readable(lake, first)
    assert is_readable(lake, second)
    Path(lake.path("candidates", "_delta_log", f"{0:020}.json")).write_text('{"add":')
    with pytest.raises(TableDamaged, match=r"to restore it: python -m jobs\.repair_table"):
        publish_candidates.main(["--lake", lake.uri, "--rollback"])


def test_either_a_day_or_a_rollback_must_be_given(lake: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in ([], ["--ds", "2026-01-01", "--rollback"]):
        with pytest.raises(SystemExit):
            publish_candidates.main(["--lake", lake.uri, *wrong])
        assert "give either --ds or --rollback" in capsys.readouterr().err
