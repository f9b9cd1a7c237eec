"""What a search leaves in a lake, without a search."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from jobs.config.loading import Config, load_config
from jobs.lake.lake import Lake
from jobs.tuning.adoption.records import Overlay
from jobs.tuning.adoption.search_results import SearchResult, configuration_hash
from jobs.tuning.folder import OVERLAY, RESULT

SETTINGS = "[training]\ntemperature = {}\n"


def leave_search(
    lake: Lake, ds: dt.date, text: str, *, is_clear: bool = True, compared_with: Config | None = None
) -> Overlay:
    """Write what a search of a day leaves. compared_with: the settings with which it compared, by default recall.toml's."""
    folder, overlay = Path(lake.path("tuning", str(ds))), Overlay(ds, text)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / OVERLAY).write_text(text, "utf-8")
    result = SearchResult(overlay.hash, is_clear, configuration_hash(compared_with or load_config()))
    (folder / RESULT).write_text(result.text(), "utf-8")
    return overlay
