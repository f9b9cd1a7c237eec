"""A day's embeddings, indexes and candidates: references, exclusions, eligible items, evaluation."""
