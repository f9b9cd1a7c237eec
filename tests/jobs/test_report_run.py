"""The page shows what is in the tables, needs no other file, and can be opened by a browser."""

from __future__ import annotations

import datetime as dt
import re
import shutil
from pathlib import Path

import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F

from jobs import report_run
from jobs.config.loading import Config, load_config
from jobs.inference.references import model_path, model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.files import report_path
from jobs.report.sections.training import estimator_section, manifest
from tests.conftest import DAYS, SMALL
from tests.jobs.report.pages import Page
from tests.no_session import no_session

FIRST, SECOND, THIRD, FOURTH = DAYS
HOSTILE = "<script>alert('x')</script>\"&"


def read(lake: Lake, ds: dt.date) -> str:
    return Path(report_path(lake.uri, ds)).read_text("utf-8")


def measured(lake: Lake, ds: dt.date, channel: str, name: str, k: int) -> Row:
    named = (F.col("channel") == channel) & (F.col("metric") == name) & (F.col("k") == k) & (F.col("slice") == "all")
    (row,) = lake.day(tables.EVALUATION, ds).where(named).collect()
    return row


@pytest.fixture(scope="module")
def text(simulated: Lake) -> str:
    """The page that the third day's run left."""
    return read(simulated, THIRD)


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_two_evaluations_are_a_difference_and_no_line(text: str) -> None:
    assert "over the days" not in text
    assert f"since {FIRST}" in text


def test_the_correction_is_spelled_out(page: Page) -> None:
    texts = [found for _, found in page.texts]
    assert texts[texts.index("correction") + 1] == (
        "log expected counts are subtracted from all logits (logq, as in in_batch)"
    )


def test_a_day_without_a_gate_says_what_to_do(simulated: Lake, config: Config) -> None:
    texts = [found for _, found in Page(report_run.report(simulated, config, FOURTH)).texts]
    place = texts.index("not published")
    assert texts[place + 1] == "The gate was not run for this day."
    assert f"batch-recall run-day --lake LAKE --config FILE --ds {FOURTH}" in texts


def test_a_failed_rule_is_beside_the_status(simulated_copy: Lake, config: Config) -> None:
    passed = simulated_copy.day(tables.GATE, THIRD)
    rows = [row.asDict() | {"ds": FOURTH} for row in passed.collect()]
    for row in rows:
        if row["rule"] == "head_share":
            row |= {"passed": False, "value": 0.99, "max_value": 0.98}
    simulated_copy.overwrite(tables.GATE, FOURTH, simulated_copy.spark.createDataFrame(rows, passed.schema))
    texts = [found for _, found in Page(report_run.report(simulated_copy, config, FOURTH)).texts]
    place = texts.index("not published")
    assert texts[place + 1] == "head_share must be at most 0.98, got 0.99."
    assert texts[place + 3] == f"batch-recall run-day --lake LAKE --config FILE --ds {FOURTH} --from train_two_tower"


def test_metrics_are_compared_with_the_day_before_and_with_popularity(simulated: Lake, page: Page) -> None:
    """On the third day the second day's lists have been measured, and the first day's before them."""
    for name, label in (("recall", "Recall@50"), ("ndcg", "NDCG@20"), ("mrr", "MRR@10")):
        k = int(label.split("@")[1])
        now, before = (measured(simulated, day, "candidates", name, k) for day in (SECOND, FIRST))
        assert now.interval_low < now.value < now.interval_high
        assert page.row(label)[1:] == [
            f"{now.value:.3f}",
            f"{now.interval_low:.3f} to {now.interval_high:.3f}",
            f"{now.value - before.value:+.3f}".replace("-", "−"),
            *(f"{measured(simulated, SECOND, channel, name, k).value:.3f}" for channel in ("popularity", "oracle")),
        ]
    assert page.key_figure("Recall@50")[0] == page.row("Recall@50")[1]
    assert page.key_figure("Recall@50")[-1].startswith(f"lists of {SECOND}, clicks of {THIRD}; popularity ")
    assert ("p", f"The lists of {SECOND}, evaluated on the clicks of {THIRD}.") in page.texts


def test_coverage_at_the_top_is_that_of_the_days_own_lists(simulated: Lake, page: Page) -> None:
    values = {row.rule: row.value for row in simulated.rows(tables.GATE, THIRD)}
    for rule, name in (("coverage", "Item coverage"), ("never_clicked_share", "Never clicked")):
        figure = page.key_figure(name)
        assert (figure[0], figure[-1]) == (f"{values[rule]:.3f}", f"lists of {THIRD}")
        assert page.row(rule)[2] == f"{values[rule]:.4g}"


def test_the_model_version_loss_and_indexes_are_on_the_page(simulated: Lake, text: str, page: Page) -> None:
    model = manifest(simulated, THIRD)
    assert model is not None
    assert ("code", model_version(simulated, THIRD)) in page.texts
    assert page.key_figure("Loss of the last pass")[0] == f"{model['metrics']['final_loss']:.3f}"
    (curve,) = re.findall(r'aria-label="Loss by step">.*?</svg>', text, re.DOTALL)
    (points,) = re.findall(r'<polyline class="line c1" points="([^"]*)"', curve)
    assert len(points.split()) == len(model["metrics"]["loss_curve"])
    for row in simulated.day(tables.ITEM_INDEXES, THIRD).collect():
        assert page.row(row.backend)[1:4] == [
            "searched" if row.is_chosen else "",
            f"{row['items']:,}",
            f"{row.recall:.4f}",
        ]


def test_the_publication_status_is_on_the_page(simulated: Lake, text: str, page: Page) -> None:
    assert ("span", "published") in page.texts
    assert "Publication 3, 400 users, " in text
    early = report_run.report(simulated, load_config(SMALL), FIRST)
    assert "published, superseded" in early
    assert f"Readers follow publication 3, of {THIRD}." in early
    assert "not published" in report_run.report(simulated, load_config(SMALL), FOURTH)


def test_no_spark_session_is_needed(simulated_copy: Lake, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    with pytest.raises(RuntimeError, match="no JVM"):
        _ = Lake(no_session, simulated_copy.uri).spark  # the control
    page = Path(report_path(simulated_copy.uri, THIRD))
    page.write_text("an older page", "utf-8")
    report_run.main(["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(THIRD)])
    assert page.read_text("utf-8") == text
    assert [path.name for path in page.parent.iterdir()] == [page.name]


def test_users_have_the_items_of_their_list_and_history(simulated: Lake, page: Page) -> None:
    texts = [text for _, text in page.texts]
    users = [text for element, text in page.texts if element == "h3"]
    assert len(users) == 8
    names = {row.item_index: row.item_id for row in simulated.day(tables.ITEM_SAMPLING_PROBS, THIRD).collect()}
    lists = simulated.day(tables.CANDIDATES, THIRD).where(F.col("user_id").isin(users))
    histories = {row.user_id: row.history for row in simulated.day(tables.USER_HISTORIES, THIRD).collect()}
    for row in lists.collect():
        own = texts[texts.index(row.user_id) :]
        candidates = [text for text in own[own.index("candidates") + 1 :] if not text.startswith("like ")]
        assert candidates[0:20:2] == [item.item_id for item in row.candidates[:10]]
        clicked = [names[index] for index in reversed(histories.get(row.user_id, [])) if index][:10]
        assert own[own.index("clicked") + 1 : own.index("candidates")] == (clicked or ["no clicks yet"])


def test_the_page_refers_to_no_other_file(text: str, page: Page) -> None:
    for reference in ("http://", "https://", "src=", "url(", "@import", "file:"):
        assert reference not in text
    assert page.tags.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "base", "form"})
    assert sorted(set(re.findall(r'href="#([a-z]+)"', text))) == sorted(page.ids)
    assert len(page.ids) == len(report_run.SECTIONS) == 9
    assert page.ids[-1] == "missing", "no frequencies were estimated, which is named at the end"


def test_the_same_lake_gives_the_same_page(simulated_copy: Lake, text: str) -> None:
    assert report_run.main(["--lake", simulated_copy.uri, "--config", SMALL, "--ds", str(THIRD)]) == len(
        report_run.SECTIONS
    )
    assert read(simulated_copy, THIRD) == text
    left = {path.name for path in Path(simulated_copy.path("reports")).iterdir()}
    assert left == {"days", *(str(day) for day in (FIRST, SECOND, THIRD))}, "no draft"


def test_ids_are_hostile(simulated_copy: Lake, config: Config) -> None:
    lists = simulated_copy.day(tables.CANDIDATES, THIRD)
    named = F.transform("candidates", lambda item: item.withField("item_id", F.concat(F.lit(HOSTILE), item["item_id"])))
    ids = {"user_id": F.concat(F.lit(HOSTILE), "user_id"), "candidates": named, "model_version": F.lit(HOSTILE)}
    simulated_copy.overwrite(tables.CANDIDATES, THIRD, lists.withColumns(ids))
    model = simulated_copy.day(tables.MODEL_VERSIONS, THIRD).withColumn("model_version", F.lit("<b>bold</b>"))
    simulated_copy.overwrite(tables.MODEL_VERSIONS, THIRD, model)
    text = report_run.report(simulated_copy, config, THIRD)
    assert "<script" not in text
    assert "<b>" not in text
    page = Page(text)
    assert sum(found.startswith(HOSTILE) for element, found in page.texts if element == "h3") == 8
    assert sum(found.startswith(HOSTILE) for element, found in page.texts if element == "span") == 80


def test_missing_content_is_reported(lake: Lake, config: Config) -> None:
    text = report_run.report(lake, config, THIRD)
    page = Page(text)
    said = [found for element, found in page.texts if element == "dd"]
    for word in (
        f"reconciliation has no row for {THIRD}.",
        "No lists were evaluated yet: the lists of a day are evaluated on the clicks of later days.",
        f"There are no candidates of {THIRD}.",
        f"There is no model of {THIRD}.",
        f"item_indexes has no row for {THIRD}.",
    ):
        assert word in said
    assert page.row("interactions")[2] == "none"
    assert "not published" in text
    assert "<svg" not in text, "no chart without its data"
    assert page.ids == ["flow", "missing"], "no section without content"


def test_a_model_without_its_folder_is_reported(simulated_copy: Lake, config: Config) -> None:
    shutil.rmtree(model_path(simulated_copy, model_version(simulated_copy, THIRD)))
    assert f"There is no model.json of the model of {THIRD}." in report_run.report(simulated_copy, config, THIRD)


def test_the_first_day_has_no_comparison(simulated: Lake, config: Config) -> None:
    page = Page(report_run.report(simulated, config, FIRST))
    assert page.key_figure("Recall@50")[1] == "no day before"
    assert page.row("table") == ["table", "a row is", "rows", "written (UTC)", "since previous"]
    assert page.row("metric") == ["metric", "candidates", "95 % interval", "popularity", "oracle"]


@pytest.mark.slow
def test_drift_lists_the_items_with_the_largest_deviations(simulated_with_variant: Lake) -> None:
    """The report reads the variant whose frequencies are estimated as if it were the lake's main model."""
    config, lake = load_config(SMALL), simulated_with_variant
    beside = Lake(lake.spark, lake.uri, "everything")
    model = manifest(beside, THIRD)
    assert model is not None
    drift = model["metrics"]["estimator"]
    facts, worst = estimator_section(beside, config, THIRD).blocks
    assert ("total variation", f"{drift['total_variation']:.3f}") in facts.pairs  # type: ignore[union-attr]
    names = {row.item_index: row.item_id for row in beside.day(tables.ITEM_SAMPLING_PROBS, THIRD).collect()}
    assert [row[0].text for row in worst.rows] == [names[item["item_index"]] for item in drift["worst"]]  # type: ignore[union-attr]
    main = estimator_section(lake, config, THIRD).blocks[0]
    assert main.text == "No frequencies were estimated: training.frequency_source is counted."  # type: ignore[union-attr]
