"""What became of the day on which settings were on trial."""

from __future__ import annotations

import datetime as dt

from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.tuning.adoption.decision import Outcome

# Rules of the gate that depend on the log and on the tables, not on the settings of a search.
NOT_OF_SETTINGS = ("training_rows_lost", "input_age_days")


def trial_outcome(lake: Lake, ds: dt.date) -> Outcome:
    """Passed: the day's model was published. Failed: it has none, did not get through the gate, or was rolled back.

    A day whose gate failed only by rules that settings cannot change, or that passed and was not published, does not
    tell yet.
    """
    model = next(iter(lake.rows(tables.MODEL_VERSIONS, ds)), None)
    if model is None:
        return Outcome(False, f"the trial of {ds} has failed: no model was trained")
    version = model.model_version
    if is_published(lake, ds, version):
        if (followed := max(lake.rows(tables.PUBLICATIONS), key=lambda row: row.publication).ds) < ds:
            return Outcome(False, f"the trial of {ds} has failed: it was rolled back to {followed}")
        return Outcome(True, f"the trial of {ds} has passed: the gate let it through and it was published")
    verdicts = [row for row in lake.rows(tables.GATE, ds) if row.model_version == version]
    if not verdicts:
        return Outcome(False, f"the trial of {ds} has failed: the day did not reach the gate")
    if failed := sorted(row.rule for row in verdicts if not row.passed and row.rule not in NOT_OF_SETTINGS):
        return Outcome(False, f"the trial of {ds} has failed: rules of the gate did, {', '.join(failed)}")
    return Outcome(None, f"the trial goes on: {ds} was not published, for which the settings are no reason")


def is_published(lake: Lake, ds: dt.date, model_version: str | None = None) -> bool:
    """Whether lists of the day were ever published. model_version: of this model only."""
    return any(row.ds == ds and model_version in (None, row.model_version) for row in lake.rows(tables.PUBLICATIONS))
