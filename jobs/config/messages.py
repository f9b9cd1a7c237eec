"""Says what is wrong with a configuration: the key, its value, what it must be, and the nearest known key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.config.mapping import Mapping as MappingSection
from jobs.config.renamed_keys import RENAMED_KEYS
from jobs.config.sections import CustomSource
from model.features import Feature
from model.registry import did_you_mean

UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
TABLES_OF_MAPPING = [f"mapping.{name}" for name in MappingSection.model_fields]  # most are not in recall.toml
# The keys of tables that have a name or a number of their own.
NESTED = {"features": tuple(Feature.__dataclass_fields__), "negatives": tuple(CustomSource.model_fields)}


def message(details: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """One validation error as text, without values that may hold a secret.

    These are whole sections, all of `tracking`, and `export.target`.
    details: an error of pydantic. defaults: the values of recall.toml, which has every key.
    """
    loc, value, said = details["loc"], details["input"], details["msg"].removeprefix("Value error, ")
    key = ".".join(map(str, loc))
    if details["type"] in UNKNOWN_KEY:
        return f"{key}: renamed to {RENAMED_KEYS[key]}" if key in RENAMED_KEYS else _unknown(loc, defaults)
    text = ": ".join(filter(None, (key, said)))
    # the input of an error between sections is the whole configuration; a variant may contain any section
    may_be_secret = isinstance(value, dict) or loc[0] in ("tracking", "variants") or loc[:2] == ("export", "target")
    if may_be_secret or f", got {value!r}" in said:
        return text
    choices = re.findall("'([^']*)'", said) if details["type"] == "literal_error" else ()
    return f"{text}, got {value!r}{did_you_mean(value, choices)}"


def _unknown(loc: tuple[str | int, ...], defaults: Mapping[str, Any]) -> str:
    """The message for a key that does not exist, with the same key of another section, or the nearest one."""
    *path, name = map(str, loc)
    key = ".".join((*path, name))
    if len(path) > 1:
        return f"{key}: no such key{did_you_mean(name, NESTED.get(path[0], ()))}"
    keys = list(_dotted(defaults))
    moved = [known for known in keys if known.endswith(f".{name}") and not known.startswith("features.")]
    keys += TABLES_OF_MAPPING
    similar = did_you_mean(key, [known for known in keys if known.split(".")[:-1] == path])
    return f"{key}: no such key" + (f"; did you mean {moved[0]}?" if moved else similar or did_you_mean(key, keys))


def _dotted(values: Mapping[str, Any]) -> Iterator[str]:
    """The names of all sections and keys, as in `training` and `training.epochs`."""
    for section, keys in values.items():
        yield section
        yield from (f"{section}.{key}" for key in (keys if isinstance(keys, Mapping) else ()))
