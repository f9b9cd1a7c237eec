"""The chosen settings as a TOML file that --config takes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from typing import Any


def overlay_text(sections: Mapping[str, Mapping[str, Any]], ds: dt.date, about: str, variant: str | None = None) -> str:
    """The TOML of sections whose values are texts, numbers, booleans or lists of them.

    about: one line of comment. variant: the model that was searched, if it is not the main one.
    """
    prefix = "" if variant is None else f"variants.{variant}."
    lines = [f"# Chosen by tune_two_tower for the log up to {ds}.", f"# {about}"]
    for section, values in sections.items():
        lines += ["", f"[{prefix}{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
