"""The sections of the configuration, key by key: `recall.toml` says what each means."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from jobs.config.features import Count, Section

Share = Annotated[float, Field(ge=0, le=1)]


class LakeUse(Section):
    single_driver: bool


class Log(Section):
    attribution: Literal["impression_id", "user_item"]
    attribution_window_hours: Annotated[int, Field(ge=1, le=24 * 7)]
    clock_skew_seconds: Annotated[int, Field(ge=0, le=24 * 3600)]
    additional_columns: Literal["drop", "refuse"]
    examination: Literal["all", "above_last_click", "first_positions"]
    examined_positions: Count
    examples_window_days: Count
    state_lookback_days: Count
    users_seen_days: Count


class Examples(Section):
    unclicked: Annotated[int, Field(ge=0)]
    per_user: Annotated[int, Field(ge=0)]
    share: Annotated[float, Field(gt=0, le=1)]
    row_group_rows: Count
    ranks: Count
    readers: Count


class Exclusions(Section):
    clicked: Literal["ever", "never"] | Count
    blocklist: str


class Pool(Section):
    minimum_exposures: Count
    maximum_items: Count
    corpus_alpha: Share


class Model(Section):
    embedding_dim: Count
    hidden: tuple[Count, ...]
    share_item_table: bool
    user_id_dropout: Annotated[float, Field(ge=0, lt=1)]
    item_id_dropout: Annotated[float, Field(ge=0, lt=1)]
    history_dropout: Annotated[float, Field(ge=0, lt=1)]


class Training(Section):
    preset: Literal["in_batch", "mns", "cbns", "mixed_cross_batch"]
    correction: Literal["preset", "none", "logq", "logq_negatives"]
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    frequency: Literal["counted", "streaming"]
    estimator_rate: Annotated[float, Field(gt=0, lt=1)]
    estimator_buckets: Annotated[int, Field(ge=0)]
    estimator_hashes: Count
    weights: Literal["none", "reward"]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    learning_rate: Annotated[float, Field(gt=0)]
    dense_learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=1)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=0)]
    readers: Count
    shuffle_row_groups: Count
    ranks: Count
    launch: Literal["process", "spark_driver", "spark_executors"]
    precision: Literal["float32", "bfloat16"]
    compile: bool
    checkpoint_steps: Annotated[int, Field(ge=0)]
    validation: Literal["last_day", "none"]
    validation_rows: Count
    patience: Annotated[int, Field(ge=0)]
    every_days: Count
    start: Literal["scratch", "warm"]
    warm_epochs: Annotated[int, Field(ge=0)]


class Negatives(Section):
    corpus: Annotated[int, Field(ge=0)]
    unclicked: Annotated[int, Field(ge=0)]
    empty_pool: Literal["error", "skip"]
    bank: Count
    bank_warmup_steps: Annotated[int, Field(ge=0)]
    bank_warmup_drift: Annotated[float, Field(ge=0, le=2)]
    bank_gradient_cure: bool
    row: Annotated[int, Field(ge=0)]
    row_log_weight: float
    mask: Literal["item", "user", "history"]


class Tracking(Section):
    uri: str


class Index(Section):
    backend: Literal["auto", "exact", "annoy", "ivf"]
    build: Annotated[tuple[Literal["exact", "annoy", "ivf"], ...], Field(min_length=1)]
    recall_target: Annotated[float, Field(gt=0, le=1)]
    sample_users: Count
    annoy_trees: Count
    ivf_lists: Annotated[int, Field(ge=0)]

    @model_validator(mode="after")
    def backend_is_built(self) -> Index:
        if self.backend not in ("auto", *self.build):
            raise ValueError(f"index.backend {self.backend} is not among index.build {list(self.build)}")
        return self


class Scoring(Section):
    candidates_per_user: Count
    popular_quota: Annotated[int, Field(ge=0)]
    segment: str
    explore_quota: Annotated[int, Field(ge=0)]
    category: str
    category_cap: Annotated[int, Field(ge=0)]
    changed_only: bool

    @model_validator(mode="after")
    def quotas_leave_room(self) -> Scoring:
        if self.popular_quota + self.explore_quota > self.candidates_per_user:
            raise ValueError(
                f"scoring.popular_quota {self.popular_quota} and explore_quota {self.explore_quota} are more than "
                f"candidates_per_user {self.candidates_per_user}"
            )
        if bool(self.category) != bool(self.category_cap):
            raise ValueError(
                f"scoring.category wants a category_cap, and that a category, "
                f"got {self.category!r} and {self.category_cap}"
            )
        return self


class Gate(Section):
    recall_drop: Share
    recall_over_popularity: Annotated[float, Field(ge=0)]
    coverage: Share
    never_clicked_share: Share
    head_share: Share
    short_lists: Share
    mean_cosine: Share
    index_recall_drop: Share
    input_age_days: Annotated[int, Field(ge=0)]


class Evaluation(Section):
    at: tuple[Count, ...]
    head_share: Share
    middle_share: Share

    @field_validator("at")
    @classmethod
    def at_is_ascending(cls, at: tuple[int, ...]) -> tuple[int, ...]:
        if not at or list(at) != sorted(set(at)):
            raise ValueError(f"wants list lengths in ascending order, got {list(at)}")
        return at
