"""Describes each part of a log: the columns of the file, where those of the contract come from, rows and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.raw_log.contract import EVENT_TIMES
from jobs.raw_log.files import CORRUPT_ROW, named
from jobs.raw_log.landing.notes import words_for_missing
from jobs.raw_log.landing.parsed_file import ParsedFile
from jobs.raw_log.mapping.expressions import own_columns
from jobs.raw_log.mapping.log_file import LogFile
from jobs.raw_log.mapping.proposals import proposed_features

ROWS = 10
CELL_LENGTH = 24  # characters


def described(log: Mapping[str, LogFile], parsed: Mapping[str, ParsedFile], config: Config) -> str:
    """The description of a log. parsed: the rows of each table, computed once. Reads every file to its end."""
    lines: list[str] = []
    sources = {file.source.name: file.source for file in log.values()}
    for source in sources.values():
        fields = [field for field in source.rows.schema if field.name != CORRUPT_ROW]
        lines += [f"{source.name}: {source.rows.count():,} rows, {len(fields)} columns"]
        lines += [*table([[field.name, field.dataType.simpleString()] for field in fields]), ""]
    for name, file in log.items():
        lines += [
            *_counts(name, parsed[name]),
            *_left_out(file),
            *_origins(file, parsed[name]),
            *_rows(parsed[name]),
            "",
        ]
    features = proposed_features(log, parsed, config)
    if features:
        lines += ["features that these files could give; copy those that help into your configuration:", "", *features]
    return "\n".join(lines).rstrip()


def table(cells: Sequence[Sequence[object]]) -> list[str]:
    """Rows of cells as aligned, indented lines; long cells are cut."""
    if not cells:
        return []
    texts = [[_cell(cell) for cell in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in texts]


def _cell(value: object) -> str:
    text = " ".join(("null" if value is None else str(value)).split())
    return text if len(text) <= CELL_LENGTH else text[: CELL_LENGTH - 3] + "..."


def _counts(name: str, parsed: ParsedFile) -> Iterable[str]:
    refused = parsed.refusals()
    accepted = parsed.read_rows() - sum(refused.values())
    yield f"{name}: {accepted:,} rows would land, {sum(refused.values()):,} would be refused"
    for reason, count in refused.items():
        example = parsed.example(reason)
        yield f"  refused: {count:,} rows: {reason}" + (f", such as {_cell(example)}" if example else "")
    yield from (f"  {line}" for line in words_for_missing({name: parsed}))
    if accepted and (time := EVENT_TIMES.get(name)):
        times = F.min(time).cast("string"), F.max(time).cast("string"), F.count_distinct(F.to_date(time))
        first, last, days = parsed.accepted.select(*times).first() or ("", "", 0)
        yield f"  {time} from {first} to {last} UTC, on {days:,} days"


def _left_out(file: LogFile) -> Iterable[str]:
    for condition, rows in file.mapped.left_out.items():
        # with another column, because Spark refuses to read the text of corrupt rows alone
        counted = rows.agg(F.count(F.lit(1)).alias("rows"), F.count(named(own_columns(rows)[0]))).first()
        if counted is not None and counted.rows:
            yield f"  left out: {counted.rows:,} rows do not fulfil {condition}"


def _origins(file: LogFile, parsed: ParsedFile) -> list[str]:
    """How each column of the contract is obtained, and which columns of the file are not used."""
    names = [name for name in parsed.columns if name != "ds"]
    origins = {"available": "true"} | file.mapped.origins
    rows = [f"  {name.ljust(max(map(len, names)))}  <- {origins.get(name, 'null')}" for name in names]
    return rows + ([f"  not used: {', '.join(file.unused)}"] if file.unused else [])


def _rows(parsed: ParsedFile) -> list[str]:
    rows = parsed.accepted.limit(ROWS).collect()
    return table([parsed.columns, *(list(row) for row in rows)]) if rows else []
