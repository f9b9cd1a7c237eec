"""The training of the day's model: loss, validation, estimated item frequencies; and the indexes over its items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl
from pyspark.sql import Row

from jobs.config.loading import Config
from jobs.config.presets import PRESETS
from jobs.inference.references import model_manifest
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.curves import curves
from jobs.report.figures import NONE, count, decimal, duration, percent
from jobs.report.page import Block, Cell, Facts, Grid, Missing, Section
from jobs.tuning.adoption.records import described
from model.artifacts.formats import MODEL

CORRECTIONS = {
    "none": "nothing is subtracted from the logits",
    "logq": "log expected counts are subtracted from all logits",
    "logq_negatives": "log expected counts are subtracted from the logits of the negatives",
}


def model_of(lake: Lake, ds: dt.date) -> Row | None:
    """The day's row of model_versions; None if there is no model."""
    return next(iter(lake.rows(tables.MODEL_VERSIONS, ds)), None)


def manifest(lake: Lake, ds: dt.date) -> dict[str, Any] | None:
    """The model.json of the day's model version; None if there is no model or no such file."""
    row = model_of(lake, ds)
    return model_manifest(lake, row.model_version) if row else None


def no_model(lake: Lake, ds: dt.date) -> Missing:
    """A message that says whether the model or only its manifest is missing."""
    found = model_of(lake, ds) is not None
    return Missing(f"There is no {MODEL.manifest} of the model of {ds}." if found else f"There is no model of {ds}.")


def training_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: loss by step, recall by epoch, and facts of the training."""
    row, model = model_of(lake, ds), manifest(lake, ds)
    if row is None or model is None:
        return Section("training", "Training", "", [no_model(lake, ds)])
    metrics, settings = model["metrics"], model["configuration"]["training"]
    lead = "A two-tower model trained with sampled softmax."
    if row.trained_on != ds:
        every = settings["retrain_every_days"]
        lead += f" The model of {row.trained_on} is used again: training.retrain_every_days is {every}."
    ends = "The last part is one pass over the held-out last day." if metrics["validations"] else ""
    loss = curves("Loss by step", "step", "loss", {"loss": metrics["loss_curve"]}, "{:.2f}".format, note=ends)
    facts = [("settings", described(lake, ds)), *_facts(model)]
    return Section("training", "Training", lead, [*loss, *validation_curves(metrics["validations"]), Facts(facts)])


def validation_curves(epochs: list[Mapping[str, float]]) -> list[Block]:
    """The recall of each epoch on the held-out day, at the lengths at which training measured it."""
    if not epochs:
        return [
            Missing("No epoch was validated: training.validation is none, or there was no earlier day to train on.")
        ]
    names = sorted((name for name in epochs[0] if name.startswith("recall@")), key=_length, reverse=True)
    lines = {name: [(float(epoch), found[name]) for epoch, found in enumerate(epochs, 1)] for name in names}
    note = f"On {count(epochs[-1]['rows'])} examples, before training on them."
    return curves("Held-out last day by epoch", "epoch", "recall", lines, decimal, note=note)


def _length(metric: str) -> int:
    """The list length of recall@k."""
    return int(metric.partition("@")[2])


def _facts(model: Mapping[str, Any]) -> list[tuple[str, str]]:
    metrics, settings = model["metrics"], model["configuration"]["training"]
    facts = [
        ("negatives", settings["preset"]),
        ("correction", _correction(settings)),
        ("examples", count(metrics["training_rows"])),
        ("steps", count(metrics["steps"])),
        ("training time", duration(metrics["seconds"])),
        ("examples per second", count(metrics["rows_per_second"])),
        ("waiting for data", percent(metrics["waiting_share"])),
        ("mean loss of the last pass", decimal(metrics["final_loss"])),
        ("temperature", decimal(metrics["temperature"])),
        ("interests per user", count(model["spec"].get("interests", 1))),
    ]
    if last := metrics.get("last_pass"):
        facts.append(
            ("users left out of the last pass", f"{count(last['users'])}, {count(last['rows'])} clicks measured")
        )
        metric = last["compared"]
        found = (decimal(last[part].get(metric)) for part in ("before", "after", "popularity"))
        facts.append((f"their {metric}", "{} before, {} after it; popularity {}".format(*found)))
    bank = {
        "bank_drift": "drift of the bank (1 − cosine)",
        "bank_age": "age of the bank, steps",
        "bank_warm_at": "bank used from step",
    }
    facts += [(label, f"{metrics[key]:.4g}") for key, label in bank.items() if metrics.get(key) is not None]
    return facts


def _correction(settings: Mapping[str, Any]) -> str:
    """What is subtracted from the logits: as configured, or, for "preset", as the scheme of negatives has it."""
    preset, configured = settings["preset"], settings["correction"]
    used = PRESETS[preset].correction if configured == "preset" else configured
    return f"{CORRECTIONS[used]} ({used}{f', as in {preset}' if configured == 'preset' else ''})"


def estimator_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: how far the streaming estimate of item frequencies is from the counts."""
    model = manifest(lake, ds)
    title, lead = (
        "Estimated item frequencies",
        "How far the frequencies estimated from training batches are from the counted ones.",
    )
    if model is None:
        return Section("estimator", title, lead, [no_model(lake, ds)])
    drift = model["metrics"].get("estimator")
    if drift is None:
        frequency = model["configuration"]["training"]["frequency_source"]
        return Section(
            "estimator",
            title,
            lead,
            [Missing(f"No frequencies were estimated: training.frequency_source is {frequency}.")],
        )
    facts = [
        ("items", count(drift["items"])),
        ("updates", count(drift["updates"])),
        ("total variation", decimal(drift["total_variation"])),
        ("mean |ln(estimated / counted)|", decimal(drift["log_ratio"])),
    ]
    return Section("estimator", title, lead, [Facts(facts), _worst(lake, config, ds, drift["worst"])])


def _worst(lake: Lake, config: Config, ds: dt.date, worst: list[Mapping[str, Any]]) -> Grid:
    indices = [item["item_index"] for item in worst]  # a handful
    names: dict[int, str] = {}
    columns = ["item_index", "item_id"]
    for batch in lake.batches(tables.item_snapshot(config), ds, columns):
        names |= dict(batch.filter(pl.col("item_index").is_in(indices)).select(columns).iter_rows())
    rows = [
        [
            Cell(names.get(item["item_index"], f"index {item['item_index']}"), "code"),
            *(Cell(f"{item[key]:.2e}") for key in ("estimated", "counted")),
            Cell(f"{item['estimated'] / item['counted']:.2f}"),
        ]
        for item in worst
    ]
    return Grid(["largest deviations", "estimated share", "counted share", "ratio"], rows)


def index_section(lake: Lake, config: Config, ds: dt.date) -> Section:
    """Section: the indexes that were built over the item embeddings, and which one scoring searches."""
    built = sorted(lake.rows(tables.ITEM_INDEXES, ds), key=lambda row: str(row.backend))  # one per backend
    lead = "Recall is the share of the exact lists that an index finds. Speed is measured on one core."
    if not built:
        return Section("indexes", "Indexes", lead, [Missing(f"item_indexes has no row for {ds}.")])
    rows = [
        [
            Cell(row.backend, "code"),
            Cell("searched" if row.is_chosen else "", "good"),
            Cell(count(row["items"])),
            Cell(NONE if row.recall is None else f"{row.recall:.4f}"),
            Cell(count(row.users_per_second)),
            Cell(count(row.search_budget) if row.search_budget is not None else NONE, "muted"),
            Cell(duration(row.build_seconds), "muted"),
        ]
        for row in built
    ]
    note = (
        f"Measured on {count(built[0].sampled_users)} users, lists of {built[0].k}. "
        "Search budget: nodes (annoy), lists (ivf)."
    )
    head = ["index", "use", "items", "recall", "users per second", "search budget", "build time"]
    return Section("indexes", "Indexes", lead, [Grid(head, rows, 2, note)])
