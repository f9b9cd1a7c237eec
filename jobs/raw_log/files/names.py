"""Names of columns of log files, which may contain any character."""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

CORRUPT_ROW = "_corrupt_record"  # the text of a row that cannot be parsed, null for any other row


def named(name: str) -> Column:
    """The column of exactly this name, which may contain dots, spaces and backticks."""
    escaped = name.replace("`", "``")
    return F.col(f"`{escaped}`")
