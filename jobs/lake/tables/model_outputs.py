"""Tables that a trained model produces: vectors, candidates, their evaluation and publication;
and decisions about settings."""

from __future__ import annotations

from pyspark.sql.types import ArrayType

from jobs.lake.tables.table import (
    BOOLEAN,
    DATE,
    DOUBLE,
    FLOAT,
    FLOATS,
    INT,
    LONG,
    STRING,
    TIME,
    Table,
    struct,
)

CANDIDATE = struct(item_id=STRING, score=FLOAT, rank=INT, source=STRING, channel_score=FLOAT)
MODEL_VERSIONS = Table(
    "model_versions",
    struct(
        ds=DATE, model_version=STRING, trained_on=DATE, training_rows=LONG,
        training_examples_version=LONG, seconds=DOUBLE, final_loss=DOUBLE,
    ),
    key=("ds",),
    per_variant=True,
)  # fmt: skip
ITEM_EMBEDDINGS = Table(
    "item_embeddings",
    struct(
        ds=DATE, item_id=STRING, item_index=INT, available=BOOLEAN, embedding=FLOATS,
        feature_embedding=FLOATS, model_version=STRING,
    ),
    key=("item_id",),
    per_variant=True,
)  # fmt: skip
USER_EMBEDDINGS = Table(
    "user_embeddings",
    struct(
        ds=DATE, user_id=STRING, embedding=FLOATS, is_cold=BOOLEAN, segment=INT,
        scored_from=LONG, model_version=STRING,
    ),
    key=("user_id",),
    per_variant=True,
)  # fmt: skip
ITEM_INDEXES = Table(
    "item_indexes",
    struct(
        ds=DATE, backend=STRING, is_chosen=BOOLEAN, items=LONG, search_budget=LONG, recall=DOUBLE,
        users_per_second=DOUBLE, build_seconds=DOUBLE, sampled_users=LONG, k=INT, folder=STRING, model_version=STRING,
    ),
    key=("backend",),
    per_variant=True,
)  # fmt: skip
CANDIDATES = Table(
    "candidates",
    struct(ds=DATE, user_id=STRING, candidates=ArrayType(CANDIDATE), model_version=STRING, scored_at=TIME),
    key=("user_id",),
    per_variant=True,
    added=("candidates.channel_score",),
)
EVALUATION = Table(
    "evaluation",
    struct(
        ds=DATE, against_from=DATE, against_to=DATE, model_version=STRING, channel=STRING, slice=STRING,
        metric=STRING, k=INT, value=DOUBLE, users=LONG, interval_low=DOUBLE, interval_high=DOUBLE, sample_share=DOUBLE,
    ),
    key=("ds", "channel", "slice", "metric", "k"),
    per_variant=True,
    added=("interval_low", "interval_high", "sample_share"),
)  # fmt: skip
BACK_TESTS = Table(
    "back_tests",
    struct(
        ds=DATE, against_from=DATE, against_to=DATE, model_version=STRING, is_published=BOOLEAN, k=INT,
        predicted=DOUBLE, predicted_clicks=LONG, predicted_popularity=DOUBLE, reached=DOUBLE,
        users=LONG, reached_popularity=DOUBLE, gap=DOUBLE,
    ),
    key=("ds", "k"),
    per_variant=True,
)  # fmt: skip
GATE = Table(
    "gate",
    struct(
        ds=DATE, rule=STRING, value=DOUBLE, min_value=DOUBLE, max_value=DOUBLE, passed=BOOLEAN, model_version=STRING,
        scored_at=TIME, clicks=LONG, interval_low=DOUBLE, interval_high=DOUBLE,
    ),
    key=("rule",),
    added=("clicks", "interval_low", "interval_high"),
)  # fmt: skip
ADOPTIONS = Table(
    "adoptions",
    struct(
        adoption=LONG, ds=DATE, state=STRING, tuned_on=DATE, overlay_hash=STRING, overlay=STRING, reason=STRING,
        recorded_at=TIME,
    ),
    key=("adoption",),
    partition="adoption",
)  # fmt: skip
PUBLICATIONS = Table(
    "publications",
    struct(
        publication=LONG, follows=LONG, ds=DATE, model_version=STRING, candidates_version=LONG,
        item_embeddings_version=LONG, user_embeddings_version=LONG, users=LONG, published_at=TIME,
    ),
    key=("publication",),
    partition="publication",
)  # fmt: skip
