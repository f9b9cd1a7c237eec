"""Which rows of the held-out day belong to held-back users, on whom the published model is measured.

Axis: B rows of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.features import FeatureSpec
from model.frequency import mixed_bits, shift_right
from model.vocabulary import FIRST_INDEX

USER_INDEX = FeatureSpec("user_index", "id", 1, 1, "user_index", "user_id")  # of a row
MIN_TRAINED_ROWS = 2  # of a batch: a single row has no negatives


def held_back(users: Tensor, share: float, salt: int) -> Tensor:
    """Whether each row [B] is of a held-back user: bool [B].

    users: user indices [B], int64. share: of the users, from 0 to 1. salt: another number holds other users back.
    A user is chosen by a hash, so the same on every rank and in every run. Rows of users without an index of their own
    are not held back, and no row is if fewer than MIN_TRAINED_ROWS of the batch would be left.
    """
    hashes = shift_right(mixed_bits(users, salt), 11).double() / 2.0**53  # [B], uniform in [0, 1)
    chosen = (hashes < share) & (users >= FIRST_INDEX)
    if int((~chosen).sum()) < MIN_TRAINED_ROWS:
        return torch.zeros_like(chosen)
    return chosen
