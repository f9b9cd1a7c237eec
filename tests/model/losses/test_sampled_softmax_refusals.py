"""Options, tensors and counts that the loss refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from model.losses import Columns, RowNegatives
from tests.model.losses.batches import Inputs


def test_a_fault_of_constant_columns_is_named_as_theirs() -> None:
    inputs = Inputs()
    columns = Columns(inputs.column_embeddings, inputs.column_ids, inputs.column_log_n)
    wrong = columns._replace(log_expected_count=torch.full_like(inputs.column_log_n, -math.inf))
    with pytest.raises(ValueError, match=r"constant_columns\.log_expected_count must be finite"):
        inputs.loss(constant_columns=wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, "temperature must be a positive number, got 0.0"),
        ({"temperature": -1}, "temperature must be a positive number"),
        ({"temperature": math.nan}, "temperature must be a positive number"),
        ({"temperature": torch.tensor(-0.1)}, "temperature must be a positive number"),
        ({"temperature": torch.ones(7)}, r"temperature must have shape \[\], got \[7\]"),
        ({"positive_temperature": torch.tensor(0.0)}, "^positive_temperature must be a positive number, got 0.0"),
        ({"positive_temperature": -1.0}, "^positive_temperature must be a positive number, got -1.0"),
        ({"correction": "log_q"}, "correction must be one of .* got 'log_q'"),
        ({"correction": "logq", "positive_log_expected_count": None}, "positive_log_expected_count"),
        ({"correction": "logq", "positive_log_expected_count": torch.zeros(6)}, r"\[7\], got \[6\]"),
        ({"reduction": "sum"}, "reduction must be one of .* got 'sum'"),
        ({"chunk_size": 0}, "chunk_size must be at least 1 or None, got 0"),
        ({"weights": torch.ones(7, 1)}, r"weights must have shape \[7\], got \[7, 1\]"),
        ({"excluded_ids": torch.ones(6, 3).long()}, r"excluded_ids must have shape \[7, any\], got \[6, 3\]"),
        ({"excluded_ids": torch.ones(7, 3)}, "excluded_ids must be integers, got torch.float32"),
        ({"row_negatives": RowNegatives(torch.ones(7, 4, 6), torch.ones(7, 4).long())}, r"\[7, any, 5\]"),
        ({"row_negatives": RowNegatives(torch.ones(7, 4, 5), torch.ones(7, 3).long())}, r"row_negatives.ids"),
    ],
)
def test_wrong_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inputs().loss(**changes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("query", torch.ones(7), r"query_embeddings must be \[B, D\] of floats"),
        ("query", torch.ones(7, 5).long(), "of floats, got .* torch.int64"),
        ("positive", torch.ones(6, 5), r"positive_embeddings must have shape \[7, 5\], got \[6, 5\]"),
        ("positive_ids", torch.ones(7), "positive_ids must be integers, got torch.float32"),
        ("positive_ids", torch.ones(8).long(), r"positive_ids must have shape \[7\], got \[8\]"),
        ("column_embeddings", torch.ones(23, 4), r"columns.embeddings must have shape \[any, 5\]"),
        ("column_ids", torch.ones(22).long(), r"columns.ids must have shape \[23\], got \[22\]"),
        ("column_ids", torch.ones(23, dtype=torch.bool), "columns.ids must be integers"),
        ("column_log_n", torch.ones(22), r"columns.log_expected_count must have shape \[23\], got \[22\]"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(name: str, value: Tensor, message: str) -> None:
    inputs = Inputs()
    setattr(inputs, name, value)
    with pytest.raises(ValueError, match=message):
        inputs.loss()


@pytest.mark.parametrize("count", [0.0, math.nan, math.inf])
def test_a_count_that_cannot_be_names_its_items(count: float) -> None:
    inputs = Inputs()
    inputs.column_ids[[4, 9]] = torch.tensor([777, 888])
    inputs.column_log_n[[4, 9]] = torch.tensor(count).double().log()
    with pytest.raises(ValueError, match=r"got .*(inf|nan) at item id 777, 888$"):
        inputs.loss()


def test_logq_refuses_a_positive_without_a_count() -> None:
    inputs = Inputs()
    inputs.positive_ids[2], inputs.positive_log_n[2] = 555, -math.inf
    inputs.loss(correction="logq_negatives")  # which does not use it
    with pytest.raises(ValueError, match=r"positive_log_expected_count .* at item id 555$"):
        inputs.loss(correction="logq")
