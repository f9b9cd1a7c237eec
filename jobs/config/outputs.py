"""The sections that say how a day is judged, [reconciliation], [evaluation] and [gate], and what others get to see:
[report], of items and users, and [export], where and how lists are exported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from jobs.config.features import MAX_DAYS, Count, Days, Section, Share

Format = Literal["auto", "json", "hash", "parquet", "jsonl"]


class Reconciliation(Section):
    compared_days: Days
    min_compared_days: Days
    band: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def enough_days_can_be_found(self) -> Reconciliation:
        if self.min_compared_days > self.compared_days:
            raise ValueError(
                f"reconciliation.min_compared_days must be at most reconciliation.compared_days "
                f"({self.compared_days}), got {self.min_compared_days}"
            )
        return self


class Evaluation(Section):
    cutoffs: tuple[Count, ...]
    held_out_cutoffs: tuple[Count, ...]
    sample_share: Annotated[float, Field(ge=1e-6, le=1)]  # users are drawn by millionths
    head_click_share: Share
    middle_click_share: Share
    new_item_days: Days

    @field_validator("cutoffs")
    @classmethod
    def cutoffs_ascend(cls, cutoffs: tuple[int, ...]) -> tuple[int, ...]:
        if not cutoffs or list(cutoffs) != sorted(set(cutoffs)):
            raise ValueError(f"must be list lengths in ascending order, got {list(cutoffs)}")
        return cutoffs

    @field_validator("held_out_cutoffs")
    @classmethod
    def held_out_cutoffs_are_a_pair(cls, pair: tuple[int, ...]) -> tuple[int, ...]:
        if pair and (len(pair) != 2 or pair[0] > pair[1]):
            raise ValueError(f"must be two list lengths, the shorter one first, or [], got {list(pair)}")
        return pair

    @model_validator(mode="after")
    def shares_leave_a_tail(self) -> Evaluation:
        if self.head_click_share + self.middle_click_share > 1:
            raise ValueError(
                "evaluation.head_click_share + evaluation.middle_click_share must be at most 1, "
                f"got {self.head_click_share} + {self.middle_click_share}"
            )
        return self


class Gate(Section):
    max_recall_drop: Share
    max_last_pass_drop: Share
    min_recall: Share
    min_recall_over_popularity: Annotated[float, Field(ge=0)]
    min_validation_clicks: Annotated[int, Field(ge=0)]
    few_clicks: Literal["pass", "fail"]
    min_coverage: Share
    max_never_clicked_share: Share
    max_never_clicked_ratio: Share
    max_head_share: Share
    max_short_list_share: Share
    max_mean_cosine: Share
    max_index_recall_drop: Share
    max_input_age_days: Annotated[int, Field(ge=0, le=MAX_DAYS)]


class Report(Section):
    item_title: str
    item_picture: str
    user_ids: Literal["hashed", "shown"]
    example_users: tuple[str, ...]

    @property
    def item_columns(self) -> tuple[str, ...]:
        """The columns of `items` that are shown to people and read by no model."""
        return tuple(name for name in (self.item_title, self.item_picture) if name)


class Export(Section):
    target: str = Field(repr=False)  # may contain a password
    format: Format
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]+$")]
    batch_users: Count
    keep_versions: Count
    ttl_hours: Annotated[int, Field(ge=0)]
