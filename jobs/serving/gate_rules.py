"""The rules of the gate: each compares one measured number of a day with a bound of the configuration.

A rule is a function of measurements (made by `jobs.serving.gate_measurements`) and the configuration that returns a
Verdict. To add a rule, write the function, list it in TRAINING_RULES, LIST_RULES or VECTOR_RULES, and say what to do if
it fails in `jobs.serving.verdicts.ADVICE`, and what to run in `jobs.report.next_steps.NEXT`.

A recall is measured on clicks, which may be few. If its interval is above or below the bound, that decides. Otherwise
the value decides, but with fewer than `gate.min_validation_clicks` clicks `gate.few_clicks` does.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobs.config.loading import Config
from jobs.serving.verdicts import Noise, Verdict, Z, wilson


@dataclass(frozen=True)
class LastPass:
    """The model before and after its last pass, on the held-out day's clicks of users whom that pass left out."""

    before: float | None  # None if these users have no click
    after: float | None
    standard_error: float  # of after less before, on the same clicks; infinite if unknown
    clicks: int


@dataclass(frozen=True)
class TrainingMeasurements:
    """Numbers of the day's model. Recalls are of the held-out last day; None if not measured.

    shorter, longer: the two list lengths `Config.held_out_cutoffs`.
    """

    clicks: int | None  # on which the next three are measured; None for models that do not say it
    recall_at_shorter: float | None
    recall_at_longer: float | None
    popularity_recall_at_shorter: float | None  # popularity on the same clicks
    published_recall_at_longer: float | None  # the model last published before the day, on its own held-out day
    last_pass: LastPass | None  # None if no users were held back from it
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
    """Recall at the shorter length must exceed that of popularity, and a floor where popularity finds nothing.

    Not at the longer one: there popularity is strong on a small catalogue.
    """
    popularity, value = measured.popularity_recall_at_shorter, measured.recall_at_shorter
    if popularity is None or value is None:
        return Verdict("recall_over_popularity", None, required=measured.must_hold_out)
    bound = max(config.gate.min_recall_over_popularity * popularity, config.gate.min_recall)
    noise = _noise(value, measured.clicks, config)
    return Verdict("recall_over_popularity", value, bound, required=measured.must_hold_out, noise=noise)


def recall_after_last_pass(measured: TrainingMeasurements, config: Config) -> Verdict:
    """The last pass over the held-out day must not have made the model worse."""
    return last_pass_verdict(measured.last_pass, config)


def last_pass_verdict(last: LastPass | None, config: Config) -> Verdict:
    """The verdict `recall_after_last_pass`, which fails if the clicks show that the model has become worse.

    They show it if the whole interval, by the differences of the single clicks, is below what
    `gate.max_last_pass_drop` allows. With few clicks `gate.few_clicks` decides if the bound is inside of it.
    """
    if last is None or last.before is None or last.after is None:
        is_policy = last is not None and config.gate.few_clicks == "fail"
        return Verdict("recall_after_last_pass", None, required=is_policy)
    bound = (1 - config.gate.max_last_pass_drop) * last.before
    is_small = last.clicks < config.gate.min_validation_clicks
    half, passes = Z * last.standard_error, not is_small or config.gate.few_clicks == "pass"
    noise = Noise(last.clicks, last.after - half, last.after + half, passes, is_small)
    return Verdict("recall_after_last_pass", last.after, bound, noise=noise)


def recall_of_published(measured: TrainingMeasurements, config: Config) -> Verdict:
    """Recall at the longer length must not drop too far below that of the published model, if that was measured."""
    published, value = measured.published_recall_at_longer, measured.recall_at_longer
    if published is None or value is None:
        is_lost = measured.must_hold_out and published is not None
        return Verdict("recall_of_published", None, required=is_lost)
    noise = _noise(value, measured.clicks, config)
    required, bound = measured.must_hold_out, (1 - config.gate.max_recall_drop) * published
    return Verdict("recall_of_published", value, bound, required=required, noise=noise)


def _noise(recall: float, clicks: int | None, config: Config) -> Noise | None:
    """The noise of a recall; None if the number of clicks is unknown."""
    if not clicks:
        return None
    is_small = clicks < config.gate.min_validation_clicks
    return Noise(clicks, *wilson(recall, clicks), config.gate.few_clicks == "pass" if is_small else None, is_small)


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


TRAINING_RULES = (
    recall_over_popularity,
    recall_after_last_pass,
    recall_of_published,
    training_rows_lost,
    input_age_days,
    model_age_days,
)
LIST_RULES = (coverage, never_clicked_share, head_share, short_list_share)
VECTOR_RULES = (user_mean_cosine, item_mean_cosine, index_recall)
