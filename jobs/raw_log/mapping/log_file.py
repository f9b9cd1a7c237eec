"""Opens the files of a log, maps their columns, and parses them by the data contract."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from jobs.config import mapping as sections
from jobs.config.loading import Config
from jobs.lake.tables import CLICKS, IMPRESSIONS
from jobs.raw_log.contract import (
    CLICKS_BY_IMPRESSION,
    CLICKS_BY_ITEM,
    EVENT_TIMES,
    IDS,
    parse,
    require_columns,
    required_columns,
)
from jobs.raw_log.files import CORRUPT_ROW, MissingColumns, Source, open_source
from jobs.raw_log.landing import raw_tables
from jobs.raw_log.landing.notes import SIDES
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.mapping.events import CLICKED, SHOWN, impressions_and_clicks
from jobs.raw_log.mapping.expressions import evaluated_in
from jobs.raw_log.mapping.table_mapping import Mapped, mapped, prepared, with_impression_id


@dataclass(frozen=True)
class LogFile:
    """What a file gives to one raw table: as it is stored, with the columns of the contract, and in their types."""

    source: Source
    mapping: sections.TableMapping
    mapped: Mapped
    parsed: ParsedFile

    @property
    def unused(self) -> list[str]:
        """The columns of the file that neither the contract nor an expression of the mapping reads."""
        known = {*self.parsed.columns, *self.mapped.reads, CORRUPT_ROW}
        if isinstance(self.mapping, sections.EventMapping):
            known |= {*IMPRESSIONS.columns, *CLICKS.columns}
        return [name for name in self.source.rows.columns if name not in known]


def open_log(
    spark: SparkSession,
    paths: Mapping[str, str],
    config: Config,
    days: Sequence[dt.date],
    *,
    file_format: str | None = None,
    encoding: str | None = None,
    separator: str = ",",
    backlog: bool = False,
    any_feature: bool = False,
) -> dict[str, LogFile]:
    """The files of a log, by raw table. Text files are read to their end to know their columns; no value is cast yet.

    paths: by table, or `events`. days: on which the rows land; several: each event on the day of its time. backlog:
    events of earlier days land on the first. any_feature: whether users and items may have mapped columns that are no
    declared features. Raises ValueError if a file cannot be read, or its columns break the contract or the mapping.
    """
    schemas = {name: table.schema for name, table in raw_tables(config).items()}
    by_item = not {"impressions", "events"} & paths.keys() or config.log.attribution == "user_item"
    schemas["clicks"] = CLICKS_BY_ITEM if by_item else CLICKS_BY_IMPRESSION
    fields = {table: [column for column in schema.names if column != "ds"] for table, schema in schemas.items()}
    first = None if backlog or len(days) == 1 else days[0]
    log = {}
    with evaluated_in(spark, config.mapping.time_zone), keys_named(config):
        for name, path in paths.items():
            section: sections.TableMapping = getattr(config.mapping, name)
            required = _required(name, config, schemas)
            source = open_source(spark, path, file_format, required=required, encoding=encoding, separator=separator)
            for table, rows in _mapped(name, source.rows, config, fields, any_feature=any_feature).items():
                schema = schemas[table]
                require_columns(rows.rows, schema, source.name, config.log.additional_columns)
                texts = config.report.item_columns if table == "items" else ()
                parsed = parse(
                    rows.rows, schema, table, source.name, days[-1], first=first, faults=rows.faults, texts=texts
                )
                log[table] = LogFile(source, section, rows, replace(parsed, condition=_condition(section, name, table)))
    return {table: replace(file, parsed=on_days(file.parsed, days[0], days[-1])) for table, file in log.items()}


@contextmanager
def keys_named(config: Config) -> Iterator[None]:
    """Adds to the error of a missing column which key of the configuration names it, if one does."""
    keys = {feature.name: f"features.{side}" for side in ("user", "item") for feature in config.features.of(side)}
    keys |= {config.report.item_title: "report.item_title", config.report.item_picture: "report.item_picture"}
    try:
        yield
    except MissingColumns as error:
        named = [f"{keys[column]} names {column!r}" for column in error.columns if column in keys and column not in IDS]
        if not named:
            raise
        raise MissingColumns(f"{error}; {', '.join(named)}", error.columns) from error


def on_days(parsed: ParsedFile, first: dt.date, last: dt.date) -> ParsedFile:
    """Impressions and clicks on the UTC day of their time, or on the nearest day that lands; all others on `first`."""
    day = F.to_date(EVENT_TIMES[parsed.table]) if parsed.table in EVENT_TIMES else F.lit(first)
    nearest = F.greatest(F.least(day, F.lit(last)), F.lit(first))
    return replace(parsed, rows=parsed.rows.withColumn("ds", nearest))


def _required(name: str, config: Config, schemas: Mapping[str, StructType]) -> list[str]:
    """The columns that each file must have itself, because nothing else gives them."""
    section: sections.TableMapping = getattr(config.mapping, name)
    others = {*section.columns, *section.explode}
    if name == "impressions" and config.log.attribution == "user_item":
        others.add("impression_id")
    return [column for column in required_columns(schemas[name]) if column not in others] if name in schemas else []


def _condition(section: sections.TableMapping, name: str, table: str) -> str:
    """The key that chooses the rows of a table from those of its file; empty if all are chosen."""
    if name == "events":
        return SHOWN if table == "impressions" else CLICKED
    return f"mapping.{name}.where" if section.where else ""


def _mapped(
    name: str, rows: DataFrame, config: Config, fields: Mapping[str, Sequence[str]], *, any_feature: bool
) -> dict[str, Mapped]:
    """The columns of the contract of one file, by the tables that it gives."""
    only_known = config.log.additional_columns == "refuse"
    if name == "events":
        return impressions_and_clicks(
            rows, config.mapping.events, fields["impressions"], fields["clicks"], only_known=only_known
        )
    section: sections.TableMapping = getattr(config.mapping, name)
    key, known = f"mapping.{name}", list(fields[name])
    if any_feature and name in SIDES:
        known = list(dict.fromkeys([*known, *section.columns]))
    table = mapped(prepared(rows, section, key), section, key, known, only_known=only_known)
    makes_id = name == "impressions" and config.log.attribution == "user_item"
    return {name: with_impression_id(table) if makes_id else table}
