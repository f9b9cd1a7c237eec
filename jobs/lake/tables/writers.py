"""The job that writes each built table."""

from __future__ import annotations

from jobs.lake import tables

WRITERS = {  # by the name of the table
    tables.INTERACTIONS.name: "build_interactions", tables.RECONCILIATION.name: "build_reconciliation",
    tables.VOCABULARIES.name: "build_vocabularies", "user_snapshot": "build_snapshots",
    "item_snapshot": "build_snapshots", "item_changes": "build_snapshots",
    "training_examples": "build_training_examples", tables.USER_HISTORIES.name: "build_histories",
    tables.DAILY_ITEM_PAIRS.name: "build_item_pairs", tables.DAILY_ITEM_COUNTS.name: "build_item_counts",
    tables.WINDOW_ITEM_COUNTS.name: "build_window_counts", tables.UNCLICKED_ITEMS.name: "build_negative_pools",
    tables.ITEM_SAMPLING_PROBS.name: "build_sampling_probs", tables.ITEM_NEIGHBOURS.name: "build_item_neighbours",
    tables.POPULAR_ITEMS.name: "build_popular_items", tables.MODEL_VERSIONS.name: "train_two_tower",
    tables.USER_EMBEDDINGS.name: "build_user_embeddings", tables.ITEM_EMBEDDINGS.name: "build_item_index",
    tables.ITEM_INDEXES.name: "build_item_index", tables.CANDIDATES.name: "score_users",
    tables.EVALUATION.name: "evaluate_candidates", tables.GATE.name: "gate_candidates",
    tables.PUBLICATIONS.name: "publish_candidates",
}  # fmt: skip
