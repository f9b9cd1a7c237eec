"""What code must know about a device, and batches on their way to it.

Work on a GPU is queued. Reading a value (`bool(tensor)`, `int(tensor)`), and every operation whose result has a shape
that depends on values (`nonzero`, `unique`, an index of booleans), waits until the queue is empty. A training step
therefore avoids them on such devices, and computes with fixed shapes instead; on a CPU the smaller shapes are faster.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor


def is_asynchronous(device: torch.device) -> bool:
    """Whether work on the device is queued, so that reading a value from it makes the host wait."""
    return device.type != "cpu"


def needs_fixed_shapes(device: torch.device) -> bool:
    """Whether no shape may depend on values: on an asynchronous device, and while a program is exported."""
    return is_asynchronous(device) or torch.compiler.is_exporting()


def on_device(batches: Iterable[dict[str, Tensor]], device: torch.device) -> Iterator[dict[str, Tensor]]:
    """The same batches in the same order, on the device.

    For a GPU, each batch is copied from pinned memory on a stream of its own, one batch ahead, so that neither the
    host nor the GPU waits for the copy.
    """
    if not is_asynchronous(device):
        yield from batches
        return
    copies, ahead = torch.cuda.Stream(device), None
    for batch in batches:
        with torch.cuda.stream(copies):
            following = {name: values.pin_memory().to(device, non_blocking=True) for name, values in batch.items()}
        if ahead is not None:
            yield _ready(ahead, copies, device)
        ahead = following
    if ahead is not None:
        yield _ready(ahead, copies, device)


def _ready(batch: dict[str, Tensor], copies: torch.cuda.Stream, device: torch.device) -> dict[str, Tensor]:
    """The batch, once the present stream waits for its copies and keeps their memory until it has used them."""
    present = torch.cuda.current_stream(device)
    present.wait_stream(copies)
    for values in batch.values():
        values.record_stream(present)
    return batch
