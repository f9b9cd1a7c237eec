"""The Spark session of a job, and its settings."""

from jobs.lake.session.session import spark_session
from jobs.lake.session.settings import WRITERS

__all__ = ["WRITERS", "spark_session"]
