"""The raw tables: what they are, how rows land in them, and which of their rows a day still has to read."""

from jobs.raw_log.landing.writing import land, quarantine, raw_tables, rows_since_snapshot

__all__ = ["land", "quarantine", "raw_tables", "rows_since_snapshot"]
