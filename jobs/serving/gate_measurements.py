"""Measurements of a day's model, lists and vectors, which the rules of the gate compare with their bounds."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.eligibility import eligible_items, short_lists
from jobs.inference.item_slices import item_slices
from jobs.inference.references import model_version, required_manifest
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.queries import query
from jobs.lake.snapshots import Snapshot
from jobs.serving.gate_rules import LastPass, ListMeasurements, TrainingMeasurements, VectorMeasurements
from jobs.serving.publications import last_publication

MAX_SAMPLED_VECTORS = 100_000  # a mean cosine is computed from about one to two times this many vectors


def training_measurements(lake: Lake, config: Config, ds: dt.date, model: Row) -> TrainingMeasurements:
    """Measurements of the day's model; `model` is its row of model_versions."""
    metrics = required_manifest(lake, model.model_version)["metrics"]
    validation, popularity = metrics["validation"] or {}, metrics.get("popularity") or {}
    shorter, longer = (f"recall@{k}" for k in config.held_out_cutoffs)
    window = _training_window(lake, config, model)
    can_hold_out = any(day < model.trained_on for day in window.days())
    days = config.log.examples_window_days
    newest = lake.latest_day_before(tables.training_examples(config), ds + dt.timedelta(days=1), days)
    assert newest is not None  # the model was trained on examples of these days
    return TrainingMeasurements(
        clicks=int(validation["rows"]) if "rows" in validation else None,
        recall_at_shorter=validation.get(shorter),
        recall_at_longer=validation.get(longer),
        popularity_recall_at_shorter=popularity.get(shorter),
        published_recall_at_longer=(_published_metrics(lake, ds).get("validation") or {}).get(longer),
        last_pass=last_pass_of(metrics.get("last_pass")),
        must_hold_out=config.training.validation == "last_day" and can_hold_out,
        lost_rows=abs(window.rows - model.training_rows),
        input_age_days=(ds - newest).days,
        model_age_days=(ds - model.trained_on).days,
    )


def last_pass_of(measured: Mapping[str, Any] | None) -> LastPass | None:
    """The part `last_pass` of a model's metrics, which models of older versions lack."""
    if measured is None:
        return None
    metric = measured["compared"]
    before, after = (measured[name].get(metric) for name in ("before", "after"))
    error = measured["change"].get(metric, {}).get("standard_error")
    return LastPass(before, after, math.inf if error is None else error, int(measured["rows"]))


def _training_window(lake: Lake, config: Config, model: Row) -> Snapshot:
    """The model's training window, at the version of the table that training read."""
    table, days = tables.training_examples(config), config.log.examples_window_days
    window = lake.days_of(table, model.trained_on, days, model.training_examples_version)
    assert window is not None  # training has read it
    return window


def _published_metrics(lake: Lake, ds: dt.date) -> Mapping[str, Any]:
    """The metrics of the model last published for a day before `ds`; empty if there is none."""
    last = last_publication(lake, lambda row: row.ds < ds)
    metrics: Mapping[str, Any] = required_manifest(lake, last.model_version)["metrics"] if last is not None else {}
    return metrics


def list_measurements(lake: Lake, config: Config, ds: dt.date, versions: Mapping[str, int]) -> ListMeasurements:
    """Measurements of the day's lists at `versions` (`publications.newest_versions`).

    Of all users' lists, also where `evaluation.sample_share` measures those of a sample.
    """
    k, version = config.scoring.candidates_per_user, versions["candidates_version"]
    rows = lake.required_day(tables.CANDIDATES, ds, version=version)
    items = {"item_slices": item_slices(lake, config, ds), "item_snapshot": eligible_items(lake, config, ds)}
    frames = {"lists": rows.select("user_id", F.col("candidates.item_id").alias("item_ids")), **items}
    metrics = query(lake.spark, "evaluation/list_metrics", frames, k=k).collect()  # five rows
    values = {(row.metric, row.slice): row.value for row in metrics}
    below, none = F.expr("count_if(length < possible)"), F.expr("count_if(possible = 0)")
    short = _only_row(short_lists(lake, config, ds, rows).agg(below.alias("below"), none.alias("none")))
    users = lake.row_count(tables.CANDIDATES, ds, version=version)
    return ListMeasurements(
        coverage=values.get(("item_coverage", "all")),
        never_clicked_share=values.get(("never_clicked_share", "all")),
        never_clicked_share_of_items=_only_row(query(lake.spark, "gate/catalogue", items))[0],
        head_share=values.get(("list_share", "head")),
        short_list_share=short.below / users,
        is_any_possible=short.none < users,
    )


def vector_measurements(lake: Lake, config: Config, ds: dt.date, versions: Mapping[str, int]) -> VectorMeasurements:
    """Measurements of the day's embeddings at `versions` and of the index that scoring searched."""
    index = next(row for row in lake.rows(tables.ITEM_INDEXES, ds) if row.is_chosen)
    users = lake.required_day(tables.USER_EMBEDDINGS, ds, version=versions["user_embeddings_version"])
    items = lake.required_day(tables.ITEM_EMBEDDINGS, ds, version=versions["item_embeddings_version"])
    interests = required_manifest(lake, model_version(lake, ds))["spec"].get("interests", 1)
    return VectorMeasurements(
        user_mean_cosine=_mean_cosine(
            users.select(F.col("user_id").alias("id"), "embedding"),
            lake.row_count(tables.USER_EMBEDDINGS, ds, version=versions["user_embeddings_version"]),
            interests,
        ),
        item_mean_cosine=_mean_cosine(
            items.select(F.col("item_id").alias("id"), "embedding"),
            lake.row_count(tables.ITEM_EMBEDDINGS, ds, version=versions["item_embeddings_version"]),
        ),
        index_recall=index.recall,
    )


def _mean_cosine(vectors: DataFrame, rows: int, interests: int = 1) -> float | None:
    """The mean cosine of pairs in a sample of vectors. vectors: `rows` rows (id, embedding).

    Of several interests in an embedding, the same ones of two users are compared, and the largest mean is returned.
    """
    one_in = max(rows // MAX_SAMPLED_VECTORS, 1)
    cosine: float | None = _only_row(
        query(vectors.sparkSession, "gate/mean_cosine", {"vectors": vectors}, one_in=one_in, interests=interests)
    )[0]
    return cosine


def _only_row(rows: DataFrame) -> Row:
    row = rows.first()
    assert row is not None  # an aggregate, or a row that an earlier job of the day wrote
    return row
