"""The candidates of a day's users, made by the executors' Python workers (`jobs.workers.scoring`)."""

from __future__ import annotations

import datetime as dt

from pyspark.sql import DataFrame

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.writing import WorkerRows
from jobs.workers.references import IndexReference
from jobs.workers.scoring import REUSABLE, REUSABLE_SCORED_AT, ListPlan, list_maker
from model.search.lists.candidate_lists import Quotas


def list_plan(config: Config) -> ListPlan:
    """What [scoring] and [neighbours] say about the lists."""
    scoring = config.scoring
    quotas = Quotas(scoring.candidates_per_user, scoring.popular_quota, scoring.explore_quota, scoring.neighbour_quota)
    by_score, clicks = scoring.order_by == "score", (config.neighbours.clicks, config.neighbours.decay)
    return ListPlan(quotas, scoring.category_feature, scoring.max_per_category, by_score, clicks)


def candidates(users: DataFrame, ref: IndexReference, plan: ListPlan, scored_at: dt.datetime) -> WorkerRows:
    """Rows of candidates without `ds`, in the order of `users`, best candidate first, ranks from 1.

    users: user_id, embedding, excluded, is_cold, segment, history, and a list of an earlier day that is reused if all
    its items are still available, with the time at which it was scored. scored_at: of the other lists.
    """
    names = ["user_id", "embedding", "excluded", "is_cold", "segment", REUSABLE, REUSABLE_SCORED_AT]
    names += ["history"] if ref.neighbours_folder else []
    schema = tables.CANDIDATES.pick("user_id", "candidates", "model_version", "scored_at")
    return WorkerRows(users.select(names), list_maker(ref, plan, scored_at, schema.names), schema)
