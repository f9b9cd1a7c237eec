"""The interest of a row that its loss is computed for. Axes: B rows, Q interests, D size."""

from __future__ import annotations

import torch

from model.losses.interests import interest_of_positive

B, Q, D = 20, 3, 4


def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(B, Q, D, requires_grad=True), torch.randn(B, D, requires_grad=True)


def best(queries: torch.Tensor, positives: torch.Tensor) -> list[int]:
    scores = [
        [float((query @ positive).detach()) for query in row] for row, positive in zip(queries, positives, strict=True)
    ]
    return [row.index(max(row)) for row in scores]


def test_the_interest_that_scores_the_positive_highest_is_taken() -> None:
    queries, positives = embeddings()
    chosen = best(queries, positives)
    assert set(chosen) == set(range(Q))  # or the test could not tell a fixed choice
    assert torch.equal(interest_of_positive(queries, positives), queries[torch.arange(B), chosen])


def test_only_the_chosen_interest_has_a_gradient_and_the_choice_has_none() -> None:
    queries, positives = embeddings()
    interest_of_positive(queries, positives).sum().backward()
    assert queries.grad is not None
    assert positives.grad is None
    wanted = torch.zeros(B, Q, D)
    wanted[torch.arange(B), best(queries, positives)] = 1.0
    assert torch.equal(queries.grad, wanted)


def test_of_equal_interests_the_first_is_taken() -> None:
    queries = torch.ones(2, Q, D, requires_grad=True)
    interest_of_positive(queries, torch.ones(2, D)).sum().backward()
    assert queries.grad is not None
    assert not queries.grad[:, 1:].any()


def test_rows_of_half_precision_keep_it_and_a_batch_can_be_empty() -> None:
    queries, positives = (part.detach().bfloat16() for part in embeddings())
    assert interest_of_positive(queries, positives).dtype == torch.bfloat16
    assert interest_of_positive(queries[:0], positives[:0]).shape == (0, D)
