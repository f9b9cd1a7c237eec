"""The chosen settings as a TOML file that --config takes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any


def overlay_text(sections: Mapping[str, Mapping[str, Any]], ds: dt.date, about: str) -> str:
    """The TOML of sections whose values are texts, numbers, booleans or lists of them. about: one line of comment."""
    lines = [f"# Chosen by tune_two_tower for the log up to {ds}.", f"# {about}"]
    for section, values in sections.items():
        lines += ["", f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
