"""Log files as rows of named columns, whatever their format: Parquet, CSV or JSON lines."""

from jobs.raw_log.files.names import CORRUPT_ROW, named
from jobs.raw_log.files.reading import FORMATS, file_errors, read_file

__all__ = ["CORRUPT_ROW", "FORMATS", "file_errors", "named", "read_file"]
