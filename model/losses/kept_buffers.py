"""Memory that is taken in a forward pass, given back in its backward pass, and taken again by the next step.

Memory from the operating system is set to zero page by page, which costs a step as much as a pass over the logits.
"""

from __future__ import annotations

import torch
from torch import Tensor

MOST_FREE = 2  # a step takes one for the columns with a gradient, and one for those of a bank

_free: list[Tensor] = []


def take(size: int, dtype: torch.dtype) -> Tensor:
    """At least `size` values on the CPU, which are not initialised: flat."""
    fitting = [n for n, buffer in enumerate(_free) if buffer.dtype == dtype and len(buffer) >= size]
    return _free.pop(fitting[0]) if fitting else torch.empty(size, dtype=dtype)


def give_back(buffer: Tensor) -> None:
    """Let a later step use the memory; the caller no longer does. The smallest buffer of too many is freed."""
    _free.append(buffer)
    _free.sort(key=lambda free: free.nbytes)
    del _free[:-MOST_FREE]
