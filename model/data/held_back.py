"""Which rows of the held-out day belong to held-back users, on whom the published model is measured.

Axis: B rows of a batch.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from model.vocabulary import FIRST_INDEX

MIN_TRAINED_ROWS = 2  # of a batch: a single row has no negatives


def held_back(users: Tensor, share: float, salt: int) -> Tensor:
    """Whether each row [B] is of a held-back user: bool [B].

    users: user indices [B], int64. share: of the users, from 0 to 1. salt: another number holds other users back.
    A user is chosen by a hash, so the same on every rank and in every run. Rows of users without an index of their own
    are not held back, and no row is if fewer than MIN_TRAINED_ROWS of the batch would be left.
    """
    chosen = torch.from_numpy(_hashes(users.numpy(), salt) < share) & (users >= FIRST_INDEX)
    if int((~chosen).sum()) < MIN_TRAINED_ROWS:
        return torch.zeros_like(chosen)
    return chosen


def _hashes(numbers: np.ndarray, salt: int) -> np.ndarray:
    """float64 in [0, 1), uniform over different numbers: the mixing function of splitmix64 (Steele et al. 2014)."""
    mixed = numbers.astype(np.uint64) + np.uint64(salt * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
