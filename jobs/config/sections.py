"""The sections of the configuration, with types and ranges; `recall.toml` documents each key."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from jobs.config.features import MAX_DAYS, Count, Days, Section, Share
from model.features.user_encoders import ONE_VECTOR, USER_ENCODERS
from model.search.backends import BACKENDS

CLASS_NAME = r"^[A-Za-z_][\w.]*(:[A-Za-z_]\w*)?$"  # a registered name or "package.module:Class"


class LakeAccess(Section):
    single_driver: bool


class Log(Section):
    attribution: Literal["impression_id", "user_item"]
    attribution_window_hours: Annotated[int, Field(ge=1, le=24 * 7)]
    clock_skew_seconds: Annotated[int, Field(ge=0, le=24 * 3600)]
    additional_columns: Literal["drop", "refuse"]
    examination: Literal["all", "above_last_click", "first_positions"]
    examined_positions: Count
    max_impressions_per_user: Annotated[int, Field(ge=0)]
    examples_window_days: Days
    state_lookback_days: Days
    user_retention_days: Days
    recent_click_days: Days


class Examples(Section):
    unclicked_per_example: Annotated[int, Field(ge=0)]
    max_per_user: Annotated[int, Field(ge=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    row_group_rows: Count
    ranks: Count
    readers: Count


def checked_clicked(value: Any) -> Any:
    """Raises ValueError for what `exclusions.clicked` cannot be."""
    if value in ("ever", "never") or (type(value) is int and 1 <= value <= MAX_DAYS):
        return value
    raise ValueError(f'must be "ever", "never" or a number of days from 1 to {MAX_DAYS}')


class Exclusions(Section):
    clicked: Annotated[Literal["ever", "never"] | int, BeforeValidator(checked_clicked)]
    max_old_items: Annotated[int, Field(ge=0, lt=2**31)]
    blocklist: str


class Pool(Section):
    min_exposures: Count
    max_items: Count
    corpus_alpha: Share


class Model(Section):
    embedding_dim: Count
    hidden: tuple[Count, ...]
    share_item_table: bool
    user_encoder: Annotated[str, AfterValidator(USER_ENCODERS.checked_name)]
    user_encoder_dropout: Annotated[float, Field(ge=0, lt=1)]
    interests: Count
    user_id_dropout: Annotated[float, Field(ge=0, lt=1)]
    item_id_shrinkage: Annotated[float, Field(ge=0)]
    min_id_examples: Annotated[int, Field(ge=0)]
    id_expiry_share: Annotated[float, Field(gt=0, le=1)]
    item_id_dropout: Annotated[float, Field(ge=0, lt=1)]
    history_dropout: Annotated[float, Field(ge=0, lt=1)]

    @model_validator(mode="after")
    def encoder_makes_the_interests(self) -> Model:
        if self.interests > 1 and self.user_encoder in ONE_VECTOR:
            raise ValueError(
                f"model.user_encoder must make several vectors where model.interests is {self.interests}, as attention "
                f'does, got "{self.user_encoder}", which makes one'
            )
        return self


class Training(Section):
    preset: Literal["in_batch", "mns", "cbns", "mixed_cross_batch"]
    correction: Literal["preset", "none", "logq", "logq_negatives"]
    temperature: Annotated[float, Field(gt=0)]
    learn_temperature: bool
    positive_temperature_ratio: Annotated[float, Field(gt=0)]
    frequency_source: Literal["counted", "streaming"]
    streaming_rate: Annotated[float, Field(gt=0, lt=1)]
    streaming_buckets: Annotated[int, Field(ge=0)]
    streaming_hashes: Count
    example_weights: Literal["none", "reward"]
    batch_size: Annotated[int, Field(ge=2)]
    epochs: Count
    learning_rate: Annotated[float, Field(gt=0)]
    dense_learning_rate: Annotated[float, Field(gt=0)]
    embedding_weight_decay: Annotated[float, Field(ge=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    seed: Annotated[int, Field(ge=1)]
    device: Literal["auto", "cpu", "cuda"]
    threads: Annotated[int, Field(ge=0)]
    readers: Count
    verified_share: Share
    shuffle_row_groups: Count
    ranks: Count
    launch: Literal["process", "spark_driver", "spark_executors"]
    precision: Literal["float32", "bfloat16"]
    compile: bool
    max_table_gb: Annotated[float, Field(ge=0)]
    checkpoint_steps: Annotated[int, Field(ge=0)]
    validation: Literal["last_day", "none"]
    validation_rows: Count
    min_held_back_share: Annotated[float, Field(ge=0, le=0.5)]
    min_held_back_rows: Annotated[int, Field(ge=0)]
    patience: Annotated[int, Field(ge=0)]
    retrain_every_days: Days
    start: Literal["scratch", "warm"]
    warm_epochs: Annotated[int, Field(ge=0)]


class CustomSource(Section):
    source: Annotated[str, Field(pattern=CLASS_NAME)]
    draws: Annotated[int, Field(ge=0)]
    options: dict[str, Any] = Field(default_factory=dict)


class Negatives(Section):
    corpus: Annotated[int, Field(ge=0)]
    unclicked: Annotated[int, Field(ge=0)]
    never_clicked: Annotated[int, Field(ge=0)]
    never_clicked_weight: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    empty_pool: Literal["error", "skip"]
    bank: Count
    bank_warmup_steps: Annotated[int, Field(ge=0)]
    bank_warmup_drift: Annotated[float, Field(ge=0, le=2)]
    bank_gradient_rescaling: bool
    row: Annotated[int, Field(ge=0)]
    row_log_weight: float
    mask: Literal["item", "user", "history"]
    custom: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], CustomSource] = Field(default_factory=dict)


class Tracking(Section):
    uri: str


Backend = Annotated[str, AfterValidator(BACKENDS.checked_name)]


class Neighbours(Section):
    span: Count
    max_pairs_per_user: Count
    per_item: Count
    shrinkage: Annotated[float, Field(ge=0)]
    clicks: Count
    decay: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def a_click_is_paired_whole(self) -> Neighbours:
        if self.max_pairs_per_user < self.span:
            wanted = f"must be at least neighbours.span ({self.span})"
            raise ValueError(f"neighbours.max_pairs_per_user {wanted}, got {self.max_pairs_per_user}")
        return self


class Index(Section):
    backend: str
    build_backends: Annotated[tuple[Backend, ...], Field(min_length=1)]
    recall_target: Annotated[float, Field(gt=0, le=1)]
    recall_sample_users: Count
    annoy_trees: Count
    ivf_lists: Annotated[int, Field(ge=0)]
    shard_items: Annotated[int, Field(ge=0)]
    options: dict[Backend, dict[str, bool | int | float | str]]

    @model_validator(mode="after")
    def backend_is_built(self) -> Index:
        if self.backend not in ("auto", *self.build_backends):
            raise ValueError(
                f"index.backend must be auto or one of index.build_backends {list(self.build_backends)}, "
                f"got {self.backend}"
            )
        return self


class Scoring(Section):
    candidates_per_user: Count
    popular_quota: Annotated[int, Field(ge=0)]
    segment_feature: str
    explore_quota: Annotated[int, Field(ge=0)]
    neighbour_quota: Annotated[int, Field(ge=0)]
    category_feature: str
    max_per_category: Annotated[int, Field(ge=0)]
    max_item_age_days: Annotated[int, Field(ge=0, le=MAX_DAYS)]
    order_by: Literal["channel_score", "score"]
    changed_users_only: bool

    @model_validator(mode="after")
    def quotas_and_cap_are_consistent(self) -> Scoring:
        quotas = self.popular_quota, self.explore_quota, self.neighbour_quota
        if sum(quotas) > self.candidates_per_user:
            raise ValueError(
                "scoring.popular_quota + scoring.explore_quota + scoring.neighbour_quota must be at most "
                f"scoring.candidates_per_user ({self.candidates_per_user}), got {' + '.join(map(str, quotas))}"
            )
        if bool(self.category_feature) != bool(self.max_per_category):
            raise ValueError(
                f"scoring.category_feature and scoring.max_per_category must both be set or neither, "
                f"got {self.category_feature!r} and {self.max_per_category}"
            )
        return self
