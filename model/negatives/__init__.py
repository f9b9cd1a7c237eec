"""Negatives: item distributions, draws from them, and how often each item is expected among the draws.

The names are imported on first use, so that a job can read `model.negatives.settings` without loading torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.negatives.samplers import (
        CategoricalSampler,
        Share,
        expected_count,
        log_count,
        smoothed_probabilities,
    )

__all__ = ["CategoricalSampler", "Share", "expected_count", "log_count", "smoothed_probabilities"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("model.negatives.samplers"), name)
    raise AttributeError(f"module {__name__} has no attribute {name!r}")
