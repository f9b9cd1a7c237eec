"""The gate, the publications, and look-ups of users in the published candidates.

`read_candidates` and `PublishedCandidates` read without Spark; with Spark see `jobs.serving.publications`.
"""

from jobs.serving.lookup import PublishedCandidates, read_candidates

__all__ = ["PublishedCandidates", "read_candidates"]
