"""Log files and tables as rows of named columns, whatever their format."""

from jobs.raw_log.files.errors import NO_ROW, file_errors
from jobs.raw_log.files.names import CORRUPT_ROW, MissingColumns, named, require_named
from jobs.raw_log.files.sources import SOURCE_FORMATS, TABLE, Source, open_source

__all__ = [
    "CORRUPT_ROW",
    "NO_ROW",
    "SOURCE_FORMATS",
    "TABLE",
    "MissingColumns",
    "Source",
    "file_errors",
    "named",
    "open_source",
    "require_named",
]
