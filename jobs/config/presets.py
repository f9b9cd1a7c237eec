"""The schemes of negative sampling. Each one chooses sources and a correction; their sizes are in [negatives]."""

from __future__ import annotations

from typing import Any, NamedTuple

from jobs.config.loading import Config


class Preset(NamedTuple):
    sources: frozenset[str]  # keys of [negatives] that are used beside the in-batch negatives
    bank_holds: str  # which columns of a step go into the bank: positives | all
    correction: str


PRESETS = {
    "in_batch": Preset(frozenset(), "positives", "logq"),
    "mns": Preset(frozenset({"corpus", "unclicked"}), "positives", "logq_negatives"),
    "cbns": Preset(frozenset({"bank"}), "positives", "logq"),
    "mixed_cross_batch": Preset(frozenset({"corpus", "unclicked", "bank"}), "all", "logq_negatives"),
}


def reads_pool(config: Config) -> bool:
    """Whether the model or a variant can draw from the unclicked pool: by its preset, or by a source of its own."""
    return any(map(_reads_pool, (config, *(config.with_variant(name) for name in config.variants))))


def _reads_pool(config: Config) -> bool:
    by_preset = "unclicked" in PRESETS[config.training.preset].sources and config.negatives.unclicked > 0
    return by_preset or any(source.draws for source in config.negatives.custom.values())


def negatives_of(config: Config, pool_is_empty: bool) -> dict[str, Any]:
    """The fields of `model.negatives.settings.Negatives` for the configured preset, as JSON values.

    Custom sources are used with every preset. Raises ValueError that names the key if the unclicked pool is empty and
    `negatives.empty_pool` does not allow it, or if the bank is smaller than a batch.
    """
    sizes, batch_size = config.negatives, config.training.batch_size
    preset = PRESETS[config.training.preset]
    used = {name: getattr(sizes, name) if name in preset.sources else 0 for name in ("corpus", "unclicked", "bank")}
    if used["unclicked"] and pool_is_empty:
        if sizes.empty_pool == "error":
            raise ValueError(
                f"negatives.unclicked must be 0 if the unclicked pool is empty, got {used['unclicked']}; "
                'negatives.empty_pool = "skip" leaves this source out on such days. The pool is built only if the '
                "configuration has a preset that draws from it: if it had none, run build_negative_pools and "
                "build_sampling_probs of the day again"
            )
        used["unclicked"] = 0
    if "bank" in preset.sources and sizes.bank < batch_size:
        raise ValueError(f"negatives.bank must be at least training.batch_size ({batch_size}), got {sizes.bank}")
    return {
        **sizes.model_dump(exclude={"empty_pool", "custom"}),
        **used,
        "correction": preset.correction if config.training.correction == "preset" else config.training.correction,
        "bank_holds": preset.bank_holds,
        "custom": [{"name": name, **source.model_dump()} for name, source in sizes.custom.items()],
    }
