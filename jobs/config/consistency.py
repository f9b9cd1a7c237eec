"""Rules that compare sections of the configuration with each other. Each raises ValueError that names the keys."""

from __future__ import annotations

import re
from collections.abc import Iterable

from jobs.config.features import NAME, RESERVED, Features
from jobs.config.outputs import Evaluation, Report
from jobs.config.sections import Examples, Model, Negatives, Scoring, Training
from jobs.config.tuning import Tuning
from model.training.spec import MIN_LEARNED_TEMPERATURE


def check_cutoffs(evaluation: Evaluation, scoring: Scoring) -> None:
    """No metric is measured beyond the end of a list."""
    cutoffs, length = evaluation.cutoffs, scoring.candidates_per_user
    if max(cutoffs) > length:
        raise ValueError(
            f"evaluation.cutoffs must be at most scoring.candidates_per_user ({length}), got {list(cutoffs)}"
        )
    if not set(evaluation.held_out_cutoffs) <= set(cutoffs):
        raise ValueError(
            f"evaluation.held_out_cutoffs must be two of evaluation.cutoffs {list(cutoffs)}, "
            f"got {list(evaluation.held_out_cutoffs)}"
        )


def check_tuning_metric(tuning: Tuning, held_out_cutoffs: Iterable[int]) -> None:
    """A search maximises what a training measures."""
    known = [*dict.fromkeys(f"recall@{k}" for k in held_out_cutoffs), "ndcg", "mrr"]
    if tuning.metric not in known:
        raise ValueError(f"tuning.metric must be one of {known}, by evaluation.held_out_cutoffs, got {tuning.metric!r}")


def check_item_table(model: Model, features: Features) -> None:
    """Lists of items can share the table of item_id only if there is one, of the same size."""
    if not model.share_item_table:
        return
    lists = [feature for feature in features.user if feature.kind == "item_list"]
    item_dims = [feature.dim for feature in features.item if feature.is_id]  # one or none
    if lists and not item_dims:
        raise ValueError("model.share_item_table requires the item feature item_id, which is not declared")
    if wrong := {feature.name: feature.dim for feature in lists if feature.dim != item_dims[0]}:
        raise ValueError(f"model.share_item_table: dim must be that of item_id ({item_dims[0]}), got {wrong}")


def check_interests(model: Model, features: Features) -> None:
    """Interests differ by a list of items, such as the history."""
    if model.interests > 1 and all(feature.kind != "item_list" for feature in features.user):
        raise ValueError("model.interests above 1 requires a user feature of kind item_list, got none")


def check_history(features: Features, negatives: Negatives, scoring: Scoring) -> None:
    """What reads the history requires that it is declared."""
    if features.history_length:
        return
    if negatives.mask == "history":
        raise ValueError('negatives.mask = "history" requires the user feature named history, which is not declared')
    if scoring.neighbour_quota:
        raise ValueError(
            "scoring.neighbour_quota above 0 requires the user feature named history, which is not declared"
        )


def check_feature_names(scoring: Scoring, features: Features) -> None:
    """The features that scoring names are declared, and of a kind that it can use."""
    declared = [f.name for f in features.user if f.kind == "categorical" and f.length == 1]
    if (name := scoring.segment_feature) and name not in declared:
        raise ValueError(
            f"scoring.segment_feature must be a categorical feature of length 1 in features.user ({declared}), "
            f"got {name!r}"
        )
    declared = [f.name for f in features.item if f.kind == "categorical"]
    if (name := scoring.category_feature) and name not in declared:
        raise ValueError(
            f"scoring.category_feature must be a categorical feature in features.item ({declared}), got {name!r}"
        )


def check_item_columns(report: Report, features: Features) -> None:
    """The columns that pages show are columns of their own: a feature of that name would be encoded."""
    taken = {*RESERVED, *(feature.name for feature in features.item)}
    for key, name in (("item_title", report.item_title), ("item_picture", report.item_picture)):
        if name and not re.fullmatch(NAME, name):
            raise ValueError(f"report.{key} must match {NAME}, got {name!r}")
        if name in taken:
            raise ValueError(
                f"report.{key} must not be a feature in features.item, nor a column of every item, got {name!r}; "
                f"[mapping.items] can give its values a second column"
            )
    if report.item_title and report.item_title == report.item_picture:
        raise ValueError(f"report.item_title and report.item_picture must differ, got {report.item_title!r} twice")


def check_explored_items(scoring: Scoring, model: Model) -> None:
    """Items without clicks can be ranked only by vectors that training learns without their id."""
    if scoring.explore_quota and not (model.item_id_dropout or model.item_id_shrinkage):
        raise ValueError(
            "model.item_id_dropout or model.item_id_shrinkage must be above 0 where scoring.explore_quota is, "
            "got 0 and 0: without both, the model never learns vectors for items without their id"
        )


def check_row_negatives(negatives: Negatives, examples: Examples) -> None:
    """A row cannot have more negatives of its own than are stored with it."""
    available = examples.unclicked_per_example
    if negatives.row > available:
        raise ValueError(
            f"negatives.row must be at most examples.unclicked_per_example ({available}), got {negatives.row}"
        )


def check_learned_temperature(training: Training) -> None:
    """A learned temperature starts within its bounds."""
    if training.learn_temperature and training.temperature < MIN_LEARNED_TEMPERATURE:
        raise ValueError(
            f"training.temperature must be at least {MIN_LEARNED_TEMPERATURE} where training.learn_temperature "
            f"is true, got {training.temperature}"
        )
