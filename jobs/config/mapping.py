"""The section [mapping]: how the columns of your own files become those of the data contract (docs/your-log.md)."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from jobs.config.features import NAME, Section
from model.registry import did_you_mean


class Epoch(Section):
    """A time as a number: units since 1970-01-01 00:00 UTC."""

    column: Annotated[str, Field(min_length=1)]
    unit: Literal["s", "ms", "us", "ns"]


def _expression(value: Any) -> str | Epoch:
    if isinstance(value, dict):
        return Epoch.model_validate(value)
    if isinstance(value, Epoch) or (isinstance(value, str) and value.strip()):
        return value
    raise ValueError('must be an expression of Spark SQL, or { column = "...", unit = "s | ms | us | ns" }')


Expression = Annotated[str | Epoch, BeforeValidator(_expression)]


class TableMapping(BaseModel):
    """One table: a key for each mapped column of the contract, `explode`: new name to list, `where`: which rows."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Expression] = Field(init=False)
    explode: dict[Annotated[str, Field(pattern=f"^{NAME}$")], str] = Field(default_factory=dict)
    where: str = ""

    @property
    def columns(self) -> dict[str, str | Epoch]:
        return dict(self.__pydantic_extra__)


class EventMapping(TableMapping):
    """A file of events. shown: which rows are impressions; clicked: which are clicks; both are required to read one."""

    shown: str = ""
    clicked: str = ""


class Mapping(Section):
    time_zone: Annotated[str, Field(min_length=1)]
    events: EventMapping = EventMapping()
    impressions: TableMapping = TableMapping()
    clicks: TableMapping = TableMapping()
    users: TableMapping = TableMapping()
    items: TableMapping = TableMapping()


def with_assignments(mapping: Mapping, assignments: Sequence[str]) -> Mapping:
    """`mapping` with the values of `--map KEY=VALUE`: `items.item_id=movieId`, `events.explode.item=shown_ids`.

    A value that begins with { is a table of TOML. Raises ValueError for an assignment that is not of this form.
    """
    values = mapping.model_dump()
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        *path, name = key.strip().split(".")
        if not separator or not text.strip() or not name:
            raise ValueError(f"--map must be KEY=EXPRESSION, as in items.item_id=movieId, got {assignment!r}")
        inside = values
        for part in path:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise ValueError(f"--map {key}: {part} has no keys")
        inside[name] = _value(text.strip(), assignment)
    try:
        return Mapping.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        key = ".".join(map(str, details["loc"]))
        if details["type"] == "extra_forbidden":
            hint = did_you_mean(key, Mapping.model_fields)
            raise ValueError(f"--map: mapping.{key}: no such key{hint}; it has {list(Mapping.model_fields)}") from error
        raise ValueError(f"--map: mapping.{key}: {details['msg']}, got {details['input']!r}") from error


def _value(text: str, assignment: str) -> Any:
    if not text.startswith("{"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"--map: the value of {assignment!r} must be a table of TOML: {error}") from error
