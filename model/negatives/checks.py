"""Checks of the configured negatives against the sampling probabilities."""

from __future__ import annotations

from model.negatives.settings import Negatives
from model.negatives.sources import Probabilities

SUM_TOLERANCE = 1e-6
CHOICES = {"bank_holds": ("positives", "all"), "mask": ("item", "user", "history")}


def check_probabilities(probabilities: Probabilities, negatives: Negatives) -> None:
    """Raises ValueError, with the key, for an unknown choice and for probabilities that cannot be used."""
    for name, options in CHOICES.items():
        if getattr(negatives, name) not in options:
            raise ValueError(f"negatives.{name} must be one of {options}, got {getattr(negatives, name)!r}")
    for name in ("q", "u", "p"):
        values = getattr(probabilities, name)
        total = float(values.sum())
        # the sum of NaN or infinite values is neither 0 nor close to 1
        if bool((values < 0).any()) or not (abs(total - 1) <= SUM_TOLERANCE or total == 0):
            raise ValueError(f"item_sampling_probs.{name} must be 0 or more and sum to 1, got a sum of {total}")
    if negatives.correction != "none" and not bool(probabilities.q.any()):
        raise ValueError(
            f"training.correction {negatives.correction} needs item_sampling_probs.q of at least one item, got none"
        )
