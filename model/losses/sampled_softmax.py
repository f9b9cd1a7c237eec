"""Sampled softmax with log-Q correction: one loss for in-batch, mixed and cross-batch negatives.

Axes: B rows, D embedding size, C shared negative columns, H negatives of one row's own, L excluded ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.data import devices
from model.losses import checks as loss_checks
from model.losses.column_logsumexp import column_logsumexp
from model.vocabulary import NO_ITEM


class Columns(NamedTuple):
    """Items that are negatives for every row of the batch, including the in-batch negatives."""

    embeddings: Tensor  # [C, D]
    ids: Tensor  # [C] int64
    log_expected_count: Tensor  # [C] float32, ln n: n is how often the item is expected among a row's columns


class RowNegatives(NamedTuple):
    """Negatives of one row only: items of the same request that its user saw and did not click."""

    embeddings: Tensor  # [B, H, D]
    ids: Tensor  # [B, H] int64, -1 where a row has fewer
    log_weight: float = 0.0  # added to their scores; above 0 it gives them more weight, a deliberate bias


def sampled_softmax_loss(
    query_embeddings: Tensor,
    positive_embeddings: Tensor,
    positive_ids: Tensor,
    columns: Columns,
    *,
    temperature: float | Tensor,
    correction: str = "logq_negatives",
    positive_log_expected_count: Tensor | None = None,
    row_negatives: RowNegatives | None = None,
    excluded_ids: Tensor | None = None,
    weights: Tensor | None = None,
    reduction: str = "mean",
    chunk_size: int | None = None,
    constant_columns: Columns | None = None,
    positive_temperature: float | Tensor | None = None,
) -> Tensor:
    """Cross-entropy of each row's positive against the columns and the row's own negatives.

    With s = <u, v> / temperature and n(c) the expected count of column c,

        Z_i = sum_c exp(s_ic - ln n(c)) + sum_h exp(s_ih + log_weight),    loss_i = ln(1 + Z_i / exp(s_iy)).

    A column is masked for a row whose positive, excluded id or own negative has its id (accidental hits); an
    own negative is masked where its id is the positive, an excluded id or an earlier own negative. If nothing is
    left, the row has loss 0 and zero gradient.

    Corrections: `logq_negatives` subtracts ln n from the columns alone, as written above (MNS, Yang et al. 2020,
    eq. 5); it has the gradient of "Correcting the LogQ Correction" (RecSys 2025). `logq` also subtracts ln n from the
    positive score s_iy (Yi et al. 2019, "Sampling-bias-corrected neural modeling", eq. 5; CBNS, Wang et al. 2021,
    eq. 9). `none` subtracts nothing.

    Args:
        query_embeddings: [B, D].
        positive_embeddings: [B, D].
        positive_ids: [B] integers.
        columns: see `Columns`.
        temperature: a positive number, or a 0-dim tensor that may be learned.
        positive_log_expected_count: [B], only needed for `logq`.
        row_negatives: see `RowNegatives`.
        excluded_ids: [B, L] integers, -1 is padding: other items that the row's user is known to like.
        weights: [B], each row's loss is multiplied by its weight; the mean still divides by B.
        reduction: `mean`, or `none` for [B].
        chunk_size: columns computed at once. Memory is O(B * chunk_size); value and gradient do not depend on it. None
            chooses by device.
        constant_columns: more columns, whose embeddings get no gradient (those of a bank). The loss is the same as if
            they were in `columns`, but takes less time.
        positive_temperature: by which <u, v_y> is divided instead, as in the bilateral softmax loss (Wu et al. 2024);
            None: by `temperature`, as all other scores.

    Returns: 0-dim, or [B]; float32 for half-precision inputs.
    Raises: ValueError for inputs that do not fit, and for log expected counts that are not finite (names the items).
    """
    shared = [columns] if constant_columns is None else [columns, constant_columns]
    rows = check_inputs(query_embeddings, positive_embeddings, positive_ids, shared, row_negatives)
    loss_checks.check_options(correction, reduction, chunk_size)
    if excluded_ids is not None:
        loss_checks.check_ids("excluded_ids", excluded_ids, (rows, None))
    if weights is not None:
        loss_checks.check_shape("weights", weights, (rows,))
    log_counts = [(f"{name}.log_expected_count", part.ids, part.log_expected_count) for name, part in named(shared)]
    if correction == "logq":
        subtracted = required_log_count(rows, positive_log_expected_count)  # [B]
        log_counts.append(("positive_log_expected_count", positive_ids, subtracted))
    own = {} if positive_temperature is None else {"positive_temperature": positive_temperature}
    loss_checks.check_values({"temperature": temperature, **own}, log_counts)

    with torch.autocast(query_embeddings.device.type, enabled=False):
        dtype = accumulation_dtype(query_embeddings, positive_embeddings, *(part.embeddings for part in shared))
        query = query_embeddings.to(dtype) / temperature  # [B, D]
        positive_scores = (query * positive_embeddings.to(dtype)).sum(dim=1)  # [B]
        if positive_temperature is not None:
            positive_scores = positive_scores * (temperature / positive_temperature)
        if correction == "logq":
            positive_scores = positive_scores - subtracted

        own_ids = None if row_negatives is None else row_negatives.ids
        masked_ids = ids_to_mask(positive_ids, excluded_ids, own_ids)  # [B, 1 + L + H]
        negatives = [
            column_logsumexp(
                query,
                (part.embeddings if part is columns else part.embeddings.detach()).to(dtype),  # [C, D]
                part.log_expected_count.to(dtype) * (0.0 if correction == "none" else -1.0),  # [C]
                part.ids.long(),  # [C]
                masked_ids,
                chunk_size,
            )[:, None]  # [B, 1]
            for part in shared
        ]
        if row_negatives is not None:
            negatives.append(row_negative_scores(query, row_negatives, masked_ids))  # [B, H]
        loss = softmax_loss(positive_scores, torch.cat(negatives, dim=1))  # [B]
        if weights is not None:
            loss = loss * weights.to(dtype)
    return loss if reduction == "none" else loss.sum() / max(len(loss), 1)


def softmax_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """ln(1 + sum_k exp(negative_k - positive)): [B], [B, K] -> [B], zero if every negative is -inf."""
    differences = negative_scores - positive_scores[:, None]  # [B, K]
    positives = torch.zeros_like(positive_scores)[:, None]  # [B, 1], finite, so that the sum is above 0
    return torch.cat([positives, differences], dim=1).logsumexp(dim=1)


def rescale_column_gradient(embeddings: Tensor, log_expected_count: Tensor, log_fresh_expected_count: Tensor) -> Tensor:
    """The fresh columns with unchanged values and a gradient that is multiplied by n / n_fresh.

    With a bank, only n_fresh of an item's n expected columns have a gradient, but each column is divided by n: the
    item's gradient is n_fresh / n of what it should be. Returns `sg(v) + (n / n_fresh) (v - sg(v))`, where sg stops the
    gradient.

    embeddings [C, D]; log_expected_count [C] of all sources; log_fresh_expected_count [C] of the sources with
    gradient.
    Raises ValueError if shapes do not fit or a count is not finite. Where reading a value makes the host wait, a count
    that is not finite makes the loss NaN instead.
    """
    for name, counts in (("all", log_expected_count), ("fresh", log_fresh_expected_count)):
        loss_checks.check_shape(f"log expected counts of {name} columns", counts, (len(embeddings),))
    log_factor = log_expected_count - log_fresh_expected_count  # [C]
    if not devices.is_asynchronous(log_factor.device) and not bool(torch.isfinite(log_factor).all()):
        raise ValueError("log expected counts of fresh columns must be finite, got 0, NaN or infinite counts")
    values = embeddings.detach()  # [C, D]
    return values + log_factor.exp().to(embeddings.dtype)[:, None] * (embeddings - values)


def check_inputs(
    query: Tensor,
    positive: Tensor,
    positive_ids: Tensor,
    columns: Sequence[Columns],
    row_negatives: RowNegatives | None,
) -> int:
    """Raises ValueError for tensors whose shapes do not fit; returns B."""
    loss_checks.check_positives(query, positive, positive_ids)
    rows, dim = query.shape  # B, D
    for name, part in named(columns):
        loss_checks.check_columns(name, part.embeddings, part.ids, part.log_expected_count, dim)
    if row_negatives is not None:
        loss_checks.check_row_negatives(row_negatives.embeddings, row_negatives.ids, rows, dim)
    return rows


def named(columns: Sequence[Columns]) -> list[tuple[str, Columns]]:
    """The parts of the columns with the names that error messages give them."""
    return list(zip(("columns", "constant_columns"), columns, strict=False))


def required_log_count(rows: int, log_expected_count: Tensor | None) -> Tensor:
    """What `logq` subtracts from the positives, [B]. Raises ValueError if it is missing or has another shape."""
    if log_expected_count is None:
        raise ValueError("correction 'logq' needs positive_log_expected_count [B], got None")
    loss_checks.check_shape("positive_log_expected_count", log_expected_count, (rows,))
    return log_expected_count


def ids_to_mask(positive_ids: Tensor, excluded_ids: Tensor | None, own_ids: Tensor | None) -> Tensor:
    """Each row's positive, excluded ids and own negatives, in this order: [B, 1 + L + H] int64."""
    parts = [positive_ids[:, None], excluded_ids, own_ids]
    return torch.cat([part.long() for part in parts if part is not None], dim=1)


def row_negative_scores(query: Tensor, row_negatives: RowNegatives, masked_ids: Tensor) -> Tensor:
    """Scores [B, H] of the rows' own negatives, -inf for padding and for ids that are earlier in masked_ids."""
    embeddings = row_negatives.embeddings.to(query.dtype)  # [B, H, D]
    scores = (embeddings @ query[:, :, None]).squeeze(2) + row_negatives.log_weight  # [B, H]
    before_own = masked_ids.shape[1] - scores.shape[1]
    unused = repeated_in_row(masked_ids)[:, before_own:] | (row_negatives.ids == NO_ITEM)  # [B, H]
    return scores.masked_fill(unused, -torch.inf)


def repeated_in_row(ids: Tensor) -> Tensor:
    """Whether the same id is further left in the row: [B, K] -> [B, K] bool, without a tensor [B, K, K]."""
    ordered, positions = ids.sort(dim=1, stable=True)  # [B, K], equal ids keep their order
    repeated = torch.zeros_like(ids, dtype=torch.bool)  # [B, K]
    return repeated.scatter_(1, positions[:, 1:], ordered[:, 1:] == ordered[:, :-1])


def accumulation_dtype(*tensors: Tensor) -> torch.dtype:
    """float32, or float64 if an input has it. Half precision is too coarse for sums of thousands of terms."""
    dtype = torch.float32
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype
