"""The schemes of negative sampling: each a choice of sources and a correction; sizes come from [negatives]."""

from __future__ import annotations

from typing import Any

from jobs.config.loading import Config

# preset: the sources beside the batch, what the bank holds, the correction
PRESETS: dict[str, tuple[frozenset[str], str, str]] = {
    "in_batch": (frozenset(), "positives", "logq"),
    "mns": (frozenset({"corpus", "unclicked"}), "positives", "logq_negatives"),
    "cbns": (frozenset({"bank"}), "positives", "logq"),
    "mixed_cross_batch": (frozenset({"corpus", "unclicked", "bank"}), "all", "logq_negatives"),
}


def negatives_of(config: Config, pool_is_empty: bool) -> dict[str, Any]:
    """The fields of `model.negatives.sources.Negatives` for the configured preset.

    Raises ValueError, with the key, for an empty pool that the configuration does not allow, and for a bank smaller
    than a batch.
    """
    sizes, batch_size = config.negatives, config.training.batch_size
    sources, holds, correction = PRESETS[config.training.preset]
    used = {name: getattr(sizes, name) if name in sources else 0 for name in ("corpus", "unclicked", "bank")}
    if used["unclicked"] and pool_is_empty:
        if sizes.empty_pool == "error":
            raise ValueError(
                f"negatives.unclicked is {used['unclicked']} and the unclicked pool is empty; "
                'negatives.empty_pool = "skip" would do without it'
            )
        used["unclicked"] = 0
    if "bank" in sources and sizes.bank < batch_size:
        raise ValueError(f"negatives.bank is {sizes.bank}, smaller than training.batch_size {batch_size}")
    return {
        **used,
        "correction": correction if config.training.correction == "preset" else config.training.correction,
        "bank_holds": holds,
        **sizes.model_dump(exclude={*used, "empty_pool"}),
    }
