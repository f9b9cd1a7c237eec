"""The raw tables: what they are, how rows land in them, and which of their rows a day still has to read."""

from jobs.raw_log.landing.unfinished import unfinished_tables
from jobs.raw_log.landing.writing import land, raw_tables, require_stored_columns, rows_since_snapshot

__all__ = ["land", "raw_tables", "require_stored_columns", "rows_since_snapshot", "unfinished_tables"]
