"""What readers of the candidates follow: the publications, and looking users up in the published lists.

`read_candidates` and `PublishedCandidates` read without Spark; with Spark see `jobs.serving.publications`.
"""

from jobs.serving.lookup import PublishedCandidates, read_candidates

__all__ = ["PublishedCandidates", "read_candidates"]
