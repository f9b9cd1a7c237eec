"""Checks of the inputs of the sampled softmax; each raises ValueError with the expected and the given value.

Axes: B rows, D embedding size, C shared negative columns, H negatives of one row's own, L excluded ids.
"""

from __future__ import annotations

import torch
from torch import Tensor

CORRECTIONS = ("none", "logq", "logq_negatives")
REDUCTIONS = ("mean", "none")
NAMED_ITEMS = 10  # an error message lists no more item ids than this


def check_options(temperature: float | Tensor, correction: str, reduction: str, chunk_size: int | None) -> None:
    if isinstance(temperature, Tensor):
        check_shape("temperature", temperature, ())
        temperature = temperature.detach()
    if not 0 < float(temperature) < float("inf"):
        raise ValueError(f"temperature must be a positive number, got {float(temperature)}")
    if correction not in CORRECTIONS:
        raise ValueError(f"correction must be one of {CORRECTIONS}, got {correction!r}")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 or None, got {chunk_size}")


def check_positives(query_embeddings: Tensor, positive_embeddings: Tensor, positive_ids: Tensor) -> None:
    if query_embeddings.dim() != 2 or not query_embeddings.is_floating_point():
        found = f"{list(query_embeddings.shape)} {query_embeddings.dtype}"
        raise ValueError(f"query_embeddings must be [B, D] of floats, got {found}")
    check_shape("positive_embeddings", positive_embeddings, tuple(query_embeddings.shape))
    check_ids("positive_ids", positive_ids, (len(query_embeddings),))


def check_columns(name: str, embeddings: Tensor, ids: Tensor, log_expected_count: Tensor, dim: int) -> None:
    check_shape(f"{name}.embeddings", embeddings, (None, dim))
    check_ids(f"{name}.ids", ids, (len(embeddings),))
    check_log_counts(f"{name}.log_expected_count", ids, log_expected_count)


def check_row_negatives(embeddings: Tensor, ids: Tensor, rows: int, dim: int) -> None:
    check_shape("row_negatives.embeddings", embeddings, (rows, None, dim))
    check_ids("row_negatives.ids", ids, (rows, embeddings.shape[1]))


def check_log_counts(name: str, ids: Tensor, log_counts: Tensor) -> None:
    """Raises ValueError for ln n that is not finite: a count of 0 for an item that was drawn, NaN or infinity."""
    check_shape(name, log_counts, (len(ids),))
    wrong = ~torch.isfinite(log_counts)  # [C]
    if bool(wrong.any()):
        named = ids[wrong].unique()
        listed = ", ".join(str(item) for item in named[:NAMED_ITEMS].tolist())
        more = f" and {len(named) - NAMED_ITEMS} more" if len(named) > NAMED_ITEMS else ""
        raise ValueError(
            f"{name} must be finite (an expected count above 0, below infinity), "
            f"got {log_counts[wrong][0].item()} at item id {listed}{more}"
        )


def check_ids(name: str, ids: Tensor, wanted: tuple[int | None, ...]) -> None:
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {ids.dtype}")
    check_shape(name, ids, wanted)


def check_shape(name: str, tensor: Tensor, wanted: tuple[int | None, ...]) -> None:
    """Raises ValueError if the tensor has another shape; None in `wanted` allows any length."""
    fits = tensor.dim() == len(wanted) and all(
        length is None or length == size for length, size in zip(wanted, tensor.shape, strict=False)
    )
    if not fits:
        shape = ", ".join("any" if length is None else str(length) for length in wanted)
        raise ValueError(f"{name} must have shape [{shape}], got {list(tensor.shape)}")
