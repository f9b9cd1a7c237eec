"""Log files as rows of named columns, whatever their format: Parquet, CSV or JSON lines."""

from jobs.raw_log.files.errors import file_errors
from jobs.raw_log.files.listing import FORMATS
from jobs.raw_log.files.names import CORRUPT_ROW, named, require_named
from jobs.raw_log.files.reading import read_file

__all__ = ["CORRUPT_ROW", "FORMATS", "file_errors", "named", "read_file", "require_named"]
