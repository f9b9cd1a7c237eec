"""Embedding, indexing and scoring of a day: references to models and indexes, eligible items, candidates."""
