"""Checks of the inputs of the sampled softmax; each raises ValueError with the expected and the given value.

Axes: B rows, D embedding size, C shared negative columns, H negatives of one row's own, L excluded ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

CORRECTIONS = ("none", "logq", "logq_negatives")
REDUCTIONS = ("mean", "none")
NAMED_ITEMS = 10  # an error message lists no more item ids than this


def check_options(correction: str, reduction: str, chunk_size: int | None) -> None:
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
    check_shape(f"{name}.log_expected_count", log_expected_count, (len(ids),))


def check_row_negatives(embeddings: Tensor, ids: Tensor, rows: int, dim: int) -> None:
    check_shape("row_negatives.embeddings", embeddings, (rows, None, dim))
    check_ids("row_negatives.ids", ids, (rows, embeddings.shape[1]))


def check_values(temperatures: Mapping[str, float | Tensor], log_counts: Sequence[tuple[str, Tensor, Tensor]]) -> None:
    """Raises ValueError unless every temperature is positive and every ln n is finite.

    log_counts: the name, the item ids [C] and ln n [C] of some columns. An ln n that is not finite is a count of 0 for
    an item that was drawn, NaN or infinity. On a GPU the host waits once for all of them.
    """
    are_right = [torch.isfinite(values).all() for _, _, values in log_counts]  # 0-dim each
    for name, temperature in temperatures.items():
        if isinstance(temperature, Tensor):
            check_shape(name, temperature, ())
            are_right.append((temperature.detach() > 0) & torch.isfinite(temperature.detach()))
        else:
            _check_temperature(name, temperature)
    if are_right and not bool(torch.stack(are_right).all()):
        for name, temperature in temperatures.items():
            _check_temperature(name, float(temperature))
        for name, ids, values in log_counts:
            _check_log_counts(name, ids, values)


def _check_temperature(name: str, temperature: float) -> None:
    if not 0 < temperature < float("inf"):
        raise ValueError(f"{name} must be a positive number, got {temperature}")


def _check_log_counts(name: str, ids: Tensor, log_counts: Tensor) -> None:
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
