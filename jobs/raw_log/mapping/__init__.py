"""Your own columns, as expressions, become those of the data contract (docs/your-log.md)."""

from jobs.raw_log.mapping.expressions import expression_errors
from jobs.raw_log.mapping.log_file import LogFile, open_log
from jobs.raw_log.mapping.preview import described

__all__ = ["LogFile", "described", "expression_errors", "open_log"]
