"""What code must know about a device: whether reading a value from it makes the host wait.

Work on a GPU is queued. Reading a value (`bool(tensor)`, `int(tensor)`), and every operation whose result has a shape
that depends on values (`nonzero`, `unique`, an index of booleans), waits until the queue is empty. A training step
therefore avoids them on such devices, and computes with fixed shapes instead; on a CPU the smaller shapes are faster.
"""

from __future__ import annotations

import torch


def is_asynchronous(device: torch.device) -> bool:
    """Whether work on the device is queued, so that reading a value from it makes the host wait."""
    return device.type != "cpu"
