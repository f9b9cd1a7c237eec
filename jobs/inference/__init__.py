"""Embedding and scoring: references to models and indexes, eligible items, candidates."""
