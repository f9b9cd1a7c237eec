"""An example of a downstream DAG: it runs when candidates are published, for each published day."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Asset, task

CANDIDATES = Asset("batch_recall_candidates")


def published_days(triggering_asset_events: Any) -> list[str]:
    """The days of the events in order; several publications may start one run."""
    events = [event for several in triggering_asset_events.values() for event in several]
    return sorted({event.extra["ds"] for event in events})


with DAG(
    "ranking_example",
    description="Runs for each day whose candidates are published",
    doc_md=__doc__,
    schedule=[CANDIDATES],
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
) as dag:

    @task
    def rank(triggering_asset_events: Any = None) -> list[str]:
        days = published_days(triggering_asset_events)
        logging.getLogger(__name__).info("candidates to rank: %s", ", ".join(days))
        return days

    rank()
