"""Names of columns of log files, which may contain any character."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from pyspark.sql import Column
from pyspark.sql import functions as F

CORRUPT_ROW = "_corrupt_record"  # the text of a row that cannot be parsed, null for any other row


class MissingColumns(ValueError):
    """A file lacks required columns."""

    def __init__(self, message: str, columns: Sequence[str]) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


def quoted(name: str) -> str:
    """A column's name as SQL, whatever characters it contains."""
    escaped = name.replace("`", "``")
    return f"`{escaped}`"


def named(name: str) -> Column:
    """The column of exactly this name, which may contain dots, spaces and backticks."""
    return F.col(quoted(name))


def require_distinct(source: str, names: Sequence[str]) -> None:
    """Raises ValueError if two columns have the same name, or names that differ only in case: Spark sees one column."""
    counts = Counter(name.lower() for name in names)
    if repeated := [name for name in names if counts[name.lower()] > 1]:
        raise ValueError(f"{source} must have distinct column names, whatever their case, got {repeated}")


def require_named(source: str, names: Sequence[str], required: Collection[str]) -> None:
    """Raises MissingColumns if one of the required columns is not among `names`."""
    if missing := [name for name in required if name not in names]:
        got = f"got {list(names)}; [mapping] and --map give columns of other names (docs/your-log.md)"
        raise MissingColumns(f"{source} must have the columns {missing}, {got}", missing)
