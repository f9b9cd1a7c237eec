"""The configured sources of negatives, as the training spec carries them. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Negatives:
    """The sources beside the other rows' positives, and what is made of them. Sizes of 0 leave a source out.

    corpus: items drawn from the whole catalogue for each batch; unclicked: from the unclicked pool; bank: item vectors
    of past steps that are kept (CBNS, Wang et al. 2021), `bank_holds` says of which columns: `positives`, or `all`;
    row: items of the row's own request that its user saw and did not click. mask: `item` leaves out columns of the
    row's own item; `user` also of what its user clicked in other rows of the batch or of the bank's steps; `history`
    also of what is in their history.
    """

    correction: str
    corpus: int = 0
    unclicked: int = 0
    bank: int = 0
    bank_holds: str = "positives"
    bank_warmup_steps: int = 0
    bank_warmup_drift: float = 0.0
    bank_gradient_rescaling: bool = True
    row: int = 0
    row_log_weight: float = 0.0
    mask: str = "item"
