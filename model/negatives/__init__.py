"""Negatives: item distributions, draws from them, and how often a draw is expected to bring each item."""

from model.negatives.samplers import (
    CategoricalSampler,
    Share,
    expected_count,
    log_count,
    smoothed_probabilities,
)

__all__ = ["CategoricalSampler", "Share", "expected_count", "log_count", "smoothed_probabilities"]
