"""What negatives may be drawn from, as configured and as counted. Axis letters: I indices of the item vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from model.negatives.settings import Negatives

SUM_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Probabilities:
    """How often one draw of a source is item j: q of the batch's positives, u of the catalogue, p of the pool; [I]."""

    q: Tensor
    u: Tensor
    p: Tensor


def check_supplied(probabilities: Probabilities, negatives: Negatives) -> None:
    """Raises ValueError, with the key, where a source or the correction has nothing to go by."""
    for name, options in (("bank_holds", ("positives", "all")), ("mask", ("item", "user", "history"))):
        if getattr(negatives, name) not in options:
            raise ValueError(f"negatives.{name} is one of {options}, got {getattr(negatives, name)!r}")
    for name in ("q", "u", "p"):
        share = getattr(probabilities, name)
        total = float(share.sum())
        # NaN and infinity have no such sum
        if bool((share < 0).any()) or not (abs(total - 1) <= SUM_TOLERANCE or total == 0):
            raise ValueError(
                f"item_sampling_probs.{name} wants shares of 0 or more that sum to 1, got a sum of {total}"
            )
    if negatives.unclicked and not bool(probabilities.p.any()):
        raise ValueError("negatives.unclicked asks for draws from the unclicked pool, and the pool is empty")
    if negatives.correction != "none" and not bool(probabilities.q.any()):
        wanted = "item_sampling_probs.q counts no example"
        raise ValueError(f"training.correction {negatives.correction} wants counts, and {wanted}")
