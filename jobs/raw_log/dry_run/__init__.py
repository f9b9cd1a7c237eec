"""What a run of `ingest_logs` would do, as text: columns, rows, refusals, and features that could be declared."""

from jobs.raw_log.dry_run.preview import described

__all__ = ["described"]
