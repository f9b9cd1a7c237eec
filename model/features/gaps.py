"""The gap of a click: how many minutes it was before the impression, or before the day whose lists are made.

Encoders read it as an index: PADDING, UNKNOWN for a click whose time is not known, or FIRST_INDEX plus the number of
binary digits of the minutes, so that each index stands for gaps of up to twice those of the one before it. This module
does not import torch.
"""

from __future__ import annotations

from model.vocabulary import FIRST_INDEX, UNKNOWN

MAX_DIGITS = 22  # of four years and more
GAP_INDICES = FIRST_INDEX + MAX_DIGITS + 1  # how many indices there are


def gap_index(minutes: int | None) -> int:
    """The index of a gap in whole minutes, None if it is not known; a negative one counts as 0."""
    if minutes is None:
        return UNKNOWN
    return FIRST_INDEX + min(max(minutes, 0).bit_length(), MAX_DIGITS)


def gap_index_sql(minutes: str) -> str:
    """The same in Spark SQL; the logarithm is taken between whole numbers, so that rounding does not matter."""
    digits = f"int(floor(log2(greatest({minutes}, 0) + 0.5))) + 1"
    return f"if({minutes} is null, {UNKNOWN}, {FIRST_INDEX} + least({digits}, {MAX_DIGITS}))"
