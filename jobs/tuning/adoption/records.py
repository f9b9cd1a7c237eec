"""The table adoptions: decisions about the settings of searches, numbered in their order; rows are only added.

A decision is about a day (CONFIGURED, TRIAL or ADOPTED: the settings with which that day trains and scores), or it is a
person's (GIVEN or TAKEN_BACK), for the days that are decided after it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jobs.config.loading import Config, OverlayText, load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path

CONFIGURED, TRIAL, ADOPTED = "configured", "trial", "adopted"
GIVEN, TAKEN_BACK = "given", "taken_back"


class SettingsNotChosen(ValueError):
    """A day would train with settings that were not decided, though those of earlier days were."""


@dataclass(frozen=True)
class Overlay:
    """The settings that a search chose. tuned_on: the day that it searched; text: its TOML."""

    tuned_on: dt.date
    text: str

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def identity(self) -> str:
        """The day and the values, without comments: the same for the same settings of another search of that day."""
        return f"{self.tuned_on} {json.dumps(self.for_config.values(), sort_keys=True)}"

    @property
    def for_config(self) -> OverlayText:
        """What `load_config` takes."""
        return OverlayText(f"settings tuned on {self.tuned_on}", self.text)


@dataclass(frozen=True)
class Adoption:
    """A row of the table. ds: the day that is decided; None for a person's. overlay: None where there is none."""

    number: int
    state: str
    ds: dt.date | None
    overlay: Overlay | None
    reason: str


def adoptions(lake: Lake) -> list[Adoption]:
    """All rows, in their order. Raises ValueError for settings that are not those that were recorded."""
    folder = local_path(lake.table_path(tables.ADOPTIONS))
    if folder is not None and not (folder / "_delta_log").exists():  # every job asks, and most lakes have none
        return []
    found = []
    for row in sorted(lake.rows(tables.ADOPTIONS), key=lambda row: row.adoption):
        overlay = None if row.overlay is None else Overlay(row.tuned_on, row.overlay)
        if overlay is not None and overlay.hash != row.overlay_hash:
            raise ValueError(
                f"adoption {row.adoption} must have settings with the SHA-256 {row.overlay_hash}, got {overlay.hash}"
            )
        found.append(Adoption(row.adoption, row.state, row.ds, overlay, row.reason))
    return found


def add(
    lake: Lake,
    known: Sequence[Adoption],
    state: str,
    ds: dt.date | None,
    overlay: Overlay | None,
    reason: str,
    at: dt.datetime,
) -> Adoption:
    """Compare and set: add the decision that follows the `known` ones. at: the time to record.

    Raises KeyConflict, and adds nothing, if another decision was added since these were read.
    """
    added = Adoption(known[-1].number + 1 if known else 1, state, ds, overlay, reason)
    values = {
        "adoption": added.number,
        "ds": ds,
        "state": state,
        "tuned_on": None if overlay is None else overlay.tuned_on,
        "overlay_hash": None if overlay is None else overlay.hash,
        "overlay": None if overlay is None else overlay.text,
        "reason": reason,
        "recorded_at": at,
    }
    lake.insert_row(tables.ADOPTIONS, values)
    return added


def decided(rows: Iterable[Adoption]) -> dict[dt.date, Adoption]:
    """The decision of each day, by day in ascending order: the last one, if a person had it decided again."""
    found = {row.ds: row for row in rows if row.ds is not None}
    return dict(sorted(found.items()))


def described(lake: Lake, ds: dt.date) -> str:
    """With which settings a day trains and scores, for people."""
    days = decided(adoptions(lake))
    found = days.get(ds)
    if found is None or found.overlay is None:
        return "those of the configuration" + (f" ({found.reason})" if found is not None else "")
    if found.state == TRIAL:
        return f"tuned on {found.overlay.tuned_on}, on trial ({found.reason})"
    first = min(day for day, row in days.items() if row.state == ADOPTED and row.overlay == found.overlay)
    return f"tuned on {found.overlay.tuned_on}, adopted on {first} ({found.reason})"


def overlay_of_day(lake: Lake, ds: dt.date | None) -> Overlay | None:
    """The settings of a search with which a day trains and scores; None if it has the configured ones."""
    found = decided(adoptions(lake)).get(ds) if ds is not None else None
    return found.overlay if found is not None else None


def valid_configuration(overlays: Sequence[str], overlay: Overlay) -> Config:
    """The configuration with these settings. Raises ValueError if this version, or a file given, contradicts them."""
    try:
        return load_config(*overlays, overlay.for_config)
    except ValueError as error:
        raise ValueError(f"{error}; these settings are not valid in this configuration: search again") from error


def configuration_of_day(overlays: Sequence[str], overlay: Overlay, ds: dt.date) -> Config:
    """The configuration with the settings that were chosen for a day.

    Raises ValueError as `valid_configuration`, and says how they are taken back.
    """
    try:
        return valid_configuration(overlays, overlay)
    except ValueError as error:
        raise ValueError(
            f"{error}, or take them back with adopt-tuning --ds {overlay.tuned_on} --withdraw, and run {ds} again from "
            "choose_settings on. A day that is published keeps them: run it with the earlier configuration"
        ) from error


def require_settings_chosen(lake: Lake, ds: dt.date) -> None:
    """Raises SettingsNotChosen if the settings of an earlier day were decided, and those of `ds` were not.

    A day whose main model was trained before has the configured ones, also for its variants.
    """
    days = decided(adoptions(lake))
    if not days or ds <= min(days) or ds in days:
        return
    if not lake.of_variant(None).has_day(tables.MODEL_VERSIONS, ds):
        raise SettingsNotChosen(
            f"the settings of {ds} must be chosen before it is trained, as those of {min(days)} were: "
            f"run choose_settings for {ds}, then the jobs after it"
        )
