"""Small batches full of accidental hits, and the loss over them as one loop per row and column.

Axes: B rows, D embedding size, C columns, H negatives of one row's own, L excluded ids.
"""

from typing import Any

import torch
from torch import Tensor

from model.losses import Columns, RowNegatives, sampled_softmax_loss

CORRECTIONS = ("none", "logq", "logq_negatives")


class Inputs:
    """Leaf tensors of one batch, full of accidental hits: ids come from a catalogue of 12."""

    def __init__(self, seed: int = 0, rows: int = 7, columns: int = 23, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(seed)

        def leaf(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()

        def ids(*shape: int, low: int = 0) -> Tensor:
            return torch.randint(low, 12, shape, generator=generator)

        self.query, self.positive = leaf(rows, 5), leaf(rows, 5)
        self.column_embeddings, self.own_embeddings = leaf(columns, 5), leaf(rows, 4, 5)
        self.temperature = torch.tensor(0.7, dtype=dtype).requires_grad_()
        self.positive_ids, self.column_ids = ids(rows), ids(columns)
        self.own_ids, self.excluded_ids = ids(rows, 4, low=-1), ids(rows, 3, low=-1)
        self.column_log_n, self.positive_log_n = leaf(columns).detach(), leaf(rows).detach()
        self.weights = leaf(rows).detach().exp()

    @property
    def leaves(self) -> list[Tensor]:
        return [self.query, self.positive, self.column_embeddings, self.own_embeddings, self.temperature]

    def loss(self, **changes: Any) -> Tensor:
        defaults: dict[str, Any] = {
            "temperature": self.temperature,
            "positive_log_expected_count": self.positive_log_n,
            "row_negatives": RowNegatives(self.own_embeddings, self.own_ids),
            "excluded_ids": self.excluded_ids,
            "weights": self.weights,
        }
        columns = Columns(self.column_embeddings, self.column_ids, self.column_log_n)
        options = defaults | changes
        return sampled_softmax_loss(self.query, self.positive, self.positive_ids, columns, **options)


def naive_losses(
    inputs: Inputs, correction: str, log_weight: float = 0.0, positive_temperature: Tensor | None = None
) -> Tensor:
    """The formula of the loss, computed row by row: [B]."""
    losses = []
    for row in range(len(inputs.query)):
        query, positive_id = inputs.query[row] / inputs.temperature, int(inputs.positive_ids[row])
        excluded, own = inputs.excluded_ids[row].tolist(), inputs.own_ids[row].tolist()
        total = torch.zeros((), dtype=torch.float64)
        for column, item in enumerate(inputs.column_ids.tolist()):
            if item not in [positive_id, *excluded, *own]:
                log_n = 0.0 if correction == "none" else inputs.column_log_n[column]
                total = total + (query @ inputs.column_embeddings[column] - log_n).exp()
        for place, item in enumerate(own):
            if item not in [-1, positive_id, *excluded, *own[:place]]:
                total = total + (query @ inputs.own_embeddings[row, place] + log_weight).exp()
        score = query @ inputs.positive[row]
        if positive_temperature is not None:
            score = inputs.query[row] @ inputs.positive[row] / positive_temperature
        if correction == "logq":
            score = score - inputs.positive_log_n[row]
        losses.append(-(score.exp() / (score.exp() + total)).log() * inputs.weights[row])
    return torch.stack(losses)


def gradients(loss: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """The gradients; asserts that each is finite and not all zero."""
    found = list(torch.autograd.grad(loss, leaves))
    for gradient in found:
        assert gradient.abs().max() > 1e-3
        assert gradient.isfinite().all()
    return found
