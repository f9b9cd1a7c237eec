"""The rules of the gate: each compares one measured number of a day with a bound of the configuration.

A rule is a function of measurements (made by `jobs.serving.gate_measurements`) and the configuration that returns a
Verdict. To add a rule, write the function and list it in TRAINING_RULES, LIST_RULES or VECTOR_RULES.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.config.loading import Config

# What to do about a rule that failed; docs/publication.md says more.
ADVICE = {
    "recall_over_popularity": "train on more days, or tune training.temperature and training.epochs",
    "recall_of_published": "compare the day's log and training with those of the published day",
    "training_rows_lost": "run train_two_tower again, on the tables as they are now",
    "input_age_days": "run the missing days, in order",
    "model_age_days": "run train_two_tower for this day",
    "coverage": "look for users with equal lists; gate.min_coverage may be lower for few users and many items",
    "never_clicked_share": 'draw negatives from the whole catalogue: training.preset = "mns"',
    "head_share": "check training.correction; gate.max_head_share may be higher for a small catalogue",
    "short_list_share": "run build_item_index and score_users again, with a larger search budget (index.recall_target)",
    "user_mean_cosine": "lower training.learning_rate, and check the features of users",
    "item_mean_cosine": "lower training.learning_rate, and check the features of items",
    "index_recall": 'search another index: index.backend = "exact"',
}


@dataclass(frozen=True)
class Verdict:
    """A rule's value and its bounds. The value is None if it was not measured; this passes unless it is `required`."""

    rule: str
    value: float | None
    min_value: float | None = None
    max_value: float | None = None
    required: bool = True

    @property
    def passed(self) -> bool:
        if self.value is None:
            return not self.required
        above = self.min_value is None or self.value >= self.min_value
        return above and (self.max_value is None or self.value <= self.max_value)

    def __str__(self) -> str:
        bound, side = (self.max_value, "most") if self.min_value is None else (self.min_value, "least")
        if self.value is None or bound is None:
            return f"{self.rule}: not measured{'' if self.passed else f', but required{self._advice}'}"
        missed_by = "" if self.passed else f", misses it by {abs(self.value - bound):.4g}{self._advice}"
        return f"{self.rule} must be at {side} {bound:.4g}, got {self.value:.4g}{missed_by}"

    @property
    def _advice(self) -> str:
        return f" ({ADVICE[self.rule]})" if self.rule in ADVICE else ""


@dataclass(frozen=True)
class TrainingMeasurements:
    """Numbers of the day's model. Recalls are of the held-out last day; None if not measured."""

    recall_at_10: float | None
    recall_at_100: float | None
    popularity_recall_at_10: float | None  # popularity on the same clicks
    published_recall_at_100: float | None  # the model last published before the day, on its own held-out day
    must_hold_out: bool  # whether the configuration holds out the last day and there are days before it
    lost_rows: int  # difference between the rows of the training window and the rows that training read
    input_age_days: int  # from the newest training example to the day
    model_age_days: int  # from the day of training to the day


@dataclass(frozen=True)
class ListMeasurements:
    """Numbers of the day's lists; the first three are None if no list has an item."""

    coverage: float | None
    never_clicked_share: float | None
    head_share: float | None
    never_clicked_share_of_items: float | None  # of the available items; None if there are none
    short_list_share: float  # of the users whose list has less items than K and than the user is not excluded from
    is_any_possible: bool  # whether there is a user for whom an item is available and not excluded


@dataclass(frozen=True)
class VectorMeasurements:
    """Numbers of the day's embeddings and index."""

    user_mean_cosine: float | None
    item_mean_cosine: float | None
    index_recall: float | None


def recall_over_popularity(measured: TrainingMeasurements, config: Config) -> Verdict:
    """Recall@10 must exceed that of popularity. Not recall@100: there popularity is strong on a small catalogue."""
    popularity = measured.popularity_recall_at_10
    bound = None if popularity is None else config.gate.min_recall_over_popularity * popularity
    value = None if bound is None else measured.recall_at_10
    return Verdict("recall_over_popularity", value, min_value=bound, required=measured.must_hold_out)


def recall_of_published(measured: TrainingMeasurements, config: Config) -> Verdict:
    """Recall@100 must not drop too far below that of the published model, if that was measured."""
    published = measured.published_recall_at_100
    bound = None if published is None else (1 - config.gate.max_recall_drop) * published
    value = None if bound is None else measured.recall_at_100
    required = measured.must_hold_out and bound is not None
    return Verdict("recall_of_published", value, min_value=bound, required=required)


def training_rows_lost(measured: TrainingMeasurements, config: Config) -> Verdict:
    """Training must have read every row of its window once."""
    return Verdict("training_rows_lost", float(measured.lost_rows), max_value=0.0)


def input_age_days(measured: TrainingMeasurements, config: Config) -> Verdict:
    """The newest training example must be recent."""
    return Verdict("input_age_days", float(measured.input_age_days), max_value=float(config.gate.max_input_age_days))


def model_age_days(measured: TrainingMeasurements, config: Config) -> Verdict:
    """The model must not be older than the training schedule allows."""
    oldest = float(config.training.retrain_every_days - 1)
    return Verdict("model_age_days", float(measured.model_age_days), max_value=oldest)


def coverage(measured: ListMeasurements, config: Config) -> Verdict:
    """Enough of the available items must be in some list."""
    bound = config.gate.min_coverage
    return Verdict("coverage", measured.coverage, min_value=bound, required=measured.is_any_possible)


def never_clicked_share(measured: ListMeasurements, config: Config) -> Verdict:
    """Not too many positions may go to items without a click in the window.

    The bound is larger if most items have no click, as on the first days of a small log; but it stays below the share
    of lists that are drawn at random, so that such items do not pass if they float to the top.
    """
    at_random = measured.never_clicked_share_of_items or 0.0
    bound = max(config.gate.max_never_clicked_share, config.gate.max_never_clicked_ratio * at_random)
    return Verdict(
        "never_clicked_share", measured.never_clicked_share, max_value=bound, required=measured.is_any_possible
    )


def head_share(measured: ListMeasurements, config: Config) -> Verdict:
    """Not too many positions may go to the most popular items."""
    bound = config.gate.max_head_share
    return Verdict("head_share", measured.head_share, max_value=bound, required=measured.is_any_possible)


def short_list_share(measured: ListMeasurements, config: Config) -> Verdict:
    """Not too many users may have fewer candidates than K and than are possible for them."""
    return Verdict("short_list_share", measured.short_list_share, max_value=config.gate.max_short_list_share)


def user_mean_cosine(measured: VectorMeasurements, config: Config) -> Verdict:
    """User vectors must differ: a mean cosine near 1 is a collapsed tower."""
    return Verdict("user_mean_cosine", measured.user_mean_cosine, max_value=config.gate.max_mean_cosine)


def item_mean_cosine(measured: VectorMeasurements, config: Config) -> Verdict:
    """Item vectors must differ: a mean cosine near 1 is a collapsed tower."""
    return Verdict("item_mean_cosine", measured.item_mean_cosine, max_value=config.gate.max_mean_cosine)


def index_recall(measured: VectorMeasurements, config: Config) -> Verdict:
    """The recall of the searched index must be at most `gate.max_index_recall_drop` below its target."""
    bound = config.index.recall_target - config.gate.max_index_recall_drop
    return Verdict("index_recall", measured.index_recall, min_value=bound)


TRAINING_RULES = (recall_over_popularity, recall_of_published, training_rows_lost, input_age_days, model_age_days)
LIST_RULES = (coverage, never_clicked_share, head_share, short_list_share)
VECTOR_RULES = (user_mean_cosine, item_mean_cosine, index_recall)
