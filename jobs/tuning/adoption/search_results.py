"""What a search left in tuning/<ds>/: its settings, whether they are clearly better, and than which settings."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from jobs.config.loading import Config, load_config
from jobs.config.tuning import FIXED, SEARCHABLE
from jobs.lake.files import glob_statuses, read_text
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from jobs.training.settings import training_configuration
from jobs.tuning.adoption.decision import Proposal
from jobs.tuning.adoption.records import Overlay, valid_configuration
from jobs.tuning.folder import OVERLAY, RESULT


@dataclass(frozen=True)
class SearchResult:
    """The file RESULT. overlay_hash: SHA-256 of OVERLAY; compared_with: `configuration_hash` of the settings then."""

    overlay_hash: str
    is_clear: bool
    compared_with: str

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"


def configuration_hash(config: Config) -> str:
    """A hash of what decides a training, without the keys that all trials have in common, such as threads and seed."""
    sections = training_configuration(config)
    for key in FIXED:
        section, name = key.split(".")
        sections[section].pop(name, None)
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def read_result(lake: Lake, tuned_on: dt.date) -> SearchResult | None:
    """None if there is none, as of a search by an older version. Raises ValueError if it is damaged."""
    uri = lake.path("tuning", str(tuned_on), RESULT)
    if (text := read_text(lambda: lake.spark, uri)) is None:
        return None
    try:
        return SearchResult(**json.loads(text))
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{uri} must be as tune_two_tower wrote it, got a damaged file: {error}") from error


def read_overlay(lake: Lake, tuned_on: dt.date) -> Overlay:
    """The settings that the search of a day chose for the main model.

    Raises ValueError if they are missing, are not as the search wrote them, are those of a variant, or have other
    sections than those that a search varies, on which the day's tables depend.
    """
    uri = lake.path("tuning", str(tuned_on), OVERLAY)
    if (text := read_text(lambda: lake.spark, uri)) is None:
        raise ValueError(f"there are no settings of a search at {uri}: run tune_two_tower for {tuned_on}")
    overlay, result = Overlay(tuned_on, text), read_result(lake, tuned_on)
    if result is not None and result.overlay_hash != overlay.hash:
        raise ValueError(
            f"{uri} must be as tune_two_tower wrote it (SHA-256 {result.overlay_hash}), got {overlay.hash}: "
            "pass a changed file with --config, or search again"
        )
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{uri} must be TOML, got a damaged file: {error}") from error
    variants = values.get("variants", {})
    if isinstance(variants, dict) and variants:
        raise ValueError(
            f"{uri} must have settings of the main model, which is published, got those of the variant "
            f"{', '.join(sorted(variants))}: pass them with --config"
        )
    if not values or not values.keys() <= SEARCHABLE.keys():
        raise ValueError(f"{uri} must have keys of {', '.join(SEARCHABLE)} only, got sections {sorted(values)}")
    return overlay


def proposal(lake: Lake, overlays: Sequence[str], ds: dt.date, in_force: Overlay | None) -> Proposal:
    """The settings of the newest search before `ds` if they are clearly better than those in force.

    overlays: the files of --config. in_force: settings that were adopted; None for the configured ones.
    """
    tuned_on = max((day for day in tuned_days(lake) if day < ds), default=None)
    if tuned_on is None or (in_force is not None and tuned_on <= in_force.tuned_on):
        return Proposal(None, "")
    name = f"the search of {tuned_on}"
    try:
        overlay, result = read_overlay(lake, tuned_on), read_result(lake, tuned_on)
        valid_configuration(overlays, overlay)
    except ValueError as error:
        return Proposal(None, f"{name} is not tried: {error}")
    if result is None or not result.is_clear:
        return Proposal(None, f"{name} found nothing beyond the noise of seeds")
    config = load_config(*overlays, *([] if in_force is None else [in_force.for_config]))
    if config.training.start == "warm":
        return Proposal(
            None, f'{name} is not tried: training.start is "warm", which continues a model of other settings'
        )
    if result.compared_with != configuration_hash(config):
        return Proposal(None, f"{name} is not tried: it compared with other settings than those in force")
    return Proposal(overlay, f"{name} found better settings, beyond the noise of seeds")


def tuned_days(lake: Lake) -> list[dt.date]:
    """The days of which a search of the main model has ended."""
    if (folder := local_path(lake.path("tuning"))) is not None:
        names = [path.parent.name for path in folder.glob(f"*/{RESULT}")]
    else:
        found = glob_statuses(lake.spark, lake.path("tuning", "*", RESULT))
        names = [Path(str(status.getPath().toString())).parent.name for status in found]
    return [day for name in names if (day := _day(name)) is not None]


def _day(name: str) -> dt.date | None:
    """The day that a folder is named after; None for a folder of something else, such as a copy."""
    try:
        day = dt.date.fromisoformat(name)
    except ValueError:
        return None
    return day if str(day) == name else None
