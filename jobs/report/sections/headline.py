"""The top of the page: day, model version, publication status and key figures."""

from __future__ import annotations

import datetime as dt
from typing import Any

from jobs.config.loading import Config
from jobs.inference.evaluation import POPULARITY
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.figures import count, decimal, difference, direction, growth, moment
from jobs.report.next_steps import steps_of
from jobs.report.page import Headline, KeyFigure
from jobs.report.sections.quality import RANKING, Evaluation, evaluations
from jobs.report.sections.training import model_of

NOT_PUBLISHED = "not published"


def headline(lake: Lake, ds: dt.date) -> Headline:
    """The heading of the page."""
    model = model_of(lake, ds)
    status, tone, about = _published(lake, ds)
    links = [("All days", "../days/index.html")]
    steps = steps_of(lake.rows(tables.GATE, ds), ds, _later(lake, ds)) if status == NOT_PUBLISHED else []
    name = model.model_version if model else ""
    return Headline(str(ds), name, status, tone, about, links=links, steps=steps)


def _later(lake: Lake, ds: dt.date) -> dt.date | None:
    """The day that readers follow, if it is after `ds`."""
    newest = max(lake.rows(tables.PUBLICATIONS), key=lambda row: row.publication, default=None)
    return newest.ds if newest is not None and newest.ds > ds else None


def _published(lake: Lake, ds: dt.date) -> tuple[str, str, str]:
    """(status, tone, about): whether the day is published, and which publication readers follow."""
    publications = sorted(lake.rows(tables.PUBLICATIONS), key=lambda row: row.publication)
    newest = publications[-1] if publications else None
    own = next((row for row in reversed(publications) if row.ds == ds), None)
    follow = (
        f"Readers follow publication {newest.publication}, of {newest.ds}." if newest else "Nothing is published yet."
    )
    if own is None:
        return NOT_PUBLISHED, "bad", follow
    at = moment(int(own.published_at.timestamp() * 1_000))
    when = f"Publication {own.publication}, {count(own.users)} users, {at} UTC."
    if newest is not None and newest.publication == own.publication:
        return "published", "good", f"{when} Readers follow it."
    return "published, superseded", "muted", f"{when} {follow}"


def key_figures(lake: Lake, config: Config, ds: dt.date) -> list[KeyFigure]:
    """The key figures, each with the lists that it measures; without those whose table has no row."""
    return [*_of_evaluation(evaluations(lake, config, ds)), *_of_lists(lake, ds), *_of_day(lake, config, ds)]


def _of_evaluation(found: list[Evaluation]) -> list[KeyFigure]:
    """Ranking metrics of the lists that were evaluated last, which are those of an earlier day."""
    if not found:
        return []
    now, before = found[0], found[1] if len(found) > 1 else None
    k = now.cutoffs[-1]
    figures = []
    for metric in ("recall", "ndcg"):
        value, earlier = now.of(metric, k), before.of(metric, k) if before else None
        if value is not None:
            other = now.of(metric, k, POPULARITY)
            compared = f"; popularity {decimal(other)}" if other is not None else ""
            note = f"lists of {now.ds}, clicks of {now.against}{compared}"
            change = difference(value, earlier)
            figures.append(KeyFigure(f"{RANKING[metric]}@{k}", decimal(value), change, direction(value, earlier), note))
    return figures


def _of_lists(lake: Lake, ds: dt.date) -> list[KeyFigure]:
    """What the gate measured on the day's own lists, compared with the day before."""
    today, before = (
        {row.rule: row.value for row in lake.rows(tables.GATE, day)} for day in (ds, ds - dt.timedelta(days=1))
    )
    figures = []
    for rule, name in {"coverage": "Item coverage", "never_clicked_share": "Never clicked"}.items():
        if (value := today.get(rule)) is not None:
            earlier = before.get(rule)
            # neither direction is better for never clicked items
            tone = "muted" if rule == "never_clicked_share" else direction(value, earlier)
            figures.append(KeyFigure(name, decimal(value), difference(value, earlier), tone, f"lists of {ds}"))
    return figures


def _of_day(lake: Lake, config: Config, ds: dt.date) -> list[KeyFigure]:
    """Counts of the day compared with the day before, and the mean loss of the model's last pass over its examples."""
    today, before = _counts(lake, config, ds), _counts(lake, config, ds - dt.timedelta(days=1))
    names = {"clicks": "Clicks of the day", "lists": "Users with a list", "rows": "Training examples"}
    figures = [
        KeyFigure(name, count(today[key]), growth(today[key], before[key])) for key, name in names.items() if today[key]
    ]
    if today["loss"] is not None:
        change = difference(today["loss"], before["loss"])
        figures.append(KeyFigure("Loss of the last pass", decimal(today["loss"]), change))
    return figures


def _counts(lake: Lake, config: Config, ds: dt.date) -> dict[str, Any]:
    model, log = model_of(lake, ds), next(iter(lake.rows(tables.RECONCILIATION, ds)), None)
    return {
        "clicks": log.clicked if log else None,
        "lists": lake.row_count(tables.CANDIDATES, ds),
        "rows": model.training_rows if model else None,
        "loss": model.final_loss if model else None,
    }
